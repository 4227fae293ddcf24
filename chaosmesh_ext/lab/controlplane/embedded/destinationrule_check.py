"""What the control plane implements of DestinationRule, and what Istio's validation refuses, in its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.names_check import domain, export_to, labels, subset_name
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Check,
    Refusal,
    boolean,
    duration,
    each,
    fields,
    integer,
    invalid,
    not_implemented,
    one_of,
    port_selector,
)
from chaosmesh_ext.lab.controlplane.embedded.selector_check import workload_selector

__all__ = ["destination_rule"]


def _count(called: str) -> Check:
    """A number that is not negative; Istio's words call it CALLED."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if isinstance(value, int) and not isinstance(value, bool) and value < 0:
            yield invalid(field, f"{called} must be non-negative")
        else:
            yield from integer(0, 2**31 - 1)(field, value)

    return check


def _percentage(field: str, value: Any) -> Iterator[Refusal]:
    if isinstance(value, int) and not isinstance(value, bool) and not 0 <= value <= 100:
        yield invalid(field, f"percentage {value} is not in range 0..100")
    else:
        yield from integer(0, 100)(field, value)


def _some(words: str) -> Check:
    """An object that says something; else Istio's WORDS."""

    def check(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
        if not value.keys() - {"port"}:
            yield invalid(field, words)

    return check


def _outlier_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if value.get("consecutiveLocalOriginFailures") and not value.get("splitExternalLocalOriginErrors"):
        words = "outlier detection consecutive local origin failures is specified, but split external local origin"
        yield invalid(f"{field}.consecutiveLocalOriginFailures", f"{words} errors is set to false")


_ERRORS = integer(0, 2**32 - 1)
_POLICY: dict[str, Check] = {
    "connectionPool": fields(
        {
            "tcp": fields(
                {
                    "maxConnections": _count("max connections"),
                    "connectTimeout": duration(),
                    "idleTimeout": duration(none=True),
                }
            ),
            "http": fields(
                {
                    "http1MaxPendingRequests": _count("http1 max pending requests"),
                    "http2MaxRequests": _count("http2 max requests"),
                    "maxRequestsPerConnection": _count("max requests per connection"),
                    "maxRetries": _count("max retries"),
                    "idleTimeout": duration(),
                }
            ),
        },
        also=_some("connection pool must have at least one field"),
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
            "consecutive5xxErrors": _ERRORS,
            "consecutiveGatewayErrors": _ERRORS,
            "consecutiveLocalOriginFailures": _ERRORS,
            "splitExternalLocalOriginErrors": boolean,
            "interval": duration(),
            "baseEjectionTime": duration(),
            "maxEjectionPercent": _percentage,
            "minHealthPercent": _percentage,
        },
        also=_outlier_kind,
    ),
    "tls": fields({"mode": one_of("DISABLE", "ISTIO_MUTUAL", elsewhere=("SIMPLE", "MUTUAL"))}),
}
_PORT_POLICY = fields(
    {**_POLICY, "port": port_selector},
    required=["port"],
    also=_some("port traffic policy must have at least one field"),
)
_TRAFFIC_POLICY = fields(
    {**_POLICY, "portLevelSettings": each(_PORT_POLICY)}, also=_some("traffic policy must have at least one field")
)


def _one_of_its_own(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    """A workloadSelector means workloads of the rule's own namespace."""
    targets = value.get("exportTo")
    if "workloadSelector" not in value or not isinstance(targets, list) or targets in ([], ["."]):
        return
    words = "destination rule with workload selector cannot have"
    if "." in targets:
        yield invalid(f"{field}.exportTo", f"{words} multiple entries in exportTo")
    elif "*" in targets:
        yield invalid(f"{field}.exportTo", f"{words} exportTo beyond current namespace")
    else:
        yield not_implemented(
            f"{field}.exportTo", "a name beside workloadSelector is not implemented by the lab's control plane: say ."
        )


def _whole(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    yield from _named_once(field, value)
    yield from _one_of_its_own(field, value)


def _named_once(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    subsets = value.get("subsets")
    names = [one.get("name") for one in subsets if isinstance(one, dict)] if isinstance(subsets, list) else []
    for index, name in enumerate(names):
        if name in names[:index]:
            yield invalid(f"{field}.subsets[{index}].name", f"duplicate subset names: {name}")


destination_rule = fields(
    {
        "host": domain,
        "exportTo": export_to,
        "workloadSelector": workload_selector,
        "trafficPolicy": _TRAFFIC_POLICY,
        "subsets": each(
            fields({"name": subset_name, "labels": labels, "trafficPolicy": _TRAFFIC_POLICY}, required=["name"])
        ),
    },
    required=["host"],
    also=_whole,
)
"""The check of a DestinationRule's `spec`."""
