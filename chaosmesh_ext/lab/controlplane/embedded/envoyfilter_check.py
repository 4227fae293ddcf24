"""What the control plane implements of EnvoyFilter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab.controlplane.embedded.httpfilters import HTTP_MANAGER
from chaosmesh_ext.lab.controlplane.embedded.messages import canonical
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Check,
    Refusal,
    each,
    fields,
    integer,
    invalid,
    not_implemented,
    one_of,
    table,
    text,
)

__all__ = ["envoy_filter"]

_OPERATIONS = {
    "VIRTUAL_HOST": ("MERGE",),
    "HTTP_ROUTE": ("MERGE", "ADD", "INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER", "REMOVE"),
    "HTTP_FILTER": ("INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER", "MERGE"),
}
_ELSEWHERE = (
    "LISTENER",
    "FILTER_CHAIN",
    "NETWORK_FILTER",
    "ROUTE_CONFIGURATION",
    "CLUSTER",
    "EXTENSION_CONFIG",
    "BOOTSTRAP",
    "LISTENER_FILTER",
)
_ROUTER = "envoy.filters.http.router"
_ROUTER_TYPE = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_NOT_HERE = (
    "envoy.filters.http.cors",
    "envoy.filters.http.grpc_stats",
    "envoy.filters.http.stateful_session",
    "istio.alpn",
    "istio.metadata_exchange",
    "istio.stats",
)
"""HTTP filters that istiod puts into listeners, and the lab does not."""


def _patch_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    """The operation belongs to what it is applied to, the value is Envoy's, and no inbound route is meant."""
    if value.get("applyTo") in (None, "INVALID"):
        yield invalid(f"{field}.applyTo", "Envoy filter: missing applyTo")
        return
    patch = value.get("patch")
    if patch is None:
        yield invalid(f"{field}.patch", "Envoy filter: missing patch")
        return
    known = _OPERATIONS.get(value["applyTo"])
    if known is None or not isinstance(patch, dict):
        return
    operation = patch.get("operation")
    if operation in (None, "INVALID"):
        yield invalid(f"{field}.patch.operation", "Envoy filter: missing patch operation")
        return
    if operation not in known:
        words = f"{operation} on {value['applyTo']} is not implemented by the lab's control plane"
        yield not_implemented(f"{field}.patch.operation", f"{words}: {', '.join(known)} {_be(known)}")
    if operation != "REMOVE" and patch.get("value") is None:
        yield invalid(f"{field}.patch.value", "Envoy filter: missing patch value for non-remove operation")
        return
    match = value.get("match") or {}
    yield from (_of_listener if value["applyTo"] == "HTTP_FILTER" else _of_routes)(f"{field}.match", match)
    if value["applyTo"] == "HTTP_FILTER" and operation == "MERGE":
        yield from _of_merge(field, match, patch["value"])
    try:
        canonical(value["applyTo"], patch.get("value") or {})
    except InvalidInput as error:
        yield invalid(f"{field}.patch.value", str(error))


def _be(choices: Sequence[str]) -> str:
    return "are" if len(choices) > 1 else "is"


def _of_routes(field: str, match: Mapping[str, Any]) -> Iterator[Refusal]:
    """What a match of routes must not have."""
    routes = match.get("routeConfiguration") or {}
    context = match.get("context", "ANY")
    if "proxy" in match:
        words = (
            "proxy of routes is not implemented by the lab's control plane: istiod caches them by the object's name,"
        )
        yield not_implemented(f"{field}.proxy", f"{words} and serves other proxies the same; use workloadSelector")
    if "listener" in match:
        words = "Envoy filter: applyTo for http route class objects cannot have non route configuration match"
        yield invalid(f"{field}.listener", words)
    if context == "SIDECAR_INBOUND":
        words = "SIDECAR_INBOUND is not implemented by the lab's control plane for routes: HTTP_FILTER is"
        yield not_implemented(f"{field}.context", words)
    if context == "ANY" and not (routes.get("vhost") or {}).get("name"):
        yield not_implemented(
            f"{field}.context",
            "ANY without routeConfiguration.vhost.name reaches inbound routes too, which is not implemented by the"
            " lab's control plane: say SIDECAR_OUTBOUND or GATEWAY, or name the virtual host",
        )


