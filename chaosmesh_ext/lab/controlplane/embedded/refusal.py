"""What the control plane implements of each kind; everything else is refused, never ignored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.envoyfilter_check import envoy_filter
from chaosmesh_ext.lab.controlplane.embedded.policies import GRPC_CODES, is_status
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Check,
    Refusal,
    boolean,
    duration,
    each,
    fields,
    integer,
    one_of,
    percent,
    table,
    text,
)
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["KINDS", "OTHERS", "kind_of", "refusals"]

_PORT = integer(1, 65535)
_PORT_SELECTOR = fields({"number": _PORT}, required=["number"])


def _match_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if len(value) > 1:
        yield Refusal("Invalid", field, f"only one of {', '.join(sorted(value))} may be given")


_STRING_MATCH = fields({"exact": text, "prefix": text, "regex": text}, also=_match_kind)
_HEADERS = fields(
    {side: fields({"set": table(text), "add": table(text), "remove": each(text)}) for side in ("request", "response")}
)
_DESTINATION = fields({"host": text, "subset": text, "port": _PORT_SELECTOR}, required=["host"])
_WEIGHTED = fields(
    {"destination": _DESTINATION, "weight": integer(0, 2**31 - 1), "headers": _HEADERS}, required=["destination"]
)
_MATCH = fields(
    {
        "name": text,
        "uri": _STRING_MATCH,
        "scheme": _STRING_MATCH,
        "method": _STRING_MATCH,
        "authority": _STRING_MATCH,
        "headers": table(_STRING_MATCH),
        "withoutHeaders": table(_STRING_MATCH),
        "queryParams": table(_STRING_MATCH),
        "ignoreUriCase": boolean,
        "port": _PORT,
        "sourceLabels": table(text),
        "sourceNamespace": text,
        "gateways": each(text),
    }
)
_RETRY_ON = frozenset(
    {
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    }
)
"""What Istio's validation lets through; Envoy itself ignores a word that it does not know."""


def _retry_on(field: str, value: Any) -> Iterator[Refusal]:
    if not isinstance(value, str):
        yield from text(field, value)
        return
    for word in (part.strip() for part in value.split(",")):
        if word not in _RETRY_ON and not is_status(word):
            yield Refusal("Invalid", field, f"{word!r} is not a valid retryOn policy")


def _retries_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if not value.get("attempts") and {"perTryTimeout", "retryOn"} & value.keys():
        yield Refusal("Invalid", field, "http retry policy configured when attempts are set to 0 (disabled)")


_RETRIES = fields(
    {
        "attempts": integer(0, 2**31 - 1),
        "perTryTimeout": duration(),
        "retryOn": _retry_on,
        "retryIgnorePreviousHosts": boolean,
        "backoff": duration(),
    },
    also=_retries_kind,
)


def _abort_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if ("httpStatus" in value) == ("grpcStatus" in value):
        yield Refusal("Invalid", field, "HTTP fault abort: exactly one of httpStatus and grpcStatus must be given")


def _fault_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if not value.get("delay") and not value.get("abort"):
        yield Refusal("Invalid", field, "HTTP fault injection must have an abort and/or a delay")


_FAULT = fields(
    {
        "delay": fields(
            {"fixedDelay": duration(), "percentage": percent, "percent": integer(0, 100)}, required=["fixedDelay"]
        ),
        "abort": fields(
            {"httpStatus": integer(200, 600), "grpcStatus": one_of(*GRPC_CODES), "percentage": percent},
            also=_abort_kind,
        ),
    },
    also=_fault_kind,
)


def _route_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    routes = value.get("route")
    if not routes:
        yield Refusal("Invalid", f"{field}.route", "HTTP route, redirect or direct response is required")
    elif isinstance(routes, list) and len(routes) > 1:
        weights = [entry.get("weight", 0) for entry in routes if isinstance(entry, dict)]
        if all(isinstance(weight, int) for weight in weights) and not sum(weights):
            yield Refusal("Invalid", f"{field}.route", "total destination weight = 0")


_HTTP = fields(
    {
        "name": text,
        "match": each(_MATCH),
        "route": each(_WEIGHTED),
        "headers": _HEADERS,
        "fault": _FAULT,
        "timeout": duration(least=0.0),
        "retries": _RETRIES,
    },
    also=_route_kind,
)
_EXPORT_TO = each(text)


def _host_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if "*" in (value.get("hosts") or ()) and "mesh" in (value.get("gateways") or ["mesh"]):
        words = "wildcard host * is not allowed for virtual services bound to the mesh gateway"
        yield Refusal("Invalid", f"{field}.hosts", words)


