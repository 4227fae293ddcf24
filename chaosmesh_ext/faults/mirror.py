"""Mirror: copies of requests go to another version, or another service, and nobody waits for what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import percentage as share
from chaosmesh_ext.faults.shift import backends, targets
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.mesh import Place
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["Mirror"]

Obj = dict[str, Any]


class Mirror(msgspec.Struct, frozen=True):
    """A dark launch: copies of the requests in scope, with their headers and bodies, less the answers.

    subset: of the destination, which gets the copies; or host: another service, and then its subset or none. serving:
    the subset that answers the requests themselves meanwhile; empty for whoever does without us. percentage: of the
    requests in scope that are copied, 0–100. Raises InvalidInput for anything else.
    """

    subset: str = ""
    host: str = ""
    serving: str = ""
    percentage: float = share.EVERYBODY

    carriers: ClassVar[tuple[str, ...]] = ("virtualservice", "httproute")
    kinds: ClassVar[tuple[str, ...]] = ()
    rarely: ClassVar[bool] = True
    burst: ClassVar[int] = 1
    patience: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if not self.subset and not self.host:
            raise InvalidInput("a mirror needs somebody who gets the copies: give mirror_subset, or mirror_host")
        if self.serving and self.serving == self.subset and not self.host:
            raise InvalidInput(
                f"mirror_subset {self.subset} is the serving_subset, which would get copies of what it gets already: "
                "name another one"
            )
        share.check(self.percentage)

    @property
    def subsets(self) -> tuple[str, ...]:
        """Of the destination, those that it names."""
        return tuple(filter(None, (self.serving, "" if self.host else self.subset)))

    @property
    def idle(self) -> tuple[str, ...]:
        """None: everybody that it names gets something."""
        return ()

    @property
    def shares(self) -> Mapping[str, float]:
        """By subset, the part of the requests themselves that goes there; empty where that is as it was."""
        return {self.serving: 1.0} if self.serving else {}

    def for_route(self, route: Obj, place: Place) -> Obj:
        """ROUTE with one more mirror; its owner's stay. Istio refuses the older field beside `mirrors`."""
        theirs = list(route.get("mirrors") or ())
        if older := route.get("mirror"):
            amount = route.get("mirrorPercentage")
            if amount is None and "mirrorPercent" in route:
                amount = {"value": route["mirrorPercent"]}
            theirs.append({"destination": older, **({} if amount is None else {"percentage": amount})})
        to = fqdn(self.host, place.namespace) if self.host else place.destination.host
        aim: Obj = {"host": to, **({"subset": self.subset} if self.subset else {})}
        if not self.host and len(place.destination.ports) > 1:
            aim["port"] = {"number": place.destination.port}
        ours = {"destination": aim, "percentage": share.for_virtual_service(self.percentage)}
        found = {
            key: value for key, value in route.items() if key not in ("mirror", "mirrorPercent", "mirrorPercentage")
        }
        found["mirrors"] = [*theirs, ours]
        if self.serving:
            found["route"] = targets(route, place, {self.serving: 1})
        return found

    def for_rule(self, rule: Obj, place: Place) -> Obj:
        """RULE of an HTTPRoute with one more mirror; a subset is the name of a Service there. Its owner's stay."""
        if self.host and self.subset:
            raise InvalidInput(
                f"behind an HTTPRoute copies go to a Service: give mirror_host or mirror_subset, not {self.host} and "
                f"{self.subset}"
            )
        name, space = self.subset, place.destination.namespace
        if self.host:
            name, _, rest = self.host.partition(".")
            space, _, domain = (rest or f"{place.namespace}.svc").partition(".")
            if domain not in ("svc", "svc.cluster.local"):
                raise InvalidInput(
                    f"mirror_host {self.host}: behind an HTTPRoute copies go to a Service of this cluster: write e.g. "
                    "audit, or audit.shop.svc.cluster.local"
                )
        aim: Obj = {"group": "", "kind": "Service", "name": name, "port": place.destination.port}
        if space != place.destination.namespace:
            aim["namespace"] = space
        ours = {"type": "RequestMirror", "requestMirror": {"backendRef": aim, **share.for_gateway(self.percentage)}}
        found = {**rule, "filters": [*(rule.get("filters") or ()), ours]}
        if self.serving:
            found["backendRefs"] = backends(rule, place, {self.serving: 1})
        return found

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """No trace has a copy (istiod tells Envoy not to sample it): whoever gets copies has to be asked."""
        del span, trace
        return False

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        return Injected(
            kind="mirror",
            destination=destination,
            sources=sources,
            percentage=self.percentage,
            subset=subset,
            carrier=carrier,
            words=f"copies to {' '.join(filter(None, (self.host, self.subset)))}",
        )
