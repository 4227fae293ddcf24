"""What the control plane implements of Sidecar, and what Istio's validation refuses, in its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.names_check import sidecar_host
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Check,
    Refusal,
    each,
    fields,
    invalid,
    one_of,
    table,
    text,
)

__all__ = ["sidecar"]


def _label(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    labels = value.get("labels")
    for key, one in labels.items() if isinstance(labels, dict) else ():
        if not key:
            yield invalid(f"{field}.labels", "empty key is not supported in selector")
        if "*" in key or "*" in str(one):
            yield invalid(f"{field}.labels", "wildcard is not supported in selector")


def _hosts(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if not value.get("hosts"):
        yield invalid(f"{field}.hosts", "sidecar: egress listener must contain at least one host")


def _egress(field: str, value: Any) -> Iterator[Refusal]:
    yield from each(
        fields(
            {"hosts": each(sidecar_host)},
            also=_hosts,
            hint="the lab's proxies have one listener for every port, without interception",
        )
    )(field, value)
    if isinstance(value, list) and len(value) > 1 and all(isinstance(one, dict) and "port" not in one for one in value):
        yield invalid(field, "sidecar: the egress listener with empty port should be the last listener in the list")


def _mode(field: str, value: Any) -> Iterator[Refusal]:
    if value == "ALLOW_ANY_DYNAMIC_DNS":
        words = "sidecar: ALLOW_ANY_DYNAMIC_DNS mode is only supported in MeshConfig, not in Sidecar resource"
        yield invalid(field, words)
        return
    yield from one_of("REGISTRY_ONLY", "ALLOW_ANY")(field, value)


def _spec(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    given = ("egress", "ingress", "inboundConnectionPool")
    if not any(value.get(one) for one in given) and value.get("outboundTrafficPolicy") is None:
        yield invalid(field, "sidecar: empty configuration provided")


sidecar: Check = fields(
    {
        "workloadSelector": fields({"labels": table(text)}, also=_label),
        "egress": _egress,
        "outboundTrafficPolicy": fields({"mode": _mode}),
    },
    also=_spec,
)
"""The check of a Sidecar's `spec`."""
