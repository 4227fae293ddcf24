"""Faults of the sorts that are no delay and no abort, each as small as its sort can be; and whose objects they meet."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Final

import msgspec

from chaosmesh_ext.mesh import Change, Create, Edit, Place, View, ledger
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.pointer import ABSENT, Op, look
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["POLICIES", "Busy", "Guarded", "Routed", "Short", "http_route", "owned"]

_PAGE = {"matchLabels": {"app": "productpage"}}
_RULE = {"issuer": "someone@example.com", "jwksUri": "https://example.com/keys"}
_SPECS: Final[dict[str, dict[str, Any]]] = {
    "AuthorizationPolicy": {"selector": _PAGE, "action": "DENY", "rules": [{"to": [{"operation": {"ports": ["1"]}}]}]},
    "PeerAuthentication": {"selector": _PAGE, "mtls": {"mode": "PERMISSIVE"}},
    "RequestAuthentication": {"selector": _PAGE, "jwtRules": [_RULE]},
    "ServiceEntry": {
        "hosts": ["one.example.com", "two.example.com"],
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "location": "MESH_EXTERNAL",
        "resolution": "DNS",
    },
    "Sidecar": {
        "workloadSelector": {"labels": {"app": "productpage"}},
        "egress": [{"hosts": ["./*", "istio-system/*"]}],
    },
}
_SET: Final[dict[str, tuple[str, Any]]] = {
    "AuthorizationPolicy": ("/spec/rules", [{}]),
    "PeerAuthentication": ("/spec/mtls", {"mode": "STRICT"}),
    "RequestAuthentication": ("/spec/jwtRules", [{**_RULE, "issuer": "another@example.com"}]),
    "ServiceEntry": ("/spec/hosts", ["one.example.com"]),
    "Sidecar": ("/spec/outboundTrafficPolicy", {"mode": "REGISTRY_ONLY"}),
}
POLICIES: Final = tuple(_SPECS)
"""The kinds of which a policy may make or change objects."""


def owned(kind: str, name: str = "owned") -> dict[str, Any]:
    """Somebody's object of KIND, one of POLICIES."""
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": meta, "spec": _SPECS[kind]}


class _Small(msgspec.Struct, frozen=True):
    kinds: ClassVar[tuple[str, ...]] = ()
    rarely: ClassVar[bool] = True
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = 100.0
    patience: ClassVar[float] = 0.0

    def shows_in(self, span: Span, trace: Trace) -> bool:
        raise NotImplementedError

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        return Injected(type(self).__name__.lower(), destination, sources, subset=subset, carrier=carrier)


class Short(_Small, frozen=True):
    """A route with another timeout."""

    carriers: ClassVar[tuple[str, ...]] = ("virtualservice",)

    def for_route(self, route: dict[str, Any], place: Place) -> dict[str, Any]:
        return {**route, "timeout": "1s"}


class Routed(_Small, frozen=True):
    """A rule of an HTTPRoute with another timeout."""

    carriers: ClassVar[tuple[str, ...]] = ("httproute",)

    def for_route(self, route: dict[str, Any], place: Place) -> dict[str, Any]:
        raise NotImplementedError

    def for_rule(self, rule: dict[str, Any], place: Place) -> dict[str, Any]:
        return {**rule, "timeouts": {"request": "1s"}}


def http_route(service: str = "details", name: str = "owned") -> dict[str, Any]:
    """Somebody's HTTPRoute for SERVICE, as an API server keeps it."""
    backend = {"group": "", "kind": "Service", "name": service, "port": 9080, "weight": 1}
    return {
        "apiVersion": KINDS["HTTPRoute"].api_version,
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": service}],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [backend]}],
        },
    }


class Busy(_Small, frozen=True):
    """A policy towards a host."""

    carriers: ClassVar[tuple[str, ...]] = ("destinationrule",)
    kinds: ClassVar[tuple[str, ...]] = ("DestinationRule",)

    def for_destination_rule(self) -> dict[str, Any]:
        return {"connectionPool": {"tcp": {"maxConnections": 1}}}


class Guarded(_Small, frozen=True):
    """Of each kind but ServiceEntry an object is made; and each that its owner has under the name `owned` is changed."""

    carriers: ClassVar[tuple[str, ...]] = ("policy",)
    kinds: ClassVar[tuple[str, ...]] = POLICIES

    def changes(self, place: Place, view: View) -> list[Change]:
        made: list[Change] = [
            Create(ledger.created(owned(kind, place.name), place.run, place.cell))
            for kind in POLICIES
            if kind != "ServiceEntry"
        ]
        there = {obj["kind"] for obj in view.others if obj["metadata"]["name"] == "owned"}
        return made + [Edit(kind, "default", "owned", partial(_changed, place=place)) for kind in sorted(there)]


def _changed(obj: dict[str, Any], place: Place) -> list[Op]:
    at, value = _SET[obj["kind"]]
    was = look(obj, at)
    field = ledger.Field(at, value, () if was is ABSENT else (was,))
    entry = ledger.Entry(place.cell, fields=(field,))
    return ledger.enter(obj, place.run, entry, [{"op": "add", "path": at, "value": value}])
