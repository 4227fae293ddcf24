"""What a scope means in this cluster: callers, destination, and who owns the routes between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from chaosmesh_ext.errors import Forbidden, InvalidInput, NotFound
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers, selects
from chaosmesh_ext.mesh import match as matches
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.entering import at_gateways, entering
from chaosmesh_ext.mesh.gateways import gateway, gateway_pods, is_gateway, routed_beside
from chaosmesh_ext.mesh.owners import bound, delegates, http_routes, leading, owner, visible
from chaosmesh_ext.mesh.place import Destination, Place, Source
from chaosmesh_ext.mesh.view import View
from chaosmesh_ext.model import Marker, Scope, Workload
from chaosmesh_ext.names import check_label, is_label

__all__ = ["SYSTEM_NAMESPACES", "everywhere", "place", "routes_to", "service_of", "version_of", "view"]

SYSTEM_NAMESPACES: Final = frozenset({"kube-system", "kube-public", "kube-node-lease", "istio-system"})
"""Never a target: a fault there could take the cluster, or the mesh, from under us."""

_NAMES: Final = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_REVISIONS: Final = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
_HTTP: Final = ("http", "http2", "grpc", "grpc-web", "kubernetes.io/h2c", "kubernetes.io/ws")


def place(client: Client, scope: Scope, *, run: str, cell: str) -> Place:
    """Where in the cluster SCOPE is.

    Raises NotFound for a caller, a host, a port or a subset that is not there, and InvalidInput for a system
    namespace, a gateway that serves no Gateway of Istio's, and a match that is none.
    """
    matches.check(scope.match)
    check_label("namespace", scope.namespace)
    _refuse_system(scope.namespace, scope.source)
    if scope.source and scope.gateway:
        raise InvalidInput("calls are those of a source or what comes in by a gateway: leave one of them out")
    source = _source(client, scope.source, scope.namespace) if scope.source else None
    if scope.gateway:
        source = gateway(client, scope.gateway, scope.namespace)
    destination = _destination(client, scope)
    _refuse_system(destination.namespace, destination.service)
    if scope.subset:
        labels = _subset(client, scope, destination)
        destination = msgspec.structs.replace(destination, selector={**destination.selector, **labels})
    return Place(
        run=run,
        cell=cell,
        namespace=scope.namespace,
        source=source,
        destination=destination,
        marker=None if scope.requests == "all" else Marker(run, cell * (scope.requests == "marked"), scope.carried_by),
        subset=scope.subset,
        match=dict(scope.match),
    )


def view(client: Client, place: Place, kinds: Iterable[str] = ()) -> View:
    """What others have in the mesh for PLACE, now; KINDS: of which objects besides those that routes depend on."""
    spaces = {place.namespace, place.destination.namespace} - {""}
    gateways = place.source.gateways if place.source else ()
    services = everywhere(client, "VirtualService", spaces)
    at_gateway = place.source is not None and place.source.gateway_api
    mine = None if at_gateway else owner(services, place.destination.host, place.namespace)
    routes = routes_to(client, place)
    entered = bound(services, gateways)
    led = leading(entered, place.destination.host)
    drivable = next(filter(None, (mine, *routes, *led)), None)
    return View(
        owner=mine,
        http_route="{namespace}/{name}".format_map(routes[0]["metadata"]) if routes else "",
        http_routes=routes,
        filters=tuple(_permitted(client, "EnvoyFilter", place.namespace)),
        rollouts=tuple(_rollouts(client, drivable["metadata"]["namespace"])) if drivable else (),
        delegates=delegates(services, mine) if mine else (),
        others=tuple(obj for kind in kinds for obj in _others(client, kind, spaces)),
        bound=led,
        beside=_beside(client, place, place.source, services, routes) if place.source and at_gateway else entered,
    )


def _beside(
    client: Client, place: Place, source: Source, services: Iterable[Obj], owners: Iterable[Obj]
) -> tuple[Obj, ...]:
    """What the proxies of PLACE's Gateway, its SOURCE, may route by, less the OWNERS; of all Gateways' HTTPRoutes, for
    one proxy may serve several.
    """
    spaces = {place.namespace, place.destination.namespace, place.proxies_in}
    mine = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in owners}
    routes = at_gateways(everywhere(client, "HTTPRoute", spaces))
    gateways = everywhere(client, "Gateway.networking.istio.io", spaces)
    others = (one for one in routes if (one["metadata"]["namespace"], one["metadata"]["name"]) not in mine)
    return (*others, *routed_beside(client, source, gateways, services))


def routes_to(client: Client, place: Place) -> tuple[Obj, ...]:
    """The HTTPRoutes that own PLACE's destination, at its Gateway or in the mesh."""
    there = place.destination
    if not there.namespace:
        return ()
    routes = everywhere(client, "HTTPRoute", {place.namespace, there.namespace})
    if place.source and place.source.gateway:
        return entering(routes, place) if place.source.gateway_api else ()
    return http_routes(routes, there.service, there.namespace, place.namespace, there.port)


