"""What the control plane implements of PeerAuthentication, which is all of it, and what Istio refuses, in its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.schema import Check, Refusal, fields, invalid, one_of, table
from chaosmesh_ext.lab.controlplane.embedded.selector_check import workload_selector

__all__ = ["peer_authentication"]

_MTLS = fields({"mode": one_of("UNSET", "DISABLE", "PERMISSIVE", "STRICT")})


def _port(field: str, value: str) -> Iterator[Refusal]:
    if not (value.isdecimal() and 1 <= int(value) <= 65535):
        yield invalid(field, "port must be in range 1..65535")


def _ports(field: str, value: Any) -> Iterator[Refusal]:
    yield from table(_MTLS, key=_port)(field, value)
    if value == {}:
        yield invalid(field, "port level mTLS, if defined, must have at least one element")


def _of_a_workload(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    selector = value.get("selector")
    if value.get("portLevelMtls") and not (isinstance(selector, dict) and selector.get("matchLabels")):
        yield invalid(f"{field}.portLevelMtls", "mesh/namespace peer authentication cannot have port level mTLS")


peer_authentication: Check = fields(
    {
        "selector": workload_selector,
        "mtls": _MTLS,
        "portLevelMtls": _ports,
    },
    also=_of_a_workload,
)
"""The check of a PeerAuthentication's `spec`."""
