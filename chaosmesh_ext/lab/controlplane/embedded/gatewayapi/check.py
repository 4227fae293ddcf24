"""What the control plane implements of the Gateway API's HTTPRoute, and what its definition refuses, in its words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.istio.durations import seconds
from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.filters_check import backend_filters, filters
from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.names_check import (
    GROUP,
    backend,
    by_name,
    dns_name,
    header_name,
    hostname,
    kind_here,
    label,
    prefix_matches,
)
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Refusal,
    each,
    fields,
    integer,
    invalid,
    one_of,
    text,
)

__all__ = ["http_route"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+")
_LITERAL = "when type one of ['Exact', 'PathPrefix']"
_NOT_IN_A_PATH = ("//", "/./", "/../", "%2f", "%2F", "#")


def _path(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    path = value.get("value", "/")
    if value.get("type", "PathPrefix") == "RegularExpression" or not isinstance(path, str):
        return
    if not path.startswith("/"):
        yield invalid(field, f"value must be an absolute path and start with '/' {_LITERAL}")
    for part in _NOT_IN_A_PATH:
        if part in path:
            yield invalid(field, f"must not contain '{part}' {_LITERAL}")
    for end in ("/..", "/."):
        if path.endswith(end):
            yield invalid(field, f"must not end with '{end}' {_LITERAL}")
    if not _PATH.fullmatch(path):
        words = f"must only contain valid characters (matching ^{_PATH.pattern}$)"
        yield invalid(field, f"{words} for types ['Exact', 'PathPrefix']")


_NAMED = fields(
    {"name": header_name, "value": text, "type": one_of("Exact", "RegularExpression")}, required=["name", "value"]
)

_MATCH = fields(
    {
        "path": fields({"type": one_of("Exact", "PathPrefix", "RegularExpression"), "value": text}, also=_path),
        "headers": by_name(_NAMED),
        "queryParams": by_name(_NAMED),
        "method": one_of(*_METHODS),
    }
)


def _duration(field: str, value: Any) -> Iterator[Refusal]:
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        yield invalid(field, f"should match '^{_DURATION.pattern}$'")


def _longest(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    told = [value.get(name) for name in ("request", "backendRequest")]
    if not all(isinstance(one, str) and _DURATION.fullmatch(one) for one in told):
        return
    whole, one_try = (seconds(str(one)) for one in told)
    if whole and one_try > whole:
        yield invalid(field, "backendRequest timeout cannot be longer than request timeout")


def _rule(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    found = [one for one in value.get("filters") or [] if isinstance(one, dict)]
    if value.get("backendRefs") and any("requestRedirect" in one for one in found):
        yield invalid(field, "RequestRedirect filter must not be used together with backendRefs")
    yield from prefix_matches(field, value, found)


_RULE = fields(
    {
        "name": dns_name,
        "matches": each(_MATCH),
        "filters": filters,
        "backendRefs": each(backend({"weight": integer(0, 1_000_000), "filters": backend_filters})),
        "timeouts": fields({"request": _duration, "backendRequest": _duration}, also=_longest),
    },
    also=_rule,
)

_GROUPS = {"Gateway": GROUP, "Service": ""}


def _group(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    """A parent of another group is somebody else's to istiod, which takes no notice of it."""
    kind, group = value.get("kind", "Gateway"), value.get("group", GROUP)
    if _GROUPS.get(kind, group) != group:
        yield invalid(f"{field}.group", f"istiod ignores a {kind} of group {group!r}: its group is {_GROUPS[kind]!r}")


_PARENT = fields(
    {
        "group": text,
        "kind": kind_here("Gateway", "Service"),
        "name": text,
        "namespace": label,
        "port": integer(1, 65535),
        "sectionName": dns_name,
    },
    required=["name"],
    also=_group,
)


def _parents(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    """Several references to one parent are told apart by their sections alone."""
    sections: dict[tuple[Any, ...], list[Any]] = {}
    for ref in value.get("parentRefs") or []:
        if isinstance(ref, dict):
            key = tuple(str(ref.get(name, "")) for name in ("group", "kind", "name", "namespace"))
            sections.setdefault(key, []).append(ref.get("sectionName"))
    words = "when parentRefs includes 2 or more references to the same parent"
    for told in sections.values():
        if None in told and any(told):
            yield invalid(f"{field}.parentRefs", f"sectionName must be specified {words}")
        elif any(one in told[:index] for index, one in enumerate(told)):
            yield invalid(f"{field}.parentRefs", f"sectionName must be unique {words}")


http_route = fields(
    {"parentRefs": each(_PARENT), "hostnames": each(hostname), "rules": each(_RULE, least=1)}, also=_parents
)
"""The check of an HTTPRoute's `spec`."""
