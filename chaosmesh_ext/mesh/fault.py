"""A fault: what it must be able to say, so that a carrier can put it in its place and a run can prove it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from chaosmesh_ext.mesh.change import Change
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.mesh.view import View
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = [
    "Divided",
    "Fault",
    "Filtered",
    "Narrowing",
    "Policy",
    "RouteChange",
    "RuleChange",
    "TrafficPolicy",
]


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
