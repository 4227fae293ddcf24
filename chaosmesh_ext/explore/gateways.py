"""What ingress gateways call: where a fault for our own requests can be put on it, and what their routes say.

A gateway's calls are requests of everybody. A fault goes into a copy of the route that its VirtualService has for the
callee, which takes requests with our marker and nobody else's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError, InvalidInput
from chaosmesh_ext.explore.discovery import Discovered
from chaosmesh_ext.faults import Delay
from chaosmesh_ext.findings.calls import calls
from chaosmesh_ext.mesh.entrance import timeouts
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.model import Cell, Edge, Scope, Skipped
from chaosmesh_ext.run import guard
from chaosmesh_ext.run.planning import carriers_of, known

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run

__all__ = ["Entrances", "entrances"]

_ANY: Final = Delay(1.0)
"""Whether a delay can be put there is whether an abort can."""


class Entrances(msgspec.Struct, frozen=True):
    """scopes: by edge of a gateway that can be faulted, our marked calls on it. timeouts: by edge, those of the routes
    that lead there, see `Injected`. barred: by edge of a gateway that cannot be faulted, why not.
    """

    scopes: Mapping[Edge, Scope] = {}
    timeouts: Mapping[Edge, tuple[float, ...]] = {}
    barred: Mapping[Edge, str] = {}

    def told(self, cell: Cell, edge: Edge) -> Cell:
        """CELL, whose fault is on EDGE, with what the gateway's routes say."""
        if cell.injected is None or edge not in self.timeouts:
            return cell
        injected = msgspec.structs.replace(cell.injected, timeouts=self.timeouts[edge])
        return msgspec.structs.replace(cell, injected=injected)

    def reasons(self, skipped: Skipped) -> Skipped:
        """SKIPPED with the reason why no fault was put there, where it is about a barred edge as a whole."""
        why = {str(edge): reason for edge, reason in self.barred.items()}
        if skipped.rule or skipped.edge not in why:
            return skipped
        return msgspec.structs.replace(skipped, reason=why[skipped.edge])


def entrances(run: Run, found: Discovered, carrier: str) -> Entrances:
    """Where a fault can be put on what the gateways in FOUND call, by CARRIER; nothing is written.

    What is refused for one edge, or cannot be read there, bars that edge.
    """
    homes = _homes(found)
    scopes: dict[Edge, Scope] = {}
    limits: dict[Edge, tuple[float, ...]] = {}
    barred: dict[Edge, str] = {}
    for edge in sorted(found.gateways):
        home = homes.get(edge) or run.settings.namespace
        name = f"{edge.source.namespace}/{edge.source.service}"
        scope = Scope(f"{edge.destination}.{home}", namespace=home, source=name)
        try:
            limits[edge] = _rehearsed(run, scope, known(carrier or run.settings.carrier))
        except ChaosMeshError as error:
            barred[edge] = f"no fault was put on what the gateway calls: {error}"
        else:
            scopes[edge] = scope
    return Entrances(scopes, limits, barred)


def _homes(found: Discovered) -> dict[Edge, str]:
    """By edge of a gateway, the namespace in which most of its calls arrived."""
    seen: dict[Edge, Counter[str]] = {}
    for call in calls(found.control):
        if call.edge in found.gateways:
            seen.setdefault(call.edge, Counter()).update(span.workload.namespace for span in call.callees)
    return {edge: count.most_common(1)[0][0] for edge, count in seen.items() if count}


def _rehearsed(run: Run, scope: Scope, carrier: str) -> tuple[float, ...]:
    """The timeouts of the gateway's routes in SCOPE. Raises what injecting a fault there would."""
    snapshot = mesh.Snapshot(run.client)
    around = Surroundings(snapshot)
    place = mesh.place(snapshot, scope, run=run.token, cell="1")
    guard.allow(snapshot, place, _ANY, settings=run.settings, carrier=carrier, surroundings=around)
    view = mesh.view(snapshot, place)
    name = carriers_of(_ANY, place, view)[0] if carrier == "auto" else carrier
    plan = mesh.CARRIERS[name](_ANY, place, view)
    guard.allowed([(name, plan)], place, around, run.settings)
    for kind, namespace, which in (change.target for change in plan):
        if not run.client.may("patch", kind, namespace, which):
            raise InvalidInput(f"this account may not patch {kind} {namespace}/{which}")
    return timeouts(place, view)
