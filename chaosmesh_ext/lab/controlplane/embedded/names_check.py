"""Names as Istio's validation wants them, refused in its words: hosts, gateways, namespaces, labels, headers."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.schema import Refusal, invalid, judged, not_implemented, table, text

__all__ = [
    "destination_host",
    "domain",
    "export_to",
    "gateway_name",
    "header_match_name",
    "labels",
    "namespace",
    "plain_host",
    "port_name",
    "server_host",
    "sidecar_host",
    "subset_name",
    "virtual_host",
]

_LABEL = "[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?"
_WILDCARD_LABEL = rf"\*|(?:\*-?)?{_LABEL}"
_NAME = "(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_KEY = rf"(?:{_LABEL}(?:\.{_LABEL})*/)?{_NAME}"
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~A-Za-z0-9]+")
_PSEUDO = (":method", ":scheme", ":authority", ":path", ":status")


def _is_label(name: str, form: str = _LABEL) -> bool:
    return len(name) <= 63 and re.fullmatch(form, name) is not None


def _labels(name: str) -> str:
    parts = name.split(".")
    if parts[-1].isdecimal():
        return f'domain name "{name}" invalid (top level domain "{parts[-1]}" cannot be all-numeric)'
    for index, label in enumerate(parts):
        if label == "" and index == len(parts) - 1:
            return ""
        if not _is_label(label):
            return f'domain name "{name}" invalid (label "{label}" invalid)'
    return ""


def _wildcard_domain(name: str) -> str:
    if not name:
        return "empty domain name not allowed"
    if len(name) > 255:
        return f'domain name "{name}" too long (max 255)'
    first, _, rest = name.partition(".")
    if not _is_label(first, _WILDCARD_LABEL):
        return f'domain name "{name}" invalid (label "{first}" invalid)'
    return _labels(rest) if rest else ""


def _virtual_host(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _wildcard_domain(name)
    return ""


def _gateway_name(name: str) -> str:
    home, slash, rest = name.partition("/")
    if not slash:
        return _labels(name) if name else "empty domain name not allowed"
    if not home or not rest:
        return "config namespace and gateway name cannot be empty"
    if not _is_label(home):
        return f'invalid value for namespace: "{home}"'
    return "" if _is_label(rest) else f'invalid value for gateway name: "{rest}"'


def _server_host(name: str) -> str:
    home, slash, rest = name.partition("/")
    if slash and (not home or not rest):
        return "config namespace and dnsName in host entry cannot be empty"
    if slash and home not in ("*", ".") and not _is_label(home):
        return f'invalid namespace value "{home}" in gateway'
    host = rest if slash else name
    if host != "*" and "." not in host:
        return "short names (non FQDN) are not allowed"
    return _virtual_host(host)


def _sidecar_host(name: str) -> str:
    home, slash, host = name.partition("/")
    if not slash:
        return "host must be of form namespace/dnsName"
    if not home or not host:
        return "config namespace and dnsName in host entry cannot be empty"
    space = home.removeprefix("~")
    if space not in ("", "*", ".") and not _is_label(space):
        return f'invalid namespace value "{home}" in sidecar'
    if host == "*":
        return ""
    if "." not in host:
        return "short names (non FQDN) are not allowed"
    return _wildcard_domain(host)


domain = judged(_wildcard_domain)
"""A DestinationRule's host."""

virtual_host = judged(_virtual_host)
"""A host of a VirtualService."""

destination_host = judged(lambda name: "invalid destination host *" if name == "*" else _wildcard_domain(name))
"""Where a route leads."""

gateway_name = judged(_gateway_name)
"""``mesh``, a gateway's name, or ``namespace/name``."""

sidecar_host = judged(_sidecar_host)
"""A host of a Sidecar's `egress`, behind the namespace that it is imported from."""

plain_host = judged(lambda name: _labels(name) if name else "empty domain name not allowed")
"""A host without a wildcard."""

port_name = judged(lambda name: "" if _is_label(name) else f"invalid port name: {name}")
"""The name of a ServiceEntry's port."""

server_host = judged(_server_host)
"""A host of a Gateway's server, perhaps behind the namespace that may bind to it."""

namespace = judged(lambda name: "" if _is_label(name) or not name else f"sourceNamespace match {name} is invalid")
"""A namespace in a match."""

subset_name = judged(lambda name: "" if _is_label(name) else f"subset name is invalid: {name}")
"""The name that a DestinationRule gives a subset."""

labels = table(
    judged(lambda value: "" if re.fullmatch(f"(?:{_NAME})?", value) else f'invalid tag value: "{value}"'),
    key=judged(lambda key: "" if re.fullmatch(_KEY, key) else f'invalid tag key: "{key}"'),
)
"""Labels of workloads."""


def header_match_name(field: str, value: Any) -> Iterator[Refusal]:
    """The name of a header in a match; claims of a JWT are known to istiod's gateways, not here."""
    if value == "":
        yield invalid(field, "header name cannot be empty")
    elif value.lower().startswith("@request.auth.claims"):
        yield not_implemented(field, "routing by the claims of a JWT is not implemented by the lab's control plane")
    elif value not in _PSEUDO and not _HEADER.fullmatch(value):
        yield invalid(field, f"header name {value} is not a valid header name")


def export_to(field: str, value: Any) -> Iterator[Refusal]:
    """`exportTo`: ``.``, ``*`` or names of namespaces."""
    if not isinstance(value, list):
        yield invalid(field, f"a list is wanted, not {value!r}")
        return
    for index, entry in enumerate(value):
        at = f"{field}[{index}]"
        if not isinstance(entry, str):
            yield from text(at, entry)
        elif entry in value[:index]:
            yield invalid(at, f"duplicate entries in exportTo for entry {entry}")
        elif entry == "~":
            yield invalid(at, "exportTo ~ (none) is not allowed for Istio configuration objects")
        elif entry not in (".", "*") and not _is_label(entry):
            yield invalid(at, "only .,*, or a valid DNS 1123 label is allowed as exportTo entry")
    if "*" in value and len(value) > 1:
        yield invalid(field, "cannot have both public (*) and non-public exportTo values for a resource")
