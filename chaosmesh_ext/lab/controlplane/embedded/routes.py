"""Route configurations of sidecars, one for each service port and one for the HTTP proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.istio.hosts import vhost
from chaosmesh_ext.istio.selectors import covers
from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patch, patched
from chaosmesh_ext.lab.controlplane.embedded.httproutes import Place, default_route, routes
from chaosmesh_ext.lab.controlplane.embedded.scopes import ALLOW_ANY
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Service, Snapshot, Workload
from chaosmesh_ext.lab.controlplane.embedded.virtualservices import (
    hosts_of,
    most_specific,
    of_gateway_api,
    reaches,
    seen,
)
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["HTTP_PROXY", "outbound", "route_configuration"]

HTTP_PROXY = "http_proxy"

_HTTP_PORT = 80

_BLOCK_ALL = {
    "name": "block_all",
    "domains": ["*"],
    "include_request_attempt_count": True,
    "routes": [{"name": "block_all", "match": {"prefix": "/"}, "direct_response": {"status": 502}}],
}
"""istiod's answer to unknown hosts where the registry is all there is, as it is in the lab's mesh."""

_ALLOW_ANY = {
    "name": "allow_any",
    "domains": ["*"],
    "include_request_attempt_count": True,
    "routes": [
        {
            "name": "allow_any",
            "match": {"prefix": "/"},
            "route": {"cluster": "PassthroughCluster", "timeout": "0s", "max_grpc_timeout": "0s"},
        }
    ],
}
"""Its answer where a Sidecar allows them."""


class _Host(msgspec.Struct):
    """A virtual host in the making. service: None for a VirtualService's host that no service has."""

    host: str
    service: Service | None
    routes: list[dict[str, Any]]


def outbound(snapshot: Snapshot, pod: Workload, patches: tuple[Patch, ...]) -> Iterator[dict[str, Any]]:
    """Every route configuration of the sidecar of POD, in the order of the ports; the proxy's is the last."""
    rulers = seen(snapshot, pod.node.namespace)
    speakers = most_specific(rulers, snapshot.services)
    unknown = _ALLOW_ANY if snapshot.outbound == ALLOW_ANY else _BLOCK_ALL
    proxy: list[dict[str, Any]] = []
    for port in snapshot.ports:
        place = Place(snapshot, pod, port)
        made = _without_duplicates(_hosts(place, rulers, speakers), pod.node.namespace)
        hosts = [_virtual_host(one, port, domains) for one, domains in made]
        yield patched(route_configuration(str(port), [*hosts, unknown]), "SIDECAR_OUTBOUND", patches, {port})
        proxy += [_virtual_host(one, port, _with_port(domains, port)) for one, domains in made]
    yield patched(
        {**route_configuration(HTTP_PROXY, [*proxy, unknown]), "ignore_port_in_host_matching": False},
        "SIDECAR_OUTBOUND",
        patches,
    )


def route_configuration(name: str, hosts: list[dict[str, Any]]) -> dict[str, Any]:
    """A RouteConfiguration as istiod frames it: a cluster that does not exist is the request's trouble, not ours."""
    return {
        "name": name,
        "virtual_hosts": hosts,
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": 1024 * 1024,
    }


def _hosts(place: Place, rulers: list[Obj], speakers: Mapping[str, Obj]) -> Iterator[_Host]:
    """What is called on a port: what VirtualServices speak for, in their order, then the services that none speaks for.

    A VirtualService without a route for this caller speaks for nothing here: the next one for its host does, or none.
    """
    services = {one.host: one for one in place.snapshot.services if one.port(place.port) is not None}
    spoken_for = set()
    for obj in rulers:
        mine, others = _split(obj, services, speakers)
        mine = [service for service in mine if reaches(obj, service, place.pod.node.namespace)]
        if not mine and (place.port != _HTTP_PORT or of_gateway_api(obj)):
            continue
        made = routes(obj, place)
        if not made:
            continue
        yield from (_Host(host, None, made) for host in others)
        yield from (_Host(service.host, service, made) for service in mine)
        spoken_for |= {service.host for service in mine}
    for host, service in services.items():
        if host not in spoken_for:
            yield _Host(host, service, [default_route(host, place.port)])


def _split(obj: Obj, services: Mapping[str, Service], speakers: Mapping[str, Obj]) -> tuple[list[Service], list[str]]:
    """The SERVICES that OBJ is for, and its hosts that are none; a wildcard leaves those that another speaks for."""
    mine: list[Service] = []
    others: list[str] = []
    for host in hosts_of(obj):
        if not host.startswith("*"):
            found = [services[host]] if host in services else []
            matched = bool(found)
        else:
            covered = [service for service in services.values() if covers(host, service.host)]
            found = [service for service in covered if speakers.get(service.host) is obj]
            matched = bool(covered)
        mine += found
        if not matched:
            others.append(host)
    return mine, others


def _without_duplicates(hosts: Iterator[_Host], namespace: str) -> list[tuple[_Host, list[str]]]:
    """HOSTS with the domains of each, the first one taking what several would have: Envoy wants each but once."""
    found = list(hosts)
    services = {one.host for one in found if one.service is not None}
    names: set[str] = set()
    taken: set[str] = set()
    out = []
    for one in found:
        if one.host in names:
            continue
        names.add(one.host)
        # a service's short name may be the whole name of another
        domains = [one.host, *(name for name in _other_names(one.service, namespace) if name not in services)]
        domains = [domain for domain in domains if domain not in taken]
        taken.update(domains)
        if domains:
            out.append((one, domains))
    return out


def _other_names(service: Service | None, namespace: str) -> Iterator[str]:
    """By what other names a pod of NAMESPACE may call SERVICE."""
    if service is None:
        return
    yield f"{service.host}."
    if service.resolution:
        return
    if service.namespace == namespace:
        yield service.name
    yield f"{service.name}.{service.namespace}.svc"
    yield f"{service.name}.{service.namespace}"
    if service.cluster_ip:
        yield service.cluster_ip


def _virtual_host(one: _Host, port: int, domains: list[str]) -> dict[str, Any]:
    return {
        "name": vhost(one.host, port),
        "domains": domains,
        "include_request_attempt_count": True,
        "routes": one.routes,
    }


def _with_port(domains: list[str], port: int) -> list[str]:
    """DOMAINS as the proxy is asked for them, where all ports meet: a name without a port means port 80."""
    named = [f"{domain}:{port}" for domain in domains]
    return [*domains, *named] if port == _HTTP_PORT else named
