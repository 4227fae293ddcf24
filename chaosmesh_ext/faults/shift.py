"""Shift: requests go to the versions of a service in other shares than its owner's."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, ClassVar

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.mesh import Place
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["Shift", "backends", "targets"]

Obj = dict[str, Any]


class Shift(msgspec.Struct, frozen=True):
    """The requests in scope, split over subsets of a DestinationRule.

    weights: by subset, whole numbers that say how much goes there in proportion to the others, e.g.
    ``{"v1": 15, "v2": 25, "v3": 60}``. Behind an HTTPRoute, which knows no subsets, Services stand for them. Raises
    InvalidInput for anything else, and where all are 0.
    """

    weights: Mapping[str, int]

    carriers: ClassVar[tuple[str, ...]] = ("virtualservice", "httproute")
    kinds: ClassVar[tuple[str, ...]] = ()
    rarely: ClassVar[bool] = False
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = 100.0
    patience: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.weights, Mapping) or not self.weights:
            raise InvalidInput(
                f"weights {self.weights!r} is no mapping of subsets to weights: write e.g. {{v1: 90, v2: 10}}"
            )
        for subset, weight in self.weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int) or weight < 0:
                raise InvalidInput(f"weights.{subset} {weight!r} is no whole number from 0 on: write e.g. 25")
        if not sum(self.weights.values()):
            raise InvalidInput(f"weights {dict(self.weights)} send nothing anywhere: give one subset more than 0")

    @property
    def subsets(self) -> tuple[str, ...]:
        """Those that get something."""
        return tuple(subset for subset, weight in self.weights.items() if weight)

    @property
    def idle(self) -> tuple[str, ...]:
        """Those that get nothing."""
        return tuple(subset for subset, weight in self.weights.items() if not weight)

    @property
    def shares(self) -> Mapping[str, float]:
        """By subset, the part of the requests that goes there: all together are 1."""
        whole = sum(self.weights.values())
        return {subset: weight / whole for subset, weight in self.weights.items() if weight}

    def for_route(self, route: Obj, place: Place) -> Obj:
        """ROUTE with these weights; what its owner said of a subset (headers, a port) stays."""
        return {**route, "route": targets(route, place, self.weights)}

    def for_rule(self, rule: Obj, place: Place) -> Obj:
        """RULE of an HTTPRoute with these weights, of Services; what its owner said of one (filters) stays."""
        return {**rule, "backendRefs": backends(rule, place, self.weights)}

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """One call shows nothing: it may have gone there anyway. The proof counts where calls arrive."""
        del span, trace
        return False

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        parts = ", ".join(f"{share:.0%} to {one}" for one, share in self.shares.items())
        return Injected(
            kind="shift", destination=destination, sources=sources, subset=subset, carrier=carrier, words=parts
        )


def targets(route: Obj, place: Place, weights: Mapping[str, int]) -> list[Obj]:
    """The destinations of ROUTE, to PLACE's host alone, by WEIGHTS of its subsets."""
    theirs = [part for part in route.get("route") or () if _host(part, place) == place.destination.host]
    port = next((part["destination"]["port"] for part in theirs if "port" in part["destination"]), None)
    found = []
    for subset, weight in weights.items():
        same = next((part for part in theirs if part["destination"].get("subset") == subset), None)
        part = deepcopy(same) if same else {"destination": {"host": place.destination.host, "subset": subset}}
        if port is not None:
            part["destination"].setdefault("port", deepcopy(port))
        if len(weights) > 1:
            part["weight"] = weight
        else:
            part.pop("weight", None)
        found.append(part)
    return found


def backends(rule: Obj, place: Place, weights: Mapping[str, int]) -> list[Obj]:
    """The backends of RULE, Services of PLACE's destination's namespace, by WEIGHTS of theirs."""
    theirs = {
        part["name"]: part
        for part in rule.get("backendRefs") or ()
        if (part.get("group") or "", part.get("kind", "Service")) == ("", "Service")
        and part.get("namespace", place.destination.namespace) == place.destination.namespace
    }
    ours = {"group": "", "kind": "Service", "port": place.destination.port}
    return [
        {**(deepcopy(theirs[name]) if name in theirs else {**ours, "name": name}), "weight": weight}
        for name, weight in weights.items()
    ]


def _host(part: Obj, place: Place) -> str:
    return fqdn(part.get("destination", {}).get("host", ""), place.destination.namespace)
