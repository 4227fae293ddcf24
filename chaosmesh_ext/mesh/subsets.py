"""The subsets of a host, and which versions are in each as traces name them; and who gets copies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from chaosmesh_ext.errors import Forbidden, InvalidInput, NotFound
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers, selects
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.discovery import place as resolve
from chaosmesh_ext.mesh.discovery import routes_to
from chaosmesh_ext.mesh.elsewhere import Target, led_to
from chaosmesh_ext.mesh.fault import RouteChange
from chaosmesh_ext.mesh.listing import everywhere
from chaosmesh_ext.mesh.modes import running
from chaosmesh_ext.mesh.owners import delegates, owner, visible
from chaosmesh_ext.mesh.place import Destination, Place
from chaosmesh_ext.mesh.sources import service_of, version_of
from chaosmesh_ext.model import Scope

__all__ = ["Copying", "check_copies", "versions_of"]


@runtime_checkable
class Copying(RouteChange, Protocol):
    """One that copies requests. host, subset: who gets the copies; host: empty for the destination. serving: the subset
    of the destination that answers the requests themselves; empty for whoever does anyway.
    """

    @property
    def host(self) -> str: ...

    @property
    def subset(self) -> str: ...

    @property
    def serving(self) -> str: ...


def versions_of(
    client: Client, place: Place, names: Iterable[str], idle: Iterable[str] = ()
) -> dict[str, frozenset[str]]:
    """By subset of PLACE's destination with one of NAMES, the versions of its pods that run. IDLE: names that must be
    those of subsets too, though nobody of theirs need run.

    Behind an HTTPRoute, which knows no subsets, the names are of Services beside the destination. Raises NotFound for a
    subset that no DestinationRule defines, or a Service that is not there; InvalidInput for one without pods: its
    requests would be answered with 503.
    """
    if _by_services(place, _routes(client, place)):
        known, word = _of_services(client, place), "Service"
    else:
        known, word = _of_rules(client, place), "subset"
    for name in idle:
        _labels(place, name, known, word)
    return _versions(client, place, names, known, word)


def check_copies(client: Client, place: Place, fault: Copying) -> frozenset[str]:
    """Refuse copies of the calls in PLACE that FAULT would send to nobody, or back to where the calls themselves go, or
    come from; another service that gets them, by the names that its pods have in traces.

    Envoy drops copies for a host that it does not know, and no request shows it. Raises NotFound for a host or subset
    that is not there, InvalidInput for one without pods. What the account may not read in another namespace is let
    pass.
    """
    routes = _routes(client, place)
    by_services = _by_services(place, routes)
    if not fault.host:  # its subset is looked at by itself
        _refuse_to_itself(place, fault, place.destination, routes)
        return frozenset()
    try:
        there = _getting(client, place, fault.host, by_services=by_services)
        pods = client.list("Pod", there.namespace) if there.namespace else []
    except Forbidden:
        return frozenset()
    if there.namespace and not by_services and fqdn(fault.host, place.namespace) != there.host:
        raise InvalidInput(f"mirror_host {fault.host} is no whole name: write {there.host}")
    _refuse_to_itself(place, fault, there, routes)
    if fault.subset and not by_services:
        at = msgspec.structs.replace(place, destination=there)
        _versions(client, at, [fault.subset], _of_rules(client, at), "subset")
    every = [pod["metadata"].get("labels") or {} for pod in pods if running(pod)]
    behind = [labels for labels in every if there.selector and selects(there.selector, labels)]
    if there.selector and not behind and (by_services or not fault.subset):
        raise InvalidInput(f"mirror_host {fault.host} has no pod that runs, so copies would go nowhere: scale it up")
    source = place.source
    calling = source is not None and not source.gateway and source.namespace == there.namespace
    if source is not None and calling and any(selects(source.labels, labels) for labels in behind):
        raise InvalidInput(
            f"mirror_host {fault.host} is {source.name} itself, whose calls to {place.destination.service} are meant: "
            "each copy would be copied again, without end; name another one"
        )
    return frozenset(filter(None, (there.service, *map(service_of, behind))))


def _refuse_to_itself(place: Place, fault: Copying, there: Destination, routes: Sequence[Obj]) -> None:
    """Raise InvalidInput where FAULT's copies would go back to PLACE's host, or to whom alone ROUTES send its calls."""

    def called(one: Destination, subset: str) -> Target:
        beside = subset and _by_services(place, routes)
        return Target(one.namespace, subset) if beside else Target(one.namespace, one.service, subset)

    home, to = called(place.destination, ""), called(there, fault.subset)
    answering = {called(place.destination, fault.serving)} if fault.serving else led_to(routes)
    if to == home or answering == {to}:
        argument = f"mirror_host {fault.host}" if fault.host else f"mirror_subset {fault.subset}"
        more = f" ({to.subset})" if fault.host and to.subset else ""
        raise InvalidInput(f"{argument}{more} would get copies of what it gets already: name another one")


def _getting(client: Client, place: Place, host: str, *, by_services: bool) -> Destination:
    """Whom HOST, which gets copies, means, at the port that they go to: its only one, or else that of the calls."""

    def at(port: int) -> Destination:
        scope = Scope(host, namespace=place.namespace, port=port)
        try:
            return resolve(client, scope, run=place.run, cell=place.cell).destination
        except InvalidInput as error:
            raise type(error)(f"mirror_host {host}: {error}") from None

    try:
        found = at(0)
    except NotFound:
        raise
    except InvalidInput:  # of several HTTP ports, that of the calls is meant
        return at(place.destination.port)
    return at(place.destination.port) if by_services or len(found.ports) > 1 else found


def _routes(client: Client, place: Place) -> tuple[Obj, ...]:
    """What routes PLACE's calls: a VirtualService with those that it delegates to, or HTTPRoutes."""
    routes = routes_to(client, place)
    if place.source is not None and place.source.gateway_api:
        return routes
    services = everywhere(client, "VirtualService", {place.namespace, place.destination.namespace} - {""})
    mine = owner(services, place.destination.host, place.namespace)
    return (mine, *delegates(services, mine)) if mine else routes


