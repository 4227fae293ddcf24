"""What the control plane implements of Gateway, and what Istio's validation refuses, in its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.names_check import server_host
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Refusal,
    each,
    fields,
    integer,
    invalid,
    not_implemented,
    table,
    text,
)

__all__ = ["gateway"]

_HERE = ("HTTP", "HTTP2", "GRPC")
_ELSEWHERE = ("HTTPS", "TLS", "TCP", "MONGO", "GRPC-WEB", "REDIS", "MYSQL")


def _protocol(field: str, value: Any) -> Iterator[Refusal]:
    if not isinstance(value, str):
        yield from text(field, value)
    elif value.upper() in _ELSEWHERE:
        words = f"{value} is not implemented by the lab's control plane: {', '.join(_HERE)} are"
        yield not_implemented(field, words)
    elif value.upper() not in _HERE:
        words = "supported protocols are HTTP, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, MYSQL, TCP"
        yield invalid(field, f'invalid protocol "{value}", {words}')


def _port_name(field: str, value: Any) -> Iterator[Refusal]:
    yield from text(field, value)
    if value == "":
        yield invalid(field, "port name must be set")


_PORT = fields(
    {"number": integer(1, 65535), "name": _port_name, "protocol": _protocol}, required=["number", "name", "protocol"]
)


def _has_hosts(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if not value.get("hosts"):
        yield invalid(f"{field}.hosts", "server config must contain at least one host")


_SERVER = fields({"port": _PORT, "hosts": each(server_host), "name": text}, required=["port"], also=_has_hosts)


def _servers(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    servers = value.get("servers")
    if not servers:
        yield invalid(f"{field}.servers", "gateway must have at least one server")
        return
    ports = [one["port"] for one in servers if isinstance(one, dict) and isinstance(one.get("port"), dict)]
    names = [port.get("name") for port in ports]
    for index, name in enumerate(names):
        if name and name in names[:index]:
            words = f"port names in servers must be unique: duplicate name {name}"
            yield invalid(f"{field}.servers[{index}].port.name", words)


gateway = fields({"selector": table(text), "servers": each(_SERVER)}, also=_servers)
"""The check of a Gateway's `spec`."""
