"""Where the calls to a host really arrive: a route may send them to another service's pods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chaosmesh_ext.errors import Forbidden, InvalidInput
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.discovery import everywhere, routes_to
from chaosmesh_ext.mesh.modes import running
from chaosmesh_ext.mesh.owners import owner
from chaosmesh_ext.mesh.place import Place

__all__ = ["refuse_elsewhere"]

_SUFFIX = ".svc.cluster.local"


def refuse_elsewhere(client: Client, place: Place) -> None:
    """Raise InvalidInput where the routes of PLACE's host send its calls to pods of which none is behind the host.

    What stands in front of those would be met by nobody. Where the cluster does not say enough, it is let pass.
    """
    there = place.destination
    if not there.selector or (place.source and place.source.gateway):
        return
    spaces = {place.namespace, there.namespace}
    theirs = owner(everywhere(client, "VirtualService", spaces), there.host, place.namespace)
    routes = (theirs,) if theirs else routes_to(client, place)
    targets = set(_of_virtual_service(theirs) if theirs else _of_http_routes(routes))
    if not targets or (there.service, there.namespace) in targets or ("", "") in targets:
        return
    try:
        known = [(client.find("Service", space, name) or {}, space) for name, space in targets]
        arrive = [
            (pod["metadata"].get("labels") or {}, space)
            for service, space in known
            if (selector := service.get("spec", {}).get("selector"))
            for pod in client.list("Pod", space)
            if running(pod) and selects(selector, pod["metadata"].get("labels") or {})
        ]
    except Forbidden:
        return
    if not arrive or any(space == there.namespace and selects(there.selector, labels) for labels, space in arrive):
        return
    names = ", ".join(
        sorted(name if space == place.namespace else f"{name}.{space}{_SUFFIX}" for name, space in targets)
    )
    what = "{kind} {metadata[namespace]}/{metadata[name]}".format_map(routes[0])
    raise InvalidInput(
        f"{what} sends the calls for {there.service} to {names}, so none arrives at the pods of {there.service}: name "
        f"{names.split(', ')[0]} as destination"
    )


def _of_virtual_service(obj: Obj) -> Iterator[tuple[str, str]]:
    """Name and namespace of each service that OBJ routes to; empty for what is none, or is not known."""
    for route in obj.get("spec", {}).get("http") or ():
        if "delegate" in route:
            yield "", ""
        for part in route.get("route") or ():
            host = fqdn(part.get("destination", {}).get("host", ""), obj["metadata"]["namespace"])
            name, _, space = host.removesuffix(_SUFFIX).partition(".")
            yield (name, space) if host.endswith(_SUFFIX) else ("", "")


def _of_http_routes(objs: Iterable[Obj]) -> Iterator[tuple[str, str]]:
    for obj in objs:
        for rule in obj.get("spec", {}).get("rules") or ():
            for part in rule.get("backendRefs") or ():
                if (part.get("group") or "", part.get("kind", "Service")) != ("", "Service"):
                    yield "", ""
                elif part.get("weight", 1):
                    yield part["name"], part.get("namespace", obj["metadata"]["namespace"])
