"""What the control plane implements of the Gateway API's Gateway, and what its definition refuses, in its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.names_check import dns_name, hostname, kind_here
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Refusal,
    each,
    fields,
    integer,
    invalid,
    not_implemented,
    one_of,
)

__all__ = ["api_gateway"]

_HERE = "istio"


def _class(field: str, value: Any) -> Iterator[Refusal]:
    if value != _HERE:
        yield not_implemented(field, f"{value} is not implemented by the lab's control plane: {_HERE} is")


def _address_kind(field: str, value: Any) -> Iterator[Refusal]:
    if value != "Hostname":
        words = (
            f"{value} is not implemented by the lab's control plane: Hostname is, with the host of a gateway's Service"
        )
        yield not_implemented(field, words)


def _deployed(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if not value.get("addresses"):
        words = (
            "a Gateway that istiod deploys is not implemented by the lab's control plane: give the host of an existing"
        )
        yield not_implemented(f"{field}.addresses", f"{words} gateway's Service, with type Hostname")


def _unique(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    found = [one for one in value.get("listeners") or [] if isinstance(one, dict)]
    names = [one.get("name") for one in found]
    if len(set(map(str, names))) < len(names):
        yield invalid(f"{field}.listeners", "Listener name must be unique within the Gateway")
    places = [(one.get("port"), one.get("protocol"), one.get("hostname")) for one in found]
    if len(set(map(str, places))) < len(places):
        words = "Combination of port, protocol and hostname must be unique for each listener"
        yield invalid(f"{field}.listeners", words)


_ALLOWED = fields(
    {
        "namespaces": fields({"from": one_of("All", "Same", elsewhere=["Selector"])}),
        "kinds": each(fields({"group": one_of("gateway.networking.k8s.io"), "kind": kind_here("HTTPRoute")})),
    }
)

_LISTENER = fields(
    {
        "name": dns_name,
        "port": integer(1, 65535),
        "protocol": one_of("HTTP", elsewhere=["HTTPS", "TLS", "TCP", "UDP"]),
        "hostname": hostname,
        "allowedRoutes": _ALLOWED,
    },
    required=["name", "port", "protocol"],
)


def _together(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    yield from _deployed(field, value)
    yield from _unique(field, value)


api_gateway = fields(
    {
        "gatewayClassName": _class,
        "addresses": each(fields({"type": _address_kind, "value": hostname}, required=["type", "value"])),
        "listeners": each(_LISTENER, least=1),
    },
    required=["gatewayClassName", "listeners"],
    also=_together,
)
"""The check of a Gateway's `spec`."""
