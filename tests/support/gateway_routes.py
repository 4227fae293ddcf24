"""HTTPRoutes of the Gateway API for the tests of echo meshes."""

from __future__ import annotations

from typing import Any

from echo_mesh import PORT, Mesh

__all__ = ["TAG", "attach", "backend", "rule", "tagged", "to_service"]

TAG = "x-rule"
"""The header of a response that says which rule it came by."""


def to_service(name: str = "reviews", **fields: Any) -> dict[str, Any]:
    """A parentRef to a Service."""
    return {"group": "", "kind": "Service", "name": name, **fields}


def backend(name: str = "reviews", port: int = PORT, **fields: Any) -> dict[str, Any]:
    """A backendRef to a Service."""
    return {"name": name, "port": port, **fields}


def tagged(tag: str) -> dict[str, Any]:
    """A filter that puts TAG on responses."""
    return {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": TAG, "value": tag}]}}


def rule(*matches: dict[str, Any], tag: str = "", **fields: Any) -> dict[str, Any]:
    """A rule with MATCHES that leads to reviews unless FIELDS say otherwise, and puts TAG on responses."""
    out: dict[str, Any] = {"backendRefs": [backend()], **fields}
    if matches:
        out["matches"] = list(matches)
    if tag:
        out["filters"] = [*out.get("filters", []), tagged(tag)]
    return out


def attach(
    mesh: Mesh,
    *rules: dict[str, Any],
    name: str = "route",
    namespace: str = "default",
    parent: Any = None,
    wait: bool = True,
    **spec: Any,
) -> Any:
    """Write an HTTPRoute of RULES for PARENT, the Service reviews where none is given; WAIT until Envoys have it."""
    parents = [parent or to_service()]
    return mesh.apply("HTTPRoute", name, {"parentRefs": parents, "rules": list(rules), **spec}, namespace, wait=wait)