def _by_services(place: Place, routes: Sequence[Obj]) -> bool:
    """Whether ROUTES, which PLACE's calls go by, are HTTPRoutes: these send to Services and know no subsets."""
    at_gateway = place.source is not None and place.source.gateway_api
    return at_gateway or any(one["kind"] == "HTTPRoute" for one in routes)


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


def _labels(place: Place, name: str, known: Mapping[str, Mapping[str, str]], word: str) -> Mapping[str, str]:
    """The labels of the pods of the WORD NAME, of those KNOWN; raises NotFound."""
    if name in known:
        return known[name]
    there, listed = place.destination, ", ".join(sorted(known)) or "none"
    if word == "Service":
        raise NotFound(
            f"no Service {name} with port {there.port} beside {there.service}, whose HTTPRoute sends to Services and "
            f"to no subsets: there are {listed}"
        )
    raise NotFound(f"no subset {name} of {there.service}: its DestinationRules have {listed}")


def _versions(
    client: Client, place: Place, names: Iterable[str], known: Mapping[str, Mapping[str, str]], word: str
) -> dict[str, frozenset[str]]:
    """The versions of the pods that run, by each of NAMES; KNOWN: the labels of each WORD's pods."""
    there = place.destination
    pods = [pod["metadata"].get("labels") or {} for pod in client.list("Pod", there.namespace) if running(pod)]
    found = {}
    for name in names:
        labels = _labels(place, name, known, word)
        versions = frozenset(version_of(its) for its in pods if labels and selects(labels, its))
        if not versions:
            raise InvalidInput(f"no pod of the {word} {name} of {there.service} runs: scale it up, or leave it out")
        found[name] = versions
    return found
