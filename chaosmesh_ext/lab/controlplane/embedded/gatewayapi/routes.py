"""All HTTPRoutes of the Gateway API as VirtualServices: one for each parent, port and host, as istiod merges them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec

from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.parents import Attachment, Listener, attachments
from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.rules import Home, converted, in_order
from chaosmesh_ext.lab.controlplane.embedded.virtualservices import PARENTS, ROUTE_SEMANTICS
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["virtual_services"]


class _Part(msgspec.Struct, frozen=True):
    """What one HTTPRoute says for one host of one parent."""

    key: str
    host: str
    gateway: str
    route: Obj
    http: list[Obj]


def virtual_services(routes: Iterable[Obj], services: Collection[str], listeners: Collection[Listener]) -> list[Obj]:
    """The VirtualServices that HTTPRoutes make; older ROUTES come first where they are equally specific.

    SERVICES: the hosts of all Services. Their names are those of istiod's, which spans may show.
    """
    parts: dict[str, list[_Part]] = {}
    for route in sorted(routes, key=_age):
        for part in _parts(route, services, listeners):
            parts.setdefault(part.key, []).append(part)
    return [_merged(key, found) for key, found in parts.items()]


def _age(route: Obj) -> tuple[str, str, str]:
    meta = route["metadata"]
    return meta.get("creationTimestamp") or "", meta["namespace"], meta["name"]


def _parts(route: Obj, services: Collection[str], listeners: Collection[Listener]) -> Iterator[_Part]:
    accepted = [one for one in attachments(route, services, listeners) if not one.reason]
    for parent in sorted(accepted, key=lambda one: one.gateway):
        http = in_order(list(_http(route, parent, services)))
        for host in parent.hosts:
            yield _Part(f"{_key(route, parent)}/{host}", host, parent.gateway, route, http)


def _http(route: Obj, parent: Attachment, services: Collection[str]) -> Iterator[Obj]:
    meta = route["metadata"]
    home = Home(meta["namespace"], services, parent.mesh)
    port = parent.ref.get("port") if parent.mesh else None
    for index, rule in enumerate(route["spec"].get("rules") or [{}]):
        for one in converted(rule, f"{meta['namespace']}.{meta['name']}.{index}", home):
            yield {**one, "match": [{**one["match"][0], "port": port}]} if port else one


def _key(route: Obj, parent: Attachment) -> str:
    """What istiod merges by; a route for one port of a service stays apart from those for all of its ports."""
    if not parent.mesh:
        return parent.gateway
    port = parent.ref.get("port")
    home = str(route["metadata"]["namespace"])
    return f"{home}/{port}" if port else home


def _merged(key: str, parts: list[_Part]) -> Obj:
    first = parts[0]
    meta = first.route["metadata"]
    names = ",".join(f"HTTPRoute/{one.route['metadata']['name']}.{one.route['metadata']['namespace']}" for one in parts)
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {
            "name": key.replace("/", "~"),
            "namespace": meta["namespace"],
            "creationTimestamp": meta.get("creationTimestamp"),
            "annotations": {**ROUTE_SEMANTICS, PARENTS: names},
        },
        "spec": {
            "hosts": [first.host],
            "gateways": [first.gateway],
            "http": in_order([entry for one in parts for entry in one.http]),
        },
    }
