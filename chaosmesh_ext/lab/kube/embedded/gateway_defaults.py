"""What the definitions of the Gateway API fill in where an object does not say it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["gateway", "http_route"]

_GROUP = "gateway.networking.k8s.io"


def http_route(obj: Obj) -> None:
    """Complete an HTTPRoute in place."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    for ref in _each(spec, "parentRefs"):
        _defaults(ref, group=_GROUP, kind="Gateway")
    spec.setdefault("rules", [{}])
    for rule in _each(spec, "rules"):
        rule.setdefault("matches", [{}])
        for match in _each(rule, "matches"):
            path = match.setdefault("path", {})
            if isinstance(path, dict):
                _defaults(path, type="PathPrefix", value="/")
            for one in (*_each(match, "headers"), *_each(match, "queryParams")):
                _defaults(one, type="Exact")
        _filters(rule)
        for ref in _each(rule, "backendRefs"):
            _defaults(ref, group="", kind="Service", weight=1)
            _filters(ref)


def gateway(obj: Obj) -> None:
    """Complete a Gateway of the Gateway API in place."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    for address in _each(spec, "addresses"):
        _defaults(address, type="IPAddress")
    for listener in _each(spec, "listeners"):
        allowed = listener.setdefault("allowedRoutes", {})
        if not isinstance(allowed, dict):
            continue
        namespaces = allowed.setdefault("namespaces", {})
        if isinstance(namespaces, dict):
            _defaults(namespaces, **{"from": "Same"})
        for kind in _each(allowed, "kinds"):
            _defaults(kind, group=_GROUP)


def _filters(holder: Obj) -> None:
    for one in _each(holder, "filters"):
        mirror, redirect, cors = (one.get(name) for name in ("requestMirror", "requestRedirect", "cors"))
        if isinstance(redirect, dict):
            _defaults(redirect, statusCode=302)
        if isinstance(cors, dict):
            _defaults(cors, maxAge=5)
        if isinstance(mirror, dict):
            if isinstance(mirror.get("backendRef"), dict):
                _defaults(mirror["backendRef"], group="", kind="Service")
            if isinstance(mirror.get("fraction"), dict):
                _defaults(mirror["fraction"], denominator=100)


def _each(holder: Obj, field: str) -> Iterator[Obj]:
    """The objects in a list of HOLDER; what is of a wrong kind is told of elsewhere."""
    found = holder.get(field)
    if isinstance(found, list):
        yield from (one for one in found if isinstance(one, dict))


def _defaults(target: Obj, **values: Any) -> None:
    for key, value in values.items():
        target.setdefault(key, value)
