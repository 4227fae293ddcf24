"""The inbound carrier: Envoy's fault filter in front of the destination's application.

The caller's sidecar knows nothing of it, so its timeouts and retries stay in force: only for questions about those. It
is a listener change: connections drain, and a warm one meets the old configuration a while longer. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.change import Change, Create
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.envoyfilter import FILTER, settings
from chaosmesh_ext.mesh.fault import Fault, Filtered
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import created
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.mesh.view import View

__all__ = ["NAME", "filter_of", "plan", "pods_of"]

NAME: Final = "inbound"
_PRIORITY: Final = 10
"""After the EnvoyFilters of owners, whose priority is 0: what is put in relation to others needs one (IST0151)."""

_ROUTER: Final = "envoy.filters.http.router"
_MANAGER: Final = "envoy.filters.network.http_connection_manager"


def plan(fault: Fault, place: Place, view: View) -> list[Change]:
    """The change that puts FAULT in PLACE.

    Raises InvalidInput for a caller, whom the destination's sidecar cannot tell from others, and for a host without
    pods of its own.
    """
    del view
    if not isinstance(fault, Filtered):
        raise InvalidInput(f"{type(fault).__name__} is none of the fault filter's: leave out carrier: {NAME}")
    if place.source is not None:
        raise InvalidInput(
            f"the sidecar of {place.destination.service} cannot tell {place.source.name} from other callers: leave out "
            f"source, or carrier: {NAME}"
        )
    if not place.destination.selector:
        raise InvalidInput(
            f"{place.destination.service} has no pods in the mesh whose sidecar could do it: leave out carrier: {NAME}"
        )
    return [Create(filter_of(place, settings(fault, place)))]


def filter_of(place: Place, config: Mapping[str, Any], *, proxy: Mapping[str, str] | None = None) -> Obj:
    """The EnvoyFilter that puts a fault filter with CONFIG in front of the applications behind PLACE.

    PROXY: of the sidecars' node metadata, by which one of several with the same labels is meant. Istiod caches routes
    by the EnvoyFilter's name and would mix such patches up; listeners it does not cache.
    """
    match: dict[str, Any] = {
        "context": "SIDECAR_INBOUND",
        "listener": {"filterChain": {"filter": {"name": _MANAGER, "subFilter": {"name": _ROUTER}}}},
    }
    if proxy:
        match["proxy"] = {"metadata": dict(proxy)}
    value = {"name": FILTER, "typed_config": dict(config)}
    patch = {"applyTo": "HTTP_FILTER", "match": match, "patch": {"operation": "INSERT_BEFORE", "value": value}}
    obj = {
        "apiVersion": KINDS["EnvoyFilter"].api_version,
        "kind": "EnvoyFilter",
        "metadata": {"name": place.name, "namespace": place.destination.namespace},
        "spec": {
            "workloadSelector": {"labels": dict(place.destination.selector)},
            "priority": _PRIORITY,
            "configPatches": [patch],
        },
    }
    return created(obj, place.run, place.cell)


def pods_of(obj: Obj) -> list[tuple[str, str]]:
    """The namespace and name of each pod that OBJ, whatever its kind, is for alone (`filter_of` with a PROXY)."""
    found = []
    for patch in (obj.get("spec") or {}).get("configPatches") or ():
        named = ((patch.get("match") or {}).get("proxy") or {}).get("metadata") or {}
        if "NAME" in named and "NAMESPACE" in named:
            found.append((str(named["NAMESPACE"]), str(named["NAME"])))
    return found
