"""Listeners' ports and route configurations of ingress gateways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from chaosmesh_ext.istio.selectors import covers, selects
from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patch, patched
from chaosmesh_ext.lab.controlplane.embedded.routes import route_configuration
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Snapshot, Workload
from chaosmesh_ext.lab.controlplane.embedded.virtualservices import gateways_of, hosts_of, routes, visible
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["Server", "ingress", "servers"]


class Server(msgspec.Struct, frozen=True):
    """One entry of a Gateway's `servers`. gateway: ``namespace/name``. port: what Envoy listens on."""

    gateway: str
    port: int
    number: int
    hosts: tuple[str, ...]

    @property
    def route_name(self) -> str:
        """What istiod calls the route configuration of its port."""
        return f"http.{self.port}"


def servers(snapshot: Snapshot, pod: Workload) -> list[Server]:
    """The servers that Gateways open on POD."""
    out = []
    for obj in snapshot.gateways:
        if not selects(obj["spec"].get("selector") or {}, pod.node.labels):
            continue
        meta = obj["metadata"]
        for entry in obj["spec"]["servers"]:
            number = entry["port"]["number"]
            out.append(
                Server(
                    gateway=f"{meta['namespace']}/{meta['name']}",
                    port=_listen_port(snapshot, pod, number),
                    number=number,
                    hosts=tuple(entry["hosts"]),
                )
            )
    return out


def _listen_port(snapshot: Snapshot, pod: Workload, number: int) -> int:
    """A Gateway speaks of the port of the gateway's Service; its container listens on the target of that."""
    for service in snapshot.services_of(pod):
        port = service.port(number)
        if port is not None and (target := pod.target(port)) is not None:
            return target
    return number


def ingress(snapshot: Snapshot, pod: Workload, patches: tuple[Patch, ...]) -> Iterator[dict[str, Any]]:
    """Every route configuration of the gateway POD, one for each port."""
    by_port: dict[int, list[Server]] = {}
    for server in servers(snapshot, pod):
        by_port.setdefault(server.port, []).append(server)
    for port, mine in sorted(by_port.items()):
        made: dict[str, list[dict[str, Any]]] = {}
        for server in mine:
            for obj in snapshot.virtual_services:
                _add_routes(made, snapshot, pod, server, obj)
        hosts = [_virtual_host(host, port, entries) for host, entries in made.items()]
        # A gateway without routes answers 404.
        hosts = hosts or [{"name": f"blackhole:{port}", "domains": ["*"]}]
        configuration = {**route_configuration(mine[0].route_name, hosts), "ignore_port_in_host_matching": True}
        yield patched(configuration, "GATEWAY", patches, port=port)


def _add_routes(
    made: dict[str, list[dict[str, Any]]], snapshot: Snapshot, pod: Workload, server: Server, obj: Obj
) -> None:
    """Add the routes of a VirtualService bound to SERVER; those of several for one host follow each other by age."""
    if server.gateway not in gateways_of(obj) or visible(obj, pod.node.namespace) is None:
        return
    entries = routes(snapshot, obj, pod, server.number, server.gateway)
    if not entries:
        return
    for host in _common(server, obj):
        made.setdefault(host, []).extend(entries)


def _common(server: Server, obj: Obj) -> list[str]:
    """The hosts that both a server and a VirtualService speak for; the narrower of two that overlap."""
    out: dict[str, None] = {}
    for entry in server.hosts:
        namespace, _, offered = entry.rpartition("/")
        owner_namespace = obj["metadata"]["namespace"]
        allowed = {"": owner_namespace, "*": owner_namespace, ".": server.gateway.split("/")[0]}.get(
            namespace, namespace
        )
        if allowed != owner_namespace:
            continue
        for host in hosts_of(obj):
            if covers(offered, host):
                out[host] = None
            elif covers(host, offered):
                out[offered] = None
    return list(out)


def _virtual_host(host: str, port: int, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": f"{host}:{port}",
        "domains": [host],
        "include_request_attempt_count": True,
        "routes": list(entries),
    }
