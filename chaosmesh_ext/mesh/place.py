"""A place: a scope, resolved against the cluster; and what a fault must be able to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec

from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.ledger import Undone, runs_in, undo
from chaosmesh_ext.mesh.pointer import Op, apply
from chaosmesh_ext.model import Injected, Marker, Span, Trace, Workload

__all__ = [
    "Change",
    "Create",
    "Destination",
    "Divided",
    "Edit",
    "Fault",
    "Filtered",
    "Narrowing",
    "Place",
    "Policy",
    "RouteChange",
    "RuleChange",
    "Source",
    "TrafficPolicy",
    "View",
    "overlap",
]


def overlap(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether a pod could bear both sets of labels."""
    return selects({key: value for key, value in one.items() if key in other}, other)


class Fault(Protocol):
    """A fault; implemented in `chaosmesh_ext.faults`, one file each. What it is made of, one of the classes below says.

    carriers: by name, what can carry it, in the order of preference. kinds: of the others' objects that it looks at
    (`View.others`). rarely: requests need not meet it though it is there: it takes a slow callee, a failing or a busy
    one.
    """

    carriers: ClassVar[tuple[str, ...]]
    kinds: ClassVar[tuple[str, ...]]
    rarely: ClassVar[bool]

    @property
    def burst(self) -> int:
        """How many requests at once it takes to meet it: at least 1."""

    @property
    def percentage(self) -> float:
        """Of the requests in scope, 0–100."""

    @property
    def patience(self) -> float:
        """Seconds that a request may take on top of its healthy duration."""

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether the call SPAN, a CLIENT span of TRACE, met this fault."""

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""


@runtime_checkable
class Filtered(Fault, Protocol):
    """A fault of Envoy's fault filter."""

    def for_virtual_service(self) -> dict[str, Any]:
        """Istio's HTTPFaultInjection."""

    def for_envoy(self) -> dict[str, Any]:
        """Envoy's HTTPFault, without its conditions."""


@runtime_checkable
class RouteChange(Fault, Protocol):
    """Another way for the requests of a route."""

    def for_route(self, route: Obj, place: Place) -> Obj:
        """ROUTE, an HTTPRoute of a VirtualService, as those requests shall have it that are in PLACE.

        Its name and its match are not touched. Raises InvalidInput where this route cannot be changed so.
        """


@runtime_checkable
class RuleChange(RouteChange, Protocol):
    """One that can also be said of a rule of Gateway API's HTTPRoute."""

    def for_rule(self, rule: Obj, place: Place) -> Obj:
        """RULE as those requests shall have it that are in PLACE, with each default that the API server would fill in.

        Its name and its matches are not touched. Raises InvalidInput where an HTTPRoute cannot say it.
        """


@runtime_checkable
class Divided(RouteChange, Protocol):
    """One that names subsets of the destination, and may divide the requests among them."""

    @property
    def subsets(self) -> tuple[str, ...]:
        """Those that get something: they must be there, with a pod that runs."""

    @property
    def idle(self) -> tuple[str, ...]:
        """Those that get nothing: they must be there, but nobody of theirs need run."""

    @property
    def shares(self) -> Mapping[str, float]:
        """By subset, the part of the requests that goes there, all together 1; empty where it says nothing of that."""


@runtime_checkable
class Narrowing(Fault, Protocol):
    """Fewer requests for the owner's routes; see `mesh.narrowing`."""

    @property
    def keep(self) -> Sequence[Mapping[str, Any]]:
        """HTTPMatchRequests: the requests in scope that keep their route."""


@runtime_checkable
class TrafficPolicy(Fault, Protocol):
    """Another policy of callers towards a host."""

    def for_destination_rule(self) -> dict[str, Any]:
        """Istio's TrafficPolicy: the fields that it sets, each as a whole."""


@runtime_checkable
class Policy(Fault, Protocol):
    """Objects that stand by themselves."""

    def changes(self, place: Place, view: View) -> list[Change]:
        """What puts it in PLACE. Raises InvalidInput where something of somebody else's is in the way."""


