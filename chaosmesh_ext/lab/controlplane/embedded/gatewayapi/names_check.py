"""Names and references in the Gateway API, as its definitions want them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Check,
    Refusal,
    each,
    fields,
    integer,
    invalid,
    judged,
    not_implemented,
    one_of,
)

__all__ = [
    "GROUP",
    "backend",
    "by_name",
    "dns_name",
    "header_name",
    "hostname",
    "kind_here",
    "label",
    "prefix_matches",
]

GROUP = "gateway.networking.k8s.io"

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"


def _shaped(pattern: str) -> Check:
    return judged(lambda value: "" if re.fullmatch(pattern, value) else f"should match '^{pattern}$'")


label = _shaped(_LABEL)
"""A namespace."""

dns_name = _shaped(rf"{_LABEL}(\.{_LABEL})*")
"""The name of a rule or of a listener."""

hostname = _shaped(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
"""A host, perhaps with a wildcard."""

header_name = _shaped(r"[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+")
"""A header's name, or a query parameter's."""


def by_name(item: Check) -> Check:
    """A list of ITEMs with names, each of which may be there once."""
    every = each(item)

    def check(field: str, value: Any) -> Iterator[Refusal]:
        yield from every(field, value)
        names = [one.get("name") for one in value if isinstance(one, dict)] if isinstance(value, list) else []
        for index, name in enumerate(names):
            if name in names[:index]:
                yield invalid(f"{field}[{index}]", f'Duplicate value: {{"name":"{name}"}}')

    return check


def kind_here(*kinds: str) -> Check:
    """A kind that is referred to; others than KINDS are not implemented."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if value not in kinds:
            words = f"{value} is not implemented by the lab's control plane: {', '.join(kinds)} are"
            yield not_implemented(field, words)

    return check


def _service(value: str) -> str:
    return "" if "." not in value else "service name invalid; the name of the Service must be used, not the hostname."


def _port(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if "port" not in value:
        yield invalid(field, "Must have port for Service reference")


def backend(more: Mapping[str, Check]) -> Check:
    """A reference to a Service, with MORE fields."""
    known = {
        "group": one_of("", elsewhere=["networking.istio.io", "multicluster.x-k8s.io", "inference.networking.k8s.io"]),
        "kind": kind_here("Service"),
        "name": judged(_service),
        "namespace": label,
        "port": integer(1, 65535),
        **more,
    }
    return fields(known, required=["name"], also=_port)


def prefix_matches(field: str, rule: Mapping[str, Any], filters: Sequence[Mapping[str, Any]]) -> Iterator[Refusal]:
    """A prefix that is replaced must be the rule's only match."""
    for key, name in (("requestRedirect", "RequestRedirect"), ("urlRewrite", "URLRewrite")):
        changes = [one[key] for one in filters if isinstance(one.get(key), dict)]
        paths = [one["path"] for one in changes if isinstance(one.get("path"), dict)]
        if not any("replacePrefixMatch" in path for path in paths):
            continue
        matches = rule.get("matches") or [{}]
        path = matches[0].get("path") if len(matches) == 1 and isinstance(matches[0], dict) else {"type": ""}
        if (path or {}).get("type", "PathPrefix") != "PathPrefix":
            words = "filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified"
            yield invalid(field, f"When using {name} {words}")