def _others(client: Client, kind: str, spaces: Iterable[str]) -> list[Obj]:
    """Pods are many, and only those of SPACES are asked for."""
    if kind == "Pod":
        return [pod for namespace in sorted(spaces) for pod in client.list(kind, namespace)]
    return everywhere(client, kind, spaces)


def everywhere(client: Client, kind: str, namespaces: Iterable[str], *, labels: str = "") -> list[Obj]:
    """All objects of KIND with LABELS in the cluster, or, where that is not permitted, those of NAMESPACES.

    Raises Forbidden where the account may list none of them.
    """
    try:
        return client.list(kind, labels=labels)
    except Forbidden:
        if not namespaces:
            raise
        return [obj for namespace in sorted(namespaces) for obj in client.list(kind, namespace, labels=labels)]


def _rollouts(client: Client, namespace: str) -> list[Obj]:
    """Those of every namespace, for one may drive a VirtualService of another."""
    try:
        return everywhere(client, "Rollout", {namespace})
    except Forbidden:
        return []


def _permitted(client: Client, kind: str, namespace: str) -> list[Obj]:
    """Objects that only help to refuse early: an account that may not read them goes on without."""
    try:
        return client.list(kind, namespace)
    except Forbidden:
        return []


def _refuse_system(namespace: str, what: str) -> None:
    if namespace in SYSTEM_NAMESPACES:
        raise InvalidInput(
            f"{namespace} is a system namespace, where no fault is injected{f' ({what})' if what else ''}: "
            "name a workload of your own, and its namespace"
        )


# --- callers ----------------------------------------------------------------------------------------------------------


def _source(client: Client, name: str, namespace: str) -> Source:
    deployments = {obj["metadata"]["name"]: obj for obj in client.list("Deployment", namespace)}
    if name in deployments:
        template = deployments[name]["spec"]["template"].get("metadata", {})
        labels = template.get("labels", {})
        if is_gateway(template):
            return _gateway(client, name, namespace)
        _refuse_shared(name, labels, deployments)
        return Source(name, namespace, labels, (_workload(labels, name, namespace),))
    pods = client.list("Pod", namespace)
    for pod in pods:
        meta = pod["metadata"]
        app, revision = _first(meta, _NAMES), _first(meta, _REVISIONS)
        if name == f"{app[1]}-{revision[1]}":
            chosen = dict((app, revision))
        elif name == app[1]:
            chosen = dict((app,))
        else:
            continue
        if is_gateway(meta):
            return _gateway(client, name, namespace)
        same = [other["metadata"].get("labels", {}) for other in pods]
        workloads = {_workload(labels, name, namespace) for labels in same if selects(chosen, labels)}
        return Source(name, namespace, chosen, tuple(sorted(workloads)))
    if (found := gateway_pods(client, name, namespace)) is not None:
        return found
    known = sorted({*deployments, *(str(_workload(pod["metadata"].get("labels", {}), "", namespace)) for pod in pods)})
    raise NotFound(f"no workload {name} in namespace {namespace}: there are {', '.join(filter(None, known)) or 'none'}")


def _refuse_shared(name: str, labels: Mapping[str, str], deployments: Mapping[str, Obj]) -> None:
    """The labels of a Deployment's pods select them; another one's pods that bear them all would be hit as well."""
    if not labels:
        raise InvalidInput(f"the pods of {name} have no labels by which a fault could select them")
    for other, obj in deployments.items():
        theirs = obj["spec"]["template"].get("metadata", {}).get("labels", {})
        if other != name and selects(labels, theirs):
            raise InvalidInput(f"the labels of {name} also select the pods of {other}: give {name} a version label")


def _gateway(client: Client, name: str, namespace: str) -> Source:
    found = gateway_pods(client, name, namespace)
    if found is None:
        raise InvalidInput(
            f"{name} is a gateway, and no pod of {namespace} whose spans are called so runs: scale it up"
        )
    return found


def _first(meta: Mapping[str, Any], keys: Iterable[str]) -> tuple[str, str]:
    labels = meta.get("labels", {})
    return next(((key, str(labels[key])) for key in keys if key in labels), ("", ""))


def _workload(labels: Mapping[str, str], name: str, namespace: str) -> Workload:
    """As `observe.spans` names it: canonical service and revision; ``latest``, Istio's word for none, is none."""
    return Workload(service_of(labels) or name, version_of(labels), namespace)


def service_of(labels: Mapping[str, str]) -> str:
    """The service of a pod with LABELS as `observe.spans` names it; empty where they do not say it."""
    return _first({"labels": labels}, _NAMES)[1]