class Source(msgspec.Struct, frozen=True):
    """The calling workload. labels: what selects exactly its pods. workloads: as its spans name it. gateway: namespace
    and name of the Gateway that they serve, where it is not their own calls that are meant; gateway_api: not Istio's.
    gateways: all of Istio's by which what is meant comes in; several where the pods were named, and serve them.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    workloads: tuple[Workload, ...]
    gateway: str = ""
    gateway_api: bool = False
    gateways: tuple[str, ...] = ()


class Destination(msgspec.Struct, frozen=True):
    """The host that is called. host: its whole name. ports: all of the host's; port: the one that is meant. selector:
    the labels of the pods behind it, those of the subset that is meant among them; empty for a host outside. target:
    the port at these pods, by its number or its name; 0 where it is the same. protocol: what the port is declared to
    speak, in Istio's words, e.g. ``http`` or ``grpc``; empty where Istio finds out itself.
    """

    host: str
    service: str
    namespace: str
    port: int
    ports: tuple[int, ...]
    selector: Mapping[str, str] = {}
    target: int | str = 0
    protocol: str = ""


class Place(msgspec.Struct, frozen=True):
    """Where a fault goes.

    namespace: of the callers; objects of ours are made there. source: None for every caller in the namespace.
    marker: None for everybody's requests. subset: empty for all. versions: by subset that the fault names, those of its
    pods as spans name them.
    """

    run: str
    cell: str
    namespace: str
    source: Source | None
    destination: Destination
    marker: Marker | None
    subset: str = ""
    match: Mapping[str, Any] = {}
    versions: Mapping[str, frozenset[str]] = {}

    @property
    def name(self) -> str:
        """Of an object of ours in this place."""
        return f"chaos-{self.run}-{self.cell}"

    @property
    def sent(self) -> Marker:
        """What requests of its cell carry."""
        return Marker(self.run, self.cell, self.marker.carried_by if self.marker else "tracestate")

    @property
    def at_gateway(self) -> bool:
        """Whether it is for what comes in by a gateway."""
        return self.source is not None and bool(self.source.gateway)

    @property
    def proxies_in(self) -> str:
        """The namespace of the proxies that call."""
        return self.source.namespace if self.source and self.source.gateway else self.namespace

    @property
    def scoped(self) -> bool:
        """Whether it is for some requests only."""
        return self.source is not None or self.marker is not None or bool(self.match)

    @property
    def sources(self) -> tuple[str, ...]:
        """The callers as their spans name them; empty for all."""
        return tuple(str(workload) for workload in self.source.workloads) if self.source else ()

    def shares_calls_with(self, other: Place) -> bool:
        """Whether some calls are in both places: the same host, and callers of which some may be the same."""
        mine, theirs = self.destination, other.destination
        if (mine.host, mine.port, self.namespace) != (theirs.host, theirs.port, other.namespace):
            return False
        if self.at_gateway != other.at_gateway:
            return False
        return self.source is None or other.source is None or overlap(self.source.labels, other.source.labels)

    def __str__(self) -> str:
        return f"{self.source.name if self.source else 'every caller'} → {self.destination.service}"


class View(msgspec.Struct, frozen=True):
    """What others have in the mesh for a place.

    owner: the VirtualService that istiod uses for the host and these callers, or None. http_route: the name of the
    HTTPRoute that owns the host, or empty; http_routes: all that do. filters: EnvoyFilters of the callers' namespace.
    beside: what else requests may be routed by at the place's Gateways.
    rollouts: Argo Rollouts. delegates: the VirtualServices to which the owner's routes delegate. bound: those of the
    place's Gateways that route to the host. others: objects of the kinds that the fault asked for, in the callers' and
    the destination's namespaces, or wherever they may be read.
    """

    owner: Obj | None = None
    http_route: str = ""
    http_routes: tuple[Obj, ...] = ()
    filters: tuple[Obj, ...] = ()
    rollouts: tuple[Obj, ...] = ()
    delegates: tuple[Obj, ...] = ()
    others: tuple[Obj, ...] = ()
    bound: tuple[Obj, ...] = ()
    beside: tuple[Obj, ...] = ()

    def without(self, run: str, cell: str) -> View:
        """As it will be once what a CELL of RUN put into it is out again."""
        owner = self.owner
        if owner is not None:
            undone = undo(owner, run, cell)
            owner = None if undone.delete else apply(owner, undone.ops)
        return View(
            owner,
            self.http_route,
            _without(self.http_routes, run, cell),
            _without(self.filters, run, cell),
            self.rollouts,
            self.delegates if owner else (),
            _without(self.others, run, cell),
            _without(self.bound, run, cell),
            self.beside,
        )


def _without(objs: tuple[Obj, ...], run: str, cell: str) -> tuple[Obj, ...]:
    found = []
    for obj in objs:
        undone = undo(obj, run, cell) if run in runs_in(obj) else Undone()
        if not undone.delete:
            found.append(apply(obj, undone.ops))
    return tuple(found)


class Create(msgspec.Struct, frozen=True):
    """An object of ours that shall be made."""

    obj: Obj

    @property
    def target(self) -> tuple[str, str, str]:
        """Kind, namespace and name."""
        return self.obj["kind"], self.obj["metadata"]["namespace"], self.obj["metadata"]["name"]


class Edit(msgspec.Struct, frozen=True):
    """A change to somebody's object: a pure function of its fresh state, called again after each conflict.

    stored: raises InvalidInput where what it wrote is not whole in the object as the API server would keep it.
    """

    kind: str
    namespace: str
    name: str
    compute: Callable[[Obj], list[Op]]
    stored: Callable[[Obj], None] | None = None

    @property
    def target(self) -> tuple[str, str, str]:
        """Kind, namespace and name."""
        return self.kind, self.namespace, self.name


Change = Create | Edit
