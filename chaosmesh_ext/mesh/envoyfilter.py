"""The EnvoyFilter carrier: Envoy's fault filter switched on in the virtual host of the destination.

istiod puts the fault filter into every HTTP connection manager, so its per-route settings are enough: the owner's
routes stay as they are, the fault is live from the first request, and undo is one deletion. Everything here is pure.

Callers are selected by `workloadSelector`, never by `match.proxy`: istiod caches routes by the EnvoyFilter's name
alone and would serve one caller another's patches (0 of 10 right on a real istiod; one object per caller 20 of 20).
"""

from __future__ import annotations

from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.hosts import cluster, fqdn, vhost
from chaosmesh_ext.mesh.change import Change, Create
from chaosmesh_ext.mesh.fault import Fault, Filtered
from chaosmesh_ext.mesh.ground import for_mesh
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import created, refuse_others
from chaosmesh_ext.mesh.match import for_envoy
from chaosmesh_ext.mesh.place import Place, overlap
from chaosmesh_ext.mesh.view import View

__all__ = ["FILTER", "NAME", "plan", "settings"]

NAME: Final = "envoyfilter"
FILTER: Final = "envoy.filters.http.fault"
_TYPE: Final = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"


def plan(fault: Fault, place: Place, view: View) -> list[Change]:
    """The change that puts FAULT in PLACE.

    Raises InvalidInput where the fault would be hidden, or would mix with another one on the same virtual host.
    """
    if not isinstance(fault, Filtered):
        raise InvalidInput(f"{type(fault).__name__} is none of the fault filter's: leave out carrier: {NAME}")
    if place.at_gateway:
        raise InvalidInput(
            f"an EnvoyFilter for what comes in by a gateway would be its own namespace's ({place.proxies_in}), and for "
            "all that comes in: use carrier: virtualservice, or leave out carrier"
        )
    name = vhost(place.destination.host, place.destination.port)
    _refuse_hidden(place, view)
    _refuse_mixed(place, view, name)
    config = settings(fault, place)
    if place.subset:
        config["upstream_cluster"] = cluster(place.destination.host, place.destination.port, place.subset)
    spec: dict[str, Any] = {
        "configPatches": [
            {
                "applyTo": "VIRTUAL_HOST",
                "match": {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": {"name": name}}},
                "patch": {
                    "operation": "MERGE",
                    "value": {"typed_per_filter_config": {FILTER: config}},
                },
            }
        ]
    }
    if place.source:
        spec = {"workloadSelector": {"labels": dict(place.source.labels)}, **spec}
    obj = {
        "apiVersion": KINDS["EnvoyFilter"].api_version,
        "kind": "EnvoyFilter",
        "metadata": {"name": place.name, "namespace": place.namespace},
        "spec": spec,
    }
    return [Create(created(obj, place.run, place.cell))]


def settings(fault: Filtered, place: Place) -> dict[str, Any]:
    """Envoy's HTTPFault for the requests in PLACE, wherever it stands."""
    headers = for_envoy(place.match)
    if place.marker:
        pattern = {"safe_regex": {"regex": place.marker.pattern()}}
        headers = [{"name": place.marker.carried_by, "string_match": pattern}, *headers]
    return {"@type": _TYPE, **fault.for_envoy(), **({"headers": headers} if headers else {})}


def _refuse_hidden(place: Place, view: View) -> None:
    """Settings of a route win over those of its virtual host; and a subset that nothing routes to is never met."""
    if view.owner is None:
        if place.subset and view.http_routes:
            raise InvalidInput(
                f"the HTTPRoute {view.http_route} owns {place.destination.service} and sends to Services, to no "
                "subset: leave out subset, or fault the Service whose pods are meant"
            )
        if place.subset and not view.http_route:
            raise InvalidInput(
                f"nothing routes to the subset {place.subset} of {place.destination.service}: "
                "without a VirtualService its requests go to all pods alike"
            )
        return
    met = False
    for obj in (view.owner, *view.delegates):
        namespace = obj["metadata"]["namespace"]
        what = f"VirtualService {namespace}/{obj['metadata']['name']}"
        routes = obj.get("spec", {}).get("http") or []
        if any("fault" in route and for_mesh(route) for route in routes):
            refuse_others(what, obj, place.run)
            raise InvalidInput(
                f"{what} has a fault on a route to {place.destination.service}, which would hide ours; remove it first"
            )
        targets = [part.get("destination", {}) for route in routes for part in route.get("route", [])]
        met |= any(
            target.get("subset") == place.subset and fqdn(target.get("host", ""), namespace) == place.destination.host
            for target in targets
        )
    if place.subset and not met:
        meta = view.owner["metadata"]
        raise InvalidInput(
            f"nothing routes to the subset {place.subset} of {place.destination.service}: "
            f"VirtualService {meta['namespace']}/{meta['name']} does not"
        )


def _refuse_mixed(place: Place, view: View, name: str) -> None:
    """Two merges into one virtual host would become one fault that asks for both conditions: one at a time."""
    labels = place.source.labels if place.source else {}
    for other in view.filters:
        chosen = other.get("spec", {}).get("workloadSelector", {}).get("labels", {})
        if chosen and labels and not overlap(chosen, labels):
            continue
        for patch in other["spec"].get("configPatches", []):
            host = patch.get("match", {}).get("routeConfiguration", {}).get("vhost", {}).get("name", name)
            config = (patch.get("patch", {}).get("value") or {}).get("typed_per_filter_config", {})
            if patch.get("applyTo") == "VIRTUAL_HOST" and host == name and FILTER in config:
                meta = other["metadata"]
                refuse_others(f"EnvoyFilter {meta['namespace']}/{meta['name']}", other, place.run)
                raise InvalidInput(
                    f"EnvoyFilter {meta['namespace']}/{meta['name']} already faults {place}: one fault per caller and "
                    "host at a time; see `chaos mesh runs`, and remove it first (`chaos mesh recover`)"
                )
