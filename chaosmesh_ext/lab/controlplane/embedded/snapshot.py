"""The mesh as the translation sees it: services, workloads and the Istio objects that were accepted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import msgspec

from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.lab.envoy import NodeInfo
from chaosmesh_ext.lab.kube.api import Obj

__all__ = [
    "ROOT_NAMESPACE",
    "Endpoint",
    "Port",
    "Service",
    "Snapshot",
    "Workload",
    "by_age",
    "is_http2",
    "service",
    "workload",
]

ROOT_NAMESPACE = "istio-system"

_EXPORT_TO = "networking.istio.io/exportTo"
_HTTP2 = ("http2", "grpc", "h2c", "kubernetes.io/h2c")
_HTTP = ("", "http", *_HTTP2)


class Port(msgspec.Struct, frozen=True):
    """A port of a service. target: the container's port, by number or by name. http2: spoken to in HTTP/2."""

    number: int
    target: int | str
    http2: bool = False


class Endpoint(msgspec.Struct, frozen=True):
    """What a ServiceEntry says is behind it. ports: of its own, by the service's. secured: takes mutual TLS."""

    address: str
    ports: tuple[tuple[int, int], ...] = ()
    labels: Mapping[str, str] = {}
    weight: int = 1
    secured: bool = False


class Service(msgspec.Struct, frozen=True):
    """A Kubernetes Service; only its HTTP ports. others: names of ports that are none, which the lab does not serve.

    Or a host of a ServiceEntry, which has a resolution, ``STATIC`` or ``DNS``, and endpoints of its own. external: it
    is outside the mesh. exported: the `exportTo` of either, a Service's from its annotation.
    """

    name: str
    namespace: str
    host: str
    selector: Mapping[str, str]
    ports: tuple[Port, ...]
    cluster_ip: str = ""
    others: tuple[str, ...] = ()
    resolution: str = ""
    external: bool = False
    exported: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()

    def port(self, number: int) -> Port | None:
        """The port with NUMBER."""
        return next((port for port in self.ports if port.number == number), None)

    def has(self, pod: Workload) -> bool:
        """Whether POD is behind this service."""
        return pod.node.namespace == self.namespace and bool(self.selector) and selects(self.selector, pod.node.labels)


class Workload(msgspec.Struct, frozen=True):
    """A Pod. ready: takes traffic. app: the address of its application. ports: of its containers, by name or not."""

    node: NodeInfo
    ready: bool
    proxied: bool
    app: str
    ports: tuple[tuple[str, int], ...]

    @property
    def mutual_tls(self) -> bool:
        """Whether it can take mutual TLS: it has a proxy, and no label that denies it."""
        return self.node.labels.get("security.istio.io/tlsMode", "istio" if self.proxied else "") == "istio"

    @property
    def gateway(self) -> bool:
        """Whether it is an ingress gateway."""
        return self.node.kind == "router"

    def target(self, port: Port) -> int | None:
        """The container's port that PORT of a service leads to."""
        if isinstance(port.target, int):
            return port.target
        return next((number for name, number in self.ports if name == port.target), None)


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """One consistent state. Istio's objects are sorted by age, then name; EnvoyFilters as they are applied.

    accounts: by a service's whole host name, namespace and name of the service accounts of the pods behind it.
    As one proxy sees it (`scopes.scope`), services are those that it imports, routed those and the ones that it is
    routed to, every all; outbound says what becomes of hosts that it does not know.
    """

    services: tuple[Service, ...] = ()
    workloads: tuple[Workload, ...] = ()
    virtual_services: tuple[Obj, ...] = ()
    destination_rules: tuple[Obj, ...] = ()
    gateways: tuple[Obj, ...] = ()
    envoy_filters: tuple[Obj, ...] = ()
    peer_authentications: tuple[Obj, ...] = ()
    authorization_policies: tuple[Obj, ...] = ()
    request_authentications: tuple[Obj, ...] = ()
    accounts: Mapping[str, tuple[tuple[str, str], ...]] = {}
    sidecars: tuple[Obj, ...] = ()
    service_entries: tuple[Obj, ...] = ()
    routed: tuple[Service, ...] | None = None
    every: tuple[Service, ...] | None = None
    outbound: str = "REGISTRY_ONLY"

    @staticmethod
    def of(
        services: Iterable[Service],
        workloads: Iterable[Workload],
        objects: Iterable[Obj],
        before: Snapshot | None = None,
    ) -> Snapshot:
        """The state made of SERVICES, WORKLOADS and accepted Istio OBJECTS, following the one BEFORE."""
        kinds: dict[str, list[Obj]] = {}
        for obj in objects:
            kinds.setdefault(obj["kind"], []).append(obj)
        there = tuple(sorted(services, key=lambda one: one.host))
        running = tuple(sorted(workloads, key=lambda one: (one.node.namespace, one.node.name)))
        return Snapshot(
            services=there,
            workloads=running,
            accounts=_accounts(there, running, before or Snapshot()),
            virtual_services=by_age(kinds.get("VirtualService", [])),
            destination_rules=by_age(kinds.get("DestinationRule", [])),
            gateways=by_age(kinds.get("Gateway", [])),
            envoy_filters=tuple(sorted(kinds.get("EnvoyFilter", []), key=_filter_order)),
            peer_authentications=by_age(kinds.get("PeerAuthentication", [])),
            sidecars=by_age(kinds.get("Sidecar", [])),
            service_entries=by_age(kinds.get("ServiceEntry", [])),
            authorization_policies=by_age(kinds.get("AuthorizationPolicy", [])),
            request_authentications=by_age(kinds.get("RequestAuthentication", [])),
        )

    @cached_property
    def by_host(self) -> dict[str, Service]:
        """The services by their whole host name."""
        return {one.host: one for one in self.services}

    @cached_property
    def ports(self) -> tuple[int, ...]:
        """Every service port in the mesh."""
        return tuple(sorted({port.number for one in self.services for port in one.ports}))

    @property
    def destinations(self) -> tuple[Service, ...]:
        """The services that a proxy may call, by their own hosts or through a VirtualService."""
        return self.services if self.routed is None else self.routed

    def services_of(self, pod: Workload) -> list[Service]:
        """The services that POD is behind."""
        return [one for one in (self.services if self.every is None else self.every) if one.has(pod)]


