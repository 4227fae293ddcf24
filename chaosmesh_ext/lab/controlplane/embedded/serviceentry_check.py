"""What the control plane implements of ServiceEntry, and what Istio's validation refuses, in its words."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.names_check import domain, export_to, labels, plain_host, port_name
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

__all__ = ["service_entry"]

_HTTP = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")
_NOT_HTTP = ("", "TCP", "TLS", "HTTPS", "HTTP_PROXY", "MONGO", "MYSQL", "REDIS", "UDP", "HBONE", "DOUBLEHBONE")


def _host(field: str, value: Any) -> Iterator[Refusal]:
    if value == "*":
        yield invalid(field, "hostname cannot be wildcard")
        return
    wrong = list(domain(field, value))
    yield from wrong
    if not wrong and value.startswith("*"):
        yield not_implemented(field, "a host with a wildcard is not implemented by the lab's control plane: name hosts")


def _protocol(field: str, value: Any) -> Iterator[Refusal]:
    yield from text(field, value)
    if not isinstance(value, str) or value.upper() in _HTTP:
        return
    if value.upper() in _NOT_HTTP:
        words = f"{value or 'no protocol'} is not implemented by the lab's control plane: HTTP, HTTP2, GRPC are"
        yield not_implemented(field, words)
    else:
        yield invalid(field, f"unsupported protocol: {value}")


def _number(field: str, value: Any) -> Iterator[Refusal]:
    if isinstance(value, int) and not isinstance(value, bool) and not 1 <= value <= 65535:
        yield invalid(field, "port must be between 1-65535")
    else:
        yield from integer(1, 65535)(field, value)


_port = fields(
    {"number": _number, "name": port_name, "protocol": _protocol, "targetPort": integer(0, 65535)},
    required=["number", "name", "protocol"],
)


def _ports(field: str, value: Any) -> Iterator[Refusal]:
    yield from each(_port)(field, value)
    if not isinstance(value, list):
        return
    for key, words in (
        ("name", 'service entry port name "{}" already defined'),
        ("number", "port number cannot be duplicated"),
    ):
        found = [one.get(key) for one in value if isinstance(one, dict)]
        for one in dict.fromkeys(one for one in found if found.count(one) > 1):
            yield invalid(field, words.format(one))


_endpoint = fields(
    {
        "address": text,
        "ports": table(integer(1, 65535), key=port_name),
        "labels": labels,
        "weight": integer(0, 2**32 - 1),
        "serviceAccount": text,
    }
)


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _endpoints(field: str, spec: Mapping[str, Any]) -> Iterator[Refusal]:
    ports = {one.get("name") for one in spec.get("ports") or [] if isinstance(one, dict)}
    for index, one in enumerate(spec.get("endpoints") or []):
        if not isinstance(one, dict):
            continue
        at, address = f"{field}.endpoints[{index}]", one.get("address", "")
        if isinstance(address, str):
            yield from _address(f"{at}.address", address, dns=spec.get("resolution") == "DNS")
        given = one.get("ports")
        for name, number in given.items() if isinstance(given, dict) else ():
            if name not in ports:
                yield invalid(f"{at}.ports", f"endpoint port {number} is not defined by the service entry")


def _address(field: str, value: str, *, dns: bool) -> Iterator[Refusal]:
    if value.startswith("unix://"):
        yield not_implemented(field, "a Unix domain socket is not implemented by the lab's control plane")
    elif not dns and not value:
        yield invalid(field, "address is required")
    elif not _is_address(value) and not (dns and not list(plain_host(field, value))):
        kind = "FQDN or an IP address" if dns else "IP address"
        yield invalid(field, f'endpoint address "{value}" is not a valid {kind}')


def _spec(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if not value.get("hosts"):
        yield invalid(f"{field}.hosts", "service entry must have at least one host")
    if "resolution" not in value:
        words = "NONE, which is Istio's default, is not implemented by the lab's control plane: STATIC, DNS are"
        yield not_implemented(f"{field}.resolution", words)
    if isinstance(value.get("endpoints"), list):
        yield from _endpoints(field, value)


def _export_to(field: str, value: Any) -> Iterator[Refusal]:
    """A ServiceEntry may be for nobody, and for nobody alone."""
    if isinstance(value, list) and "~" in value:
        if len(value) > 1:
            yield invalid(field, "cannot export service entry to no one (~) and someone")
        return
    yield from export_to(field, value)


service_entry: Check = fields(
    {
        "hosts": each(_host),
        "ports": _ports,
        "location": one_of("MESH_EXTERNAL", "MESH_INTERNAL"),
        "resolution": one_of("STATIC", "DNS", elsewhere=("NONE", "DNS_ROUND_ROBIN", "DYNAMIC_DNS")),
        "endpoints": each(_endpoint),
        "exportTo": _export_to,
    },
    also=_spec,
)
"""The check of a ServiceEntry's `spec`."""