_VIRTUAL_SERVICE = fields(
    {"hosts": each(text, least=1), "gateways": each(text), "exportTo": _EXPORT_TO, "http": each(_HTTP, least=1)},
    required=["hosts", "http"],
    also=_host_kind,
)

_COUNT = integer(0, 2**31 - 1)


def _outlier_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if value.get("consecutiveLocalOriginFailures") and not value.get("splitExternalLocalOriginErrors"):
        words = "has no effect while splitExternalLocalOriginErrors is false"
        yield Refusal("Invalid", f"{field}.consecutiveLocalOriginFailures", words)


_POLICY: dict[str, Check] = {
    "connectionPool": fields(
        {
            "tcp": fields({"maxConnections": _COUNT, "connectTimeout": duration(), "idleTimeout": duration(least=0.0)}),
            "http": fields(
                {
                    "http1MaxPendingRequests": _COUNT,
                    "http2MaxRequests": _COUNT,
                    "maxRequestsPerConnection": _COUNT,
                    "maxRetries": _COUNT,
                    "idleTimeout": duration(least=0.0),
                }
            ),
        }
    ),
    "loadBalancer": fields(
        {
            "simple": one_of(
                "UNSPECIFIED", "LEAST_REQUEST", "LEAST_CONN", "ROUND_ROBIN", "RANDOM", elsewhere=("PASSTHROUGH",)
            )
        }
    ),
    "outlierDetection": fields(
        {
            "consecutive5xxErrors": _COUNT,
            "consecutiveGatewayErrors": _COUNT,
            "consecutiveLocalOriginFailures": _COUNT,
            "splitExternalLocalOriginErrors": boolean,
            "interval": duration(),
            "baseEjectionTime": duration(),
            "maxEjectionPercent": integer(0, 100),
            "minHealthPercent": integer(0, 100),
        },
        also=_outlier_kind,
    ),
}
_TRAFFIC_POLICY = fields(
    {**_POLICY, "portLevelSettings": each(fields({**_POLICY, "port": _PORT_SELECTOR}, required=["port"]))}
)
_DESTINATION_RULE = fields(
    {
        "host": text,
        "exportTo": _EXPORT_TO,
        "trafficPolicy": _TRAFFIC_POLICY,
        "subsets": each(
            fields({"name": text, "labels": table(text), "trafficPolicy": _TRAFFIC_POLICY}, required=["name"])
        ),
    },
    required=["host"],
)
_GATEWAY = fields(
    {
        "selector": table(text),
        "servers": each(
            fields(
                {
                    "port": fields(
                        {
                            "number": _PORT,
                            "name": text,
                            "protocol": one_of(
                                "HTTP", "HTTP2", "GRPC", elsewhere=("HTTPS", "TLS", "TCP", "MONGO", "GRPC-WEB")
                            ),
                        },
                        required=["number", "name", "protocol"],
                    ),
                    "hosts": each(text, least=1),
                    "name": text,
                },
                required=["port", "hosts"],
            ),
            least=1,
        ),
    },
    required=["servers"],
)

KINDS: Mapping[str, Check] = {
    "VirtualService": _VIRTUAL_SERVICE,
    "DestinationRule": _DESTINATION_RULE,
    "Gateway": _GATEWAY,
    "EnvoyFilter": envoy_filter,
}
"""Istio's kinds that reach the proxies, and what may stand in their `spec`."""


OTHERS = (
    "ServiceEntry",
    "Sidecar",
    "WorkloadEntry",
    "AuthorizationPolicy",
    "PeerAuthentication",
    "RequestAuthentication",
    "Telemetry",
    "HTTPRoute",
    "Gateway.gateway.networking.k8s.io",
)
"""Kinds that would reach the proxies of a real mesh; here an object of such a kind is refused whole."""


def kind_of(obj: Obj) -> str:
    """The kind of OBJ, with its group where Istio has another kind of that name."""
    qualified = f"{obj['kind']}.{obj.get('apiVersion', '').partition('/')[0]}"
    return qualified if qualified in OTHERS else str(obj["kind"])


def refusals(obj: Obj) -> list[Refusal]:
    """Everything that keeps OBJ from being taken; empty when it is fine."""
    kind = kind_of(obj)
    check = KINDS.get(kind)
    if check is None:
        words = f"{kind} is not implemented by the lab's control plane, {', '.join(KINDS)} are; it has no effect"
        return [Refusal("NotImplemented", "kind", words)]
    return list(check("spec", obj.get("spec") or {}))
