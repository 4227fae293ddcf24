"""Listeners' ports and route configurations of ingress gateways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from chaosmesh_ext.istio.hosts import vhost
from chaosmesh_ext.istio.selectors import covers, selects
from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patch, patched
from chaosmesh_ext.lab.controlplane.embedded.httproutes import Place, catches_all, routes
from chaosmesh_ext.lab.controlplane.embedded.routes import route_configuration
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Snapshot, Workload
from chaosmesh_ext.lab.controlplane.embedded.virtualservices import hosts_of, seen
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["SERVICES", "Server", "ingress", "servers"]

SERVICES = "internal.istio.io/gateway-service"
"""The annotation of a Gateway that was made of one of the Gateway API: the hosts of the Services that it is for."""


class Server(msgspec.Struct, frozen=True):
    """One entry of a Gateway's `servers`.

    gateway: ``namespace/name``. port: what Envoy listens on. number: what the Gateway calls it, the Service's port.
    """

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
        meta = obj["metadata"]
        for entry in obj["spec"]["servers"]:
            number = entry["port"]["number"]
            out += [
                Server(
                    gateway=f"{meta['namespace']}/{meta['name']}",
                    port=port,
                    number=number,
                    hosts=tuple(entry["hosts"]),
                )
                for port in _listen_ports(snapshot, pod, obj, number)
            ]
    return out


def _listen_ports(snapshot: Snapshot, pod: Workload, obj: Obj, number: int) -> list[int]:
    """Where the Gateway OBJ lets POD listen for its port NUMBER.

    One of the Gateway API is for the pods behind Services in its own namespace, and only for ports of these.
    """
    named = (obj["metadata"].get("annotations") or {}).get(SERVICES)
    if named is None:
        chosen = selects(obj["spec"].get("selector") or {}, pod.node.labels)
        return [_listen_port(snapshot, pod, number)] if chosen else []
    home, hosts = obj["metadata"]["namespace"], named.split(",")
    mine = [one for one in snapshot.services_of(pod) if one.host in hosts and one.namespace == home]
    targets = [pod.target(port) for one in mine if (port := one.port(number)) is not None]
    return sorted({target for target in targets if target is not None})


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
    for _, mine in sorted(by_port.items()):
        made: dict[str, dict[str, Any]] = {}
        for server in mine:
            place = Place(snapshot, pod, server.number, server.gateway)
            for obj in seen(snapshot, pod.node.namespace, server.gateway):
                _add_routes(made, place, server, obj)
        hosts = [{**host, "routes": _in_order(host["routes"])} for host in made.values()]
        # A gateway without routes answers 404.
        hosts = hosts or [{"name": vhost("blackhole", mine[0].number), "domains": ["*"]}]
        configuration = route_configuration(mine[0].route_name, hosts)
        yield patched(configuration, "GATEWAY", patches, {server.number for server in mine})


def _add_routes(made: dict[str, dict[str, Any]], place: Place, server: Server, obj: Obj) -> None:
    """Add the routes of a VirtualService bound to SERVER; those of several for one host follow each other."""
    hosts = _common(server, obj)
    entries = routes(obj, place) if hosts else []
    if not entries:
        return
    for host in hosts:
        if host not in made:
            made[host] = {
                "name": vhost(host, server.number),
                "domains": [host],
                "include_request_attempt_count": True,
                "routes": [],
            }
        made[host]["routes"] += entries


def _in_order(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """ENTRIES with those last that take every request: one VirtualService's must not hide another's."""
    return sorted(entries, key=lambda route: catches_all(route["match"]))


def _common(server: Server, obj: Obj) -> list[str]:
    """The hosts that both a server and a VirtualService speak for; the narrower of two that overlap."""
    out: dict[str, None] = {}
    own = obj["metadata"]["namespace"]
    for entry in server.hosts:
        namespace, _, offered = entry.rpartition("/")
        if namespace == ".":
            namespace = server.gateway.split("/")[0]
        if namespace not in ("", "*", own):
            continue
        for host in hosts_of(obj):
            if covers(offered, host):
                out[host] = None
            elif covers(host, offered):
                out[offered.lower()] = None
    return list(out)
