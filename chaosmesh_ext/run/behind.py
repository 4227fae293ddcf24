"""Who is behind a destination: somebody must answer the calls that a fault is for, where the fault is put."""

from __future__ import annotations

from chaosmesh_ext.errors import Forbidden, InvalidInput
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh import Client, Place, View, view
from chaosmesh_ext.mesh.place import overlap
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.names import is_label
from chaosmesh_ext.settings import Settings

__all__ = ["refuse_empty", "refuse_led_elsewhere"]

_CLUSTER = ".svc.cluster.local"


def refuse_empty(client: Client, place: Place, around: Surroundings, settings: Settings) -> None:
    """Raise InvalidInput where no pod runs behind PLACE's host, nor a machine outside of Kubernetes, no route leads
    from it to others, and no other cluster may have any. What may not be asked is not refused.
    """
    there = place.destination
    if not there.selector:
        return  # outside of the mesh, or with endpoints that somebody writes
    try:
        if around.callers(there.namespace, there.selector, {}):
            return
        machines = client.list("WorkloadEntry", there.namespace)
        if any(selects(there.selector, one.get("spec", {}).get("labels") or {}) for one in machines):
            return
        plane = None if around.lab or settings.config_cluster else around.control_plane
    except Forbidden:
        return
    found = view(client, place)
    if settings.config_cluster or (plane and plane.cluster) or found.owner or found.http_routes or found.bound:
        return
    subset = f" (subset {place.subset})" if place.subset else ""
    raise InvalidInput(
        f"no pod of {there.service}{subset} in {there.namespace} runs, so nobody answers its calls: scale it up first"
    )


def refuse_led_elsewhere(client: Client, place: Place, found: View) -> None:
    """Raise InvalidInput where all routes of PLACE's host, in what was FOUND, lead to other pods than those behind it:
    what stands at these meets no call.
    """
    there = place.destination
    home = (there.namespace, there.service)
    targets = _services(found, home)
    if not targets or home in targets:
        return
    try:
        services = [client.find("Service", *target) for target in sorted(targets) if is_label(target[0])]
    except Forbidden:
        return
    selectors = [(one or {}).get("spec", {}).get("selector") or {} for one in services]
    if any(chosen and overlap(chosen, there.selector) for chosen in selectors):
        return
    names = ", ".join(f"{name}.{namespace}" for namespace, name in sorted(targets))
    owner = found.owner["metadata"] if found.owner else found.http_routes[0]["metadata"]
    raise InvalidInput(
        f"{'VirtualService' if found.owner else 'HTTPRoute'} {owner['namespace']}/{owner['name']} sends the calls of "
        f"{there.service} to {names}, so none arrives at its own pods: name one of these as destination, or another "
        "carrier"
    )


def _services(found: View, home: tuple[str, str]) -> set[tuple[str, str]]:
    """The Services (namespace and name) to which the routes lead that were FOUND; HOME for what may lead anywhere."""
    targets: set[tuple[str, str]] = set()
    for obj in (found.owner, *found.delegates) if found.owner else ():
        own = obj["metadata"]["namespace"]
        for route in obj.get("spec", {}).get("http") or ():
            for part in route.get("route") or ():
                name, _, rest = fqdn(part.get("destination", {}).get("host", ""), own).partition(".")
                targets.add((rest.removesuffix(_CLUSTER), name))
    for obj in found.http_routes if not found.owner else ():
        own = obj["metadata"]["namespace"]
        for rule in obj.get("spec", {}).get("rules") or ():
            for part in rule.get("backendRefs") or ({"kind": ""},):
                service = (part.get("group") or "", part.get("kind", "Service")) == ("", "Service")
                targets.add((part.get("namespace", own), part["name"]) if service else home)
    return targets