def _of_listener(field: str, match: Mapping[str, Any]) -> Iterator[Refusal]:
    """What a match of listeners must not have."""
    if "routeConfiguration" in match:
        words = "Envoy filter: applyTo for listener class objects cannot have non listener match"
        yield invalid(f"{field}.routeConfiguration", words)
    outer = (((match.get("listener") or {}).get("filterChain") or {}).get("filter")) or {}
    if "subFilter" in outer and outer.get("name") not in (HTTP_MANAGER, "envoy.http_connection_manager", "", None):
        words = f"Envoy filter: subfilter match requires filter match with {HTTP_MANAGER}"
        yield invalid(f"{field}.listener.filterChain.filter.name", words)


def _of_merge(field: str, match: Mapping[str, Any], value: Any) -> Iterator[Refusal]:
    """The router's configuration is what the lab merges into, and nothing else."""
    outer = (((match.get("listener") or {}).get("filterChain") or {}).get("filter")) or {}
    meant = (outer.get("subFilter") or {}).get("name")
    config = value.get("typed_config") if isinstance(value, dict) else None
    if meant != _ROUTER or not isinstance(config, dict) or config.get("@type") != _ROUTER_TYPE:
        words = "MERGE on HTTP_FILTER is not implemented by the lab's control plane, but for typed_config of the router"
        yield not_implemented(f"{field}.patch.operation", f"{words} (subFilter {_ROUTER}, {_ROUTER_TYPE})")


def _sub_filter(field: str, value: Any) -> Iterator[Refusal]:
    if value in _NOT_HERE:
        yield not_implemented(
            field, f"{value} is not implemented by the lab's control plane: nothing can be put beside it"
        )
    yield from text(field, value)


def _named(words: str) -> Check:
    """That the filter that is meant has a name."""

    def check(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
        if not value.get("name"):
            yield invalid(f"{field}.name", f"Envoy filter: {words} match has no name to match on")

    return check


def _value(field: str, value: Any) -> Iterator[Refusal]:
    """Envoy's, but for what another server would have to give."""
    if isinstance(value, dict) and {"config_discovery", "configDiscovery"} & set(value):
        yield not_implemented(field, "config_discovery is not implemented by the lab's control plane: typed_config is")


_FILTER = fields(
    {"name": text, "subFilter": fields({"name": _sub_filter}, also=_named("subfilter"))}, also=_named("filter")
)
_ROUTE = fields({"name": text, "action": one_of("ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE")})

envoy_filter = fields(
    {
        "workloadSelector": fields({"labels": table(text)}),
        "priority": integer(-(2**31), 2**31 - 1),
        "configPatches": each(
            fields(
                {
                    "applyTo": one_of(*_OPERATIONS, "INVALID", elsewhere=_ELSEWHERE),
                    "match": fields(
                        {
                            "context": one_of(
                                "ANY", "SIDECAR_OUTBOUND", "SIDECAR_INBOUND", "GATEWAY", elsewhere=("WAYPOINT",)
                            ),
                            "proxy": fields({"metadata": table(text)}),
                            "routeConfiguration": fields(
                                {
                                    "name": text,
                                    "portNumber": integer(0, 65535),
                                    "vhost": fields({"name": text, "domainName": text, "route": _ROUTE}),
                                }
                            ),
                            "listener": fields(
                                {
                                    "name": text,
                                    "portNumber": integer(0, 65535),
                                    "filterChain": fields({"filter": _FILTER}),
                                }
                            ),
                        }
                    ),
                    "patch": fields({"operation": text, "value": _value}),
                },
                also=_patch_kind,
            )
        ),
    },
)
"""The check of an EnvoyFilter's `spec`."""