def version_of(labels: Mapping[str, str]) -> str:
    """The version of a pod with LABELS as `observe.spans` names it; empty for none."""
    revision = _first({"labels": labels}, _REVISIONS)[1]
    return "" if revision == "latest" else revision


# --- destination ------------------------------------------------------------------------------------------------------


def _destination(client: Client, scope: Scope) -> Destination:
    host = scope.host
    parts = host.split(".")
    if len(parts) == 1 or host.endswith(".svc.cluster.local") or parts[2:] in ([], ["svc"]):
        name, namespace = parts[0], parts[1] if len(parts) > 1 else scope.namespace
        service = client.find("Service", namespace, name) if is_label(name) and is_label(namespace) else None
        if service is not None:
            return _service(scope, service)
    entries = [one for one in everywhere(client, "ServiceEntry", {scope.namespace}) if visible(one, scope.namespace)]
    for entry in entries:
        if any(covers(known, host) for known in entry["spec"].get("hosts", [])):
            return _chosen(scope, host, host, "", entry["spec"].get("ports", []), "number")
    if host == "*" or (parts[2:] and parts[2] != "svc" and all(part == "*" or is_label(part) for part in parts)):
        outside = sorted({one for entry in entries for one in entry["spec"].get("hosts", [])})
        raise NotFound(
            f"no ServiceEntry that the namespace {scope.namespace} sees declares {host}: there are "
            f"{', '.join(outside) or 'none'}; a host outside the mesh needs one, which names it as the destination does"
        )
    known = sorted(obj["metadata"]["name"] for obj in client.list("Service", scope.namespace))
    raise NotFound(
        f"no service {host} in namespace {scope.namespace}: there are {', '.join(known) or 'none'}; "
        "another namespace's is written like ratings.shop.svc.cluster.local"
    )


def _service(scope: Scope, service: Obj) -> Destination:
    meta = service["metadata"]
    host = fqdn(meta["name"], meta["namespace"])
    spec = service.get("spec", {})
    found = _chosen(scope, host, meta["name"], meta["namespace"], spec.get("ports", []), "port")
    target = next((port.get("targetPort") for port in spec.get("ports", []) if port["port"] == found.port), None)
    return msgspec.structs.replace(found, selector=spec.get("selector") or {}, target=target or 0)


def _chosen(scope: Scope, host: str, service: str, namespace: str, ports: list[Obj], key: str) -> Destination:
    numbers = tuple(int(port[key]) for port in ports)
    possible = {int(port[key]): spoken for port in ports if (spoken := _protocol(port)) in ("", *_HTTP)}
    listed = ", ".join(map(str, possible)) or "none"
    first = next(iter(possible), 0)
    if scope.port and scope.port not in numbers:
        raise NotFound(f"{service} has no port {scope.port}: its HTTP ports are {listed}")
    if scope.port and scope.port not in possible:
        raise InvalidInput(f"port {scope.port} of {service} is not HTTP, so no HTTP fault can be injected there")
    if not scope.port and len(possible) != 1:
        why = f"has several HTTP ports ({listed}): write {service}:{first}" if possible else "has no HTTP port"
        raise InvalidInput(f"{service} {why}")
    port = scope.port or first
    return Destination(host, service, namespace, port, numbers, protocol=possible[port])


def _protocol(port: Obj) -> str:
    """As Istio decides: appProtocol, else the port's name, else nothing: it looks at the bytes, so it may be HTTP."""
    word = str(port.get("appProtocol") or port.get("protocol" if "number" in port else "", "")).lower()
    if not word:
        word = str(port.get("name", "")).lower()
        head = word.split("-", 1)[0]
        declared = ("http", "http2", "grpc", "tcp", "udp", "tls", "https", "mongo", "mysql", "redis")
        if head not in declared:
            return "udp" if str(port.get("protocol", "TCP")).upper() == "UDP" else ""
        word = head
    return word


def _subset(client: Client, scope: Scope, destination: Destination) -> Mapping[str, str]:
    """The labels of the scope's subset."""
    found: dict[str, Mapping[str, str]] = {}
    for rule in everywhere(client, "DestinationRule", {scope.namespace, destination.namespace} - {""}):
        own = rule["metadata"]["namespace"]
        host = rule.get("spec", {}).get("host", "")
        whole = host if "*" in host else fqdn(host, own)
        if visible(rule, scope.namespace) and covers(whole, destination.host):
            found.update((subset["name"], subset.get("labels", {})) for subset in rule["spec"].get("subsets", []))
    if scope.subset not in found:
        raise NotFound(
            f"no subset {scope.subset} of {destination.service}: its DestinationRules have "
            f"{', '.join(sorted(found)) or 'none'}"
        )
    return found[scope.subset]
