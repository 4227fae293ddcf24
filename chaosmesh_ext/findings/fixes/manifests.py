"""Istio's manifests, plain and whole: a VirtualService and a DestinationRule for one host."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["destination_rule", "duration", "name", "virtual_service"]

_API: Final = "networking.istio.io/v1"
_LONGEST: Final = 253
"""Characters of an object's name (RFC 1123)."""

_NO_NAME: Final = re.compile(r"[^a-z0-9.-]+")


def virtual_service(host: str, namespace: str, what: str, routes: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """A VirtualService for HOST in its own NAMESPACE; each of ROUTES leads to it, and says what is set beside."""
    http = [
        {
            **({"match": route["match"]} if "match" in route else {}),
            "route": [{"destination": {"host": host}}],
            **{key: value for key, value in route.items() if key != "match"},
        }
        for route in routes
    ]
    return _object("VirtualService", host, namespace, what, {"hosts": [host], "http": http})


def destination_rule(host: str, namespace: str, what: str, policy: Mapping[str, Any]) -> dict[str, object]:
    """A DestinationRule for HOST in its own NAMESPACE with POLICY as its `trafficPolicy`."""
    return _object("DestinationRule", host, namespace, what, {"host": host, "trafficPolicy": dict(policy)})


def name(host: str, what: str) -> str:
    """``details-timeout``: a DNS subdomain, whatever HOST is.

    >>> name("details", "timeout"), name("*.Example.com", "timeout")
    ('details-timeout', 'example.com-timeout')
    """
    room = _LONGEST - len(what) - 1
    # a part between dots neither begins nor ends with a dash
    parts = (part.strip("-") for part in _NO_NAME.sub("-", host.lower())[:room].split("."))
    return "-".join(filter(None, (".".join(filter(None, parts)), what)))


def duration(seconds: float) -> str:
    """SECONDS as Istio writes them, to the millisecond: ``0.5s``, ``30s``; at least 1 ms, the least that it takes."""
    return f"{max(seconds, 0.001):.3f}".rstrip("0").rstrip(".") + "s"


def _object(kind: str, host: str, namespace: str, what: str, spec: dict[str, object]) -> dict[str, object]:
    metadata = {"name": name(host, what), "namespace": namespace}
    return {"apiVersion": _API, "kind": kind, "metadata": metadata, "spec": spec}
