"""Routes of VirtualServices at Istio's Gateways: which lead to a destination, and by which matches for whom. Pure.

A gateway has one virtual host for all VirtualServices of one host. A copy of a route of theirs, with the fault and the
marker, stands in front of it as in the mesh; it is for the place's gateways alone (`gateways` in its matches), so that
it is met by nobody in the mesh, where Istio would have it replace `sourceLabels`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.durations import seconds
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers as covers_host
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.match import NoOverlap, conjunction, covers
from chaosmesh_ext.mesh.notes import run_of
from chaosmesh_ext.mesh.owners import qualified
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.mesh.view import View

__all__ = ["Entrance", "refuse_overtaking", "timeouts"]

_NO_CONDITION: Final = ("gateways", "name", "statPrefix", "ignoreUriCase", "port", "sourceLabels", "sourceNamespace")
_EVERYTHING: Final[Sequence[Mapping[str, Any]]] = (
    {},
    {"uri": {"prefix": "/"}},
    {"uri": {"regex": ".*"}},
    {"uri": {"regex": "*"}},
)


class Entrance:
    """How routes of OWNER, a VirtualService, are for the gateways of PLACE, asked for one after the other."""

    def __init__(self, owner: Obj, place: Place) -> None:
        self._namespace = owner["metadata"]["namespace"]
        self._bound: Sequence[str] = owner.get("spec", {}).get("gateways") or ("mesh",)
        self._place = place
        self._gateways = frozenset(place.source.gateways if place.source else ())
        self._before: list[tuple[frozenset[str], Mapping[str, Any]]] = []

    def leads(self, what: str, label: str, route: Obj) -> bool:
        """Whether the requests of ROUTE go to the destination.

        Raises InvalidInput, which calls the object WHAT and the route LABEL, where some go elsewhere.
        """
        there = self._place.destination
        targets = [part.get("destination", {}) for part in route.get("route", []) if part.get("weight", 1)]
        mine = [
            fqdn(target.get("host", ""), self._namespace) == there.host
            and (target.get("port") or {}).get("number", there.port) == there.port
            for target in targets
        ]
        if any(mine) and not all(mine) and self._named(route):
            raise InvalidInput(
                f"{what}: {label} sends to {there.service} and elsewhere, and its fault would hit both: its owner "
                "gives each a route, or fault the calls behind it"
            )
        return bool(mine) and all(mine)

    def matches(
        self, route: Obj, narrow: Mapping[str, Any], label: str, reasons: list[str], *, needed: bool
    ) -> list[dict[str, Any]]:
        """What of the scope NARROW meets ROUTE, less what a match before takes already; why not else, in REASONS.

        NEEDED: False where the route takes no fault, so that a match that cannot be put together is no matter.
        """
        found: list[dict[str, Any]] = []
        for match in route.get("match") or [{}]:
            names = self._names(match)
            if not names:
                reasons.append(f"{label} is for others than {', '.join(sorted(self._gateways))}")
                continue
            try:
                both = self._both(match, narrow)
            except NoOverlap as error:
                reasons.append(f"{label}: {error}")
                continue
            except InvalidInput:
                if needed:
                    raise
                continue
            whose = frozenset(names)
            if any(whose <= others and covers(one, both) for others, one in self._before):
                reasons.append(f"{label} is never met: routes before it take all that it would")
                continue
            self._before.append((whose, both))
            found.append({**both, "gateways": names})
        return found

    def _named(self, route: Obj) -> bool:
        return any(map(self._names, route.get("match") or [{}]))

    def _names(self, match: Mapping[str, Any]) -> list[str]:
        """Of the gateways that MATCH is for those of the place, as their owner writes them."""
        named = match.get("gateways") or self._bound
        return [one for one in named if qualified(one, self._namespace) in self._gateways]

    @staticmethod
    def _both(match: Mapping[str, Any], narrow: Mapping[str, Any]) -> dict[str, Any]:
        told = [field for field in ("sourceLabels", "sourceNamespace") if match.get(field)]
        if told and "gateways" not in match:
            raise InvalidInput(
                f"the owner's match has {told[0]}, which Istio does not look at beside the gateways that ours needs"
            )
        return conjunction({key: value for key, value in match.items() if key not in told}, narrow)


def refuse_overtaking(owner: Obj, copies: Iterable[Mapping[str, Any]], view: View) -> None:
    """Raise InvalidInput where one of COPIES, routes that OWNER shall get, would go before another VirtualService's.

    A route that takes everything goes behind those of all others for its host. A copy of it with conditions does not.
    """
    meta, hosts = owner["metadata"], owner.get("spec", {}).get("hosts") or []
    everything = [
        route
        for route in owner.get("spec", {}).get("http") or []
        if not run_of(str(route.get("name", ""))) and any(map(_takes_all, route.get("match") or [{}]))
    ]
    narrowed = any(not _takes_all(match) for copy in copies for match in copy.get("match") or [{}])
    if not everything or not narrowed:
        return
    for other in view.beside:
        theirs = other["metadata"]
        if (theirs["namespace"], theirs["name"]) == (meta["namespace"], meta["name"]):
            continue
        more = other.get("spec", {}).get("hosts") or []
        if any(covers_host(one, two) or covers_host(two, one) for one in hosts for two in more):
            raise InvalidInput(
                f"VirtualService {meta['namespace']}/{meta['name']} takes every request that "
                f"{theirs['namespace']}/{theirs['name']}, of the same gateway and host, does not, and a copy of that "
                "route with conditions would go before theirs: its owner gives it a host or paths of its own"
            )


def _takes_all(match: Mapping[str, Any]) -> bool:
    return {key: value for key, value in match.items() if key not in _NO_CONDITION} in _EVERYTHING


def timeouts(place: Place, view: View) -> tuple[float, ...]:
    """Seconds after which routes of PLACE's gateways give up on its destination, each once; 0 where one never does."""
    found: set[float] = set()
    for owner in view.bound:
        entrance = Entrance(owner, place)
        for route in owner.get("spec", {}).get("http") or []:
            ours = bool(run_of(str(route.get("name", ""))))
            if not ours and entrance.matches(route, {}, "", [], needed=False) and entrance.leads("", "", route):
                found.add(seconds(route["timeout"]) if route.get("timeout") else 0.0)
    return tuple(sorted(found))