def _accounts(
    services: tuple[Service, ...], workloads: tuple[Workload, ...], before: Snapshot
) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """A service without pods keeps what it had, as in istiod: a pod that restarts does not change callers' clusters."""
    if services == before.services and workloads == before.workloads:
        return before.accounts
    out = {}
    for one in services:
        found = {(pod.node.namespace, pod.node.account) for pod in workloads if one.has(pod)}
        out[one.host] = tuple(sorted(found)) or before.accounts.get(one.host, ())
    return out


def by_age(objects: Iterable[Obj]) -> tuple[Obj, ...]:
    """OBJECTS with the oldest first, as istiod orders them."""
    return tuple(sorted(objects, key=_age))


def _age(obj: Obj) -> tuple[str, str, str]:
    """How istiod orders VirtualServices and DestinationRules: age in whole seconds, then name, then namespace."""
    meta = obj["metadata"]
    return meta.get("creationTimestamp") or "", meta["name"], meta.get("namespace", "default")


def _filter_order(obj: Obj) -> tuple[int, bool, str, str]:
    """How istiod orders EnvoyFilters: priority, then the root namespace, then age in whole seconds, then both names."""
    created, name, namespace = _age(obj)
    return obj["spec"].get("priority", 0), namespace != ROOT_NAMESPACE, created, f"{name}.{namespace}"


def service(obj: Obj) -> Service:
    """The Service in a Kubernetes object."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    namespace = meta.get("namespace", "default")
    exported = (meta.get("annotations") or {}).get(_EXPORT_TO, "")
    ports, others = [], []
    for entry in spec.get("ports") or []:
        protocol = _protocol(entry)
        if protocol in _HTTP:
            target = entry.get("targetPort", entry["port"])
            ports.append(Port(number=entry["port"], target=target, http2=protocol in _HTTP2))
        else:
            others.append(f"{entry.get('name') or entry['port']} ({protocol})")
    return Service(
        name=meta["name"],
        namespace=namespace,
        host=fqdn(meta["name"], namespace),
        selector=spec.get("selector") or {},
        ports=tuple(ports),
        cluster_ip="" if spec.get("clusterIP") in (None, "None") else spec["clusterIP"],
        others=tuple(others),
        exported=tuple(word.strip() for word in exported.split(",")) if exported else (),
    )


def is_http2(protocol: str) -> bool:
    """Whether PROTOCOL, in lower case, is HTTP/2."""
    return protocol in _HTTP2


def _protocol(port: Mapping[str, Any]) -> str:
    """What Istio takes a service port to speak: its appProtocol, else the first part of its name, else a guess."""
    if port.get("protocol", "TCP") != "TCP":
        return str(port["protocol"]).lower()
    named = port.get("appProtocol") or str(port.get("name", "")).split("-")[0]
    known = named in (*_HTTP, "https", "tcp", "tls", "mongo", "mysql", "redis")
    return str(named) if known else ""


def workload(obj: Obj) -> Workload | None:
    """The Workload in a Pod, or None while it has no address."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    ip = status.get("podIP")
    if not ip:
        return None
    labels = meta.get("labels") or {}
    annotations = meta.get("annotations") or {}
    gateway = annotations.get("inject.istio.io/templates") == "gateway"
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or []}
    return Workload(
        node=NodeInfo(
            name=meta["name"],
            namespace=meta.get("namespace", "default"),
            ip=ip,
            admin=annotations.get("lab.chaosmesh-ext/outbound", ip),
            workload=annotations.get("lab.chaosmesh-ext/workload", meta["name"]),
            labels=labels,
            account=spec.get("serviceAccountName") or "default",
            kind="router" if gateway else "sidecar",
        ),
        ready=conditions.get("Ready") == "True" and not meta.get("deletionTimestamp"),
        proxied=labels.get("sidecar.istio.io/inject") != "false",
        app=annotations.get("lab.chaosmesh-ext/app", ip),
        ports=tuple(
            (port.get("name", ""), port["containerPort"])
            for container in spec.get("containers") or []
            for port in container.get("ports") or []
        ),
    )
