"""Who is behind a destination: somebody must answer the calls that a fault is for, where the fault is put."""

from __future__ import annotations

from chaosmesh_ext.errors import Forbidden, InvalidInput
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh import Client, Place, View, view
from chaosmesh_ext.mesh.elsewhere import UNKNOWN, from_gateways, led_to
from chaosmesh_ext.mesh.listing import everywhere
from chaosmesh_ext.mesh.place import overlap
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.settings import Settings

__all__ = ["refuse_empty", "refuse_led_elsewhere"]


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
    """Raise InvalidInput where the routes of PLACE's host, in what was FOUND, send all its calls to other pods than its
    own: what stands at these is met by nobody. Where the cluster does not say enough, it is let pass.
    """
    there = place.destination
    routes = (found.owner, *found.delegates) if found.owner else found.http_routes
    targets = {one[:2] for one in led_to(routes)}
    if not targets or targets & {(there.namespace, there.service), UNKNOWN[:2]}:
        return
    spaces = {place.namespace, there.namespace} - {""}
    try:
        if from_gateways(everywhere(client, "VirtualService", spaces), everywhere(client, "HTTPRoute", spaces), place):
            return
        services = {target: client.find("Service", *target) for target in sorted(targets)}
    except Forbidden:
        return
    for (namespace, _), service in services.items():
        selector = service.get("spec", {}).get("selector") if service else None
        if service and (not selector or (namespace == there.namespace and overlap(selector, there.selector))):
            return
    names = [name if space == place.namespace else fqdn(name, space) for space, name in services]
    raise InvalidInput(
        f"{routes[0]['kind']} {routes[0]['metadata']['namespace']}/{routes[0]['metadata']['name']} sends the calls for "
        f"{there.service} to {', '.join(names)}, so none arrives at the pods of {there.service}: name {names[0]} as "
        "destination"
    )
