"""The subsets of a host, and which versions are in each as traces name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers, selects
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.discovery import everywhere, routes_to, version_of
from chaosmesh_ext.mesh.modes import running
from chaosmesh_ext.mesh.owners import owner, visible
from chaosmesh_ext.mesh.place import Place

__all__ = ["versions_of"]


def versions_of(client: Client, place: Place, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """By subset of PLACE's destination with one of NAMES, the versions of its pods that run.

    Behind an HTTPRoute, which knows no subsets, the names are of Services beside the destination. Raises NotFound for a
    subset that no DestinationRule defines, or a Service that is not there; InvalidInput for one without pods: its
    requests would be answered with 503.
    """
    there = place.destination
    routes = routes_to(client, place)
    at_gateway = place.source is not None and place.source.gateway_api
    if at_gateway or (routes and owner(_virtual_services(client, place), there.host, place.namespace) is None):
        return _versions(client, place, names, _of_services(client, place), "Service")
    return _versions(client, place, names, _of_rules(client, place), "subset")


def _virtual_services(client: Client, place: Place) -> list[Obj]:
    return everywhere(client, "VirtualService", {place.namespace, place.destination.namespace} - {""})


def _of_services(client: Client, place: Place) -> dict[str, Mapping[str, str]]:
    """By name, the labels of the pods of each Service of the destination's namespace with the port that is meant."""
    there = place.destination
    return {
        one["metadata"]["name"]: one["spec"].get("selector") or {}
        for one in client.list("Service", there.namespace)
        if there.port in {port.get("port") for port in one["spec"].get("ports") or ()}
    }


def _of_rules(client: Client, place: Place) -> dict[str, Mapping[str, str]]:
    """By subset, the labels of its pods."""
    there = place.destination
    known: dict[str, Mapping[str, str]] = {}
    for rule in everywhere(client, "DestinationRule", {place.namespace, there.namespace} - {""}):
        host = rule.get("spec", {}).get("host", "")
        whole = host if "*" in host else fqdn(host, rule["metadata"]["namespace"])
        if visible(rule, place.namespace) and covers(whole, there.host):
            subsets = rule["spec"].get("subsets") or ()
            known.update((one["name"], {**there.selector, **(one.get("labels") or {})}) for one in subsets)
    return known


def _versions(
    client: Client, place: Place, names: Iterable[str], known: Mapping[str, Mapping[str, str]], word: str
) -> dict[str, frozenset[str]]:
    """The versions of the pods that run, by each of NAMES; KNOWN: the labels of each WORD's pods."""
    there = place.destination
    pods = [pod["metadata"].get("labels") or {} for pod in client.list("Pod", there.namespace) if running(pod)]
    found = {}
    for name in names:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            if word == "Service":
                raise NotFound(
                    f"no Service {name} with port {there.port} beside {there.service}, whose HTTPRoute sends to "
                    f"Services and to no subsets: there are {listed}"
                )
            raise NotFound(f"no subset {name} of {there.service}: its DestinationRules have {listed}")
        labels = known[name]
        versions = frozenset(version_of(its) for its in pods if labels and selects(labels, its))
        if not versions:
            raise InvalidInput(f"no pod of the {word} {name} of {there.service} runs: scale it up, or leave it out")
        found[name] = versions
    return found
