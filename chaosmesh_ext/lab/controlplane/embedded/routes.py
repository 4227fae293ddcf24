"""Route configurations of sidecars, one for each service port and one for the HTTP proxy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chaosmesh_ext.istio.hosts import vhost
from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patch, patched
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Service, Snapshot, Workload
from chaosmesh_ext.lab.controlplane.embedded.virtualservices import default_route, owner, routes

__all__ = ["HTTP_PROXY", "outbound", "route_configuration"]

HTTP_PROXY = "http_proxy"

_BLOCK_ALL = {
    "name": "block_all",
    "domains": ["*"],
    "include_request_attempt_count": True,
    "routes": [{"name": "block_all", "match": {"prefix": "/"}, "direct_response": {"status": 502}}],
}
"""istiod's answer to unknown hosts where the registry is all there is: the lab knows no outside."""


def outbound(snapshot: Snapshot, pod: Workload, patches: tuple[Patch, ...]) -> Iterator[dict[str, Any]]:
    """Every route configuration of the sidecar of POD, in the order of the ports; the proxy's is the last."""
    proxy: list[dict[str, Any]] = []
    for port in snapshot.ports:
        hosts = [host for one in snapshot.services if (host := _virtual_host(snapshot, pod, one, port)) is not None]
        yield patched(route_configuration(str(port), [*hosts, _BLOCK_ALL]), "SIDECAR_OUTBOUND", patches, port=port)
        proxy += [_only_with_port(host, port) for host in hosts]
    yield patched(route_configuration(HTTP_PROXY, [*proxy, _BLOCK_ALL]), "SIDECAR_OUTBOUND", patches)


def route_configuration(name: str, hosts: list[dict[str, Any]]) -> dict[str, Any]:
    """A RouteConfiguration as istiod frames it: a cluster that does not exist is the request's trouble, not ours."""
    return {
        "name": name,
        "virtual_hosts": hosts,
        "validate_clusters": False,
        "max_direct_response_body_size_bytes": 1024 * 1024,
    }


def _virtual_host(snapshot: Snapshot, pod: Workload, service: Service, port: int) -> dict[str, Any] | None:
    if service.port(port) is None:
        return None
    ruler = owner(snapshot, pod.node.namespace, service.host)
    # A VirtualService none of whose routes is for this source leaves the host without a virtual host, as in istiod.
    made = [default_route(service.host, port)] if ruler is None else routes(snapshot, ruler, pod, port)
    if not made:
        return None
    return {
        "name": vhost(service.host, port),
        "domains": _domains(service, port, pod.node.namespace),
        "include_request_attempt_count": True,
        "routes": made,
    }


def _domains(service: Service, port: int, namespace: str) -> list[str]:
    """The names by which a pod of NAMESPACE may call SERVICE, each with and without the port."""
    names = [service.host]
    if service.namespace == namespace:
        names.append(service.name)
    names += [f"{service.name}.{service.namespace}.svc", f"{service.name}.{service.namespace}"]
    if service.cluster_ip:
        names.append(service.cluster_ip)
    return [domain for name in names for domain in (name, f"{name}:{port}")]


def _only_with_port(host: dict[str, Any], port: int) -> dict[str, Any]:
    """A virtual host for the proxy, where all ports meet: a name without a port means port 80."""
    if port == 80:
        return host
    return {**host, "domains": [domain for domain in host["domains"] if domain.endswith(f":{port}")]}
