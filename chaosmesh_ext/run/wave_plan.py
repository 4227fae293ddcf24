"""The plan of a wave: where each of its faults goes, and the few writes that bring them all.

The cluster is asked once for all of them (`mesh.Snapshot`), and each fault is laid over what those before it will have
left. What is refused for one is refused for all, and says for which cell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError, InvalidInput
from chaosmesh_ext.mesh import Client, Fault, Merged, Place, Snapshot
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import guard
from chaosmesh_ext.run.behind import refuse_led_elsewhere
from chaosmesh_ext.run.cells import Cells
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.planning import carriers_of
from chaosmesh_ext.settings import Settings

__all__ = ["Faults", "Part", "WavePlan", "hosts_of", "plan_wave", "whole"]

_PARTS: Final = 100_000
"""More than a run has cells: from here on numbers name objects for further faults of a cell."""

Faults = tuple[Fault, Scope] | Sequence[tuple[Fault, Scope]]
"""Of one cell: a fault and whose calls meet it; or several, of which the last is the one that the cell is about (with
the same fault on the same call of the caller's other versions) and those before it are what it takes to meet that.
"""


class Part(msgspec.Struct, frozen=True):
    """A fault of a cell, where it goes, and by what, by name."""

    fault: Fault
    place: Place
    carrier: str


class WavePlan(msgspec.Struct, frozen=True):
    """cells: by number, the faults of each. writes: what brings them all. replaces: preferred carriers that were not
    used, and why. carriers: by kind of object, what writes it.
    """

    cells: Mapping[str, tuple[Part, ...]]
    writes: tuple[Merged, ...]
    replaces: tuple[str, ...]
    carriers: Mapping[str, str]


def plan_wave(
    client: Client,
    wanted: Sequence[Faults],
    carrier: str,
    *,
    cells: Cells,
    settings: Settings,
    first: int,
    refused: Mapping[str, ChaosMeshError] | None = None,
) -> WavePlan:
    """What is to be done for the cells WANTED, of which the FIRST has that number, in the run of CELLS.

    CARRIER by name, or auto. REFUSED: carriers that the cluster does not take, and what it said. Nothing is written.
    Raises what is refused, naming the cell: InvalidInput, and what the API refuses.
    """
    if not wanted:
        raise InvalidInput("a wave without cells: give at least one fault and its scope")
    live = [cell for cell in cells.live if int(cell.id) < first]
    planner = _Planner(Snapshot(client), carrier, cells.run, live, settings, refused or {})
    for number, faults in enumerate(wanted, first):
        several = (
            [faults] if isinstance(faults, tuple) and len(faults) == 2 and isinstance(faults[1], Scope) else faults
        )
        for fault, scope in several:
            with _named(number, scope):
                planner.add(str(number), fault, scope)
    return planner.planned()


class _Planner:
    def __init__(
        self,
        snapshot: Snapshot,
        carrier: str,
        run: str,
        live: Sequence[Growing],
        settings: Settings,
        refused: Mapping[str, ChaosMeshError],
    ) -> None:
        self._snapshot, self._around = snapshot, Surroundings(snapshot)
        self._carrier, self._run, self._settings, self._refused = carrier, run, settings, refused
        self._live = live
        self._parts: dict[str, list[Part]] = {}
        self._places: list[Place] = []
        self._changes: list[tuple[str, mesh.Change]] = []
        self._carriers: dict[str, str] = {}
        self._replaces: dict[str, None] = {}

    def planned(self) -> WavePlan:
        parts = {cell: tuple(found) for cell, found in self._parts.items()}
        return WavePlan(parts, tuple(mesh.merge(self._changes)), tuple(self._replaces), self._carriers)

    def add(self, cell: str, fault: Fault, scope: Scope) -> None:
        """Plan FAULT, one of CELL's."""
        if not isinstance(fault, mesh.Filtered):
            raise InvalidInput(
                f"{type(fault).__name__} cannot be in a wave, which has delays and aborts: inject it alone"
            )
        if scope.requests != "marked":
            raise InvalidInput(
                f"requests: {scope.requests} cannot be in a wave, whose faults are told apart by the markers of their "
                "requests: take requests: marked, or inject it alone"
            )
        place = mesh.place(self._snapshot, scope, run=self._run, cell=cell)
        for other in self._in_the_way(fault, place):
            raise InvalidInput(
                f"the cell {other.cell} has a fault on these calls: put it into another wave, or undo that"
            )
        guard.allow(
            self._snapshot,
            place,
            fault,
            settings=self._settings,
            live=[*(cell.place for cell in self._live), *self._places],
            carrier=self._carrier,
            surroundings=self._around,
        )
        carrier, changes = self._choose(fault, place)
        part = len(self._parts.get(cell, ()))
        for change in (_named_apart(change, place, part) for change in changes):
            self._snapshot.put(change)
            self._changes.append((cell, change))
            self._carriers[change.target[0]] = carrier
        self._places.append(place)
        self._parts.setdefault(cell, []).append(Part(fault, place, carrier))

    def _in_the_way(self, fault: Fault, place: Place) -> Iterator[Place]:
        """Whose calls some of PLACE are. A fault at the callee's side stands beside what callers' sidecars do."""
        for cell in self._live:
            if cell.stands_where(fault, place, self._carrier) or (
                self._carrier != mesh.INBOUND and cell.place.shares_calls_with(place)
            ):
                yield cell.place
        yield from (other for other in self._places if other.shares_calls_with(place))

    def _choose(self, fault: Fault, place: Place) -> tuple[str, Sequence[mesh.Change]]:
        view = mesh.view(self._snapshot, place, fault.kinds)
        if self._carrier == mesh.INBOUND:
            refuse_led_elsewhere(self._snapshot, place, view)
        why: list[str] = []
        first: ChaosMeshError | None = None
        for name in carriers_of(fault, place, view) if self._carrier == "auto" else (self._carrier,):
            try:
                if name in self._refused:
                    raise self._refused[name]
                found = mesh.CARRIERS[name](fault, place, view)
                ((_, plan),) = guard.allowed([(name, found)], place, self._around, self._settings)
            except ChaosMeshError as error:
                why.append(f"{name}: {error}")
                first = first or error
                continue
            assert not isinstance(plan, InvalidInput)  # noqa: S101
            self._replaces.update(dict.fromkeys(why))
            return name, plan
        raise first or InvalidInput("no carrier is known")


def _named_apart(change: mesh.Change, place: Place, part: int) -> mesh.Change:
    """CHANGE with a name of its own for an object that a further PART of a cell makes, from 1."""
    if not isinstance(change, mesh.Create) or not part:
        return change
    name = f"chaos-{place.run}-{part * _PARTS + int(place.cell)}"
    return mesh.Create({**change.obj, "metadata": {**change.obj["metadata"], "name": name}})


def whole(parts: Sequence[Part]) -> Place:
    """Where the fault is that a cell of PARTS is about: with several versions of its caller, the place of all."""
    last = parts[-1]
    source = last.place.source
    if source is None:
        return last.place
    names = {(one.namespace, one.service) for one in source.workloads}
    same = [
        part.place.source
        for part in parts
        if part.place.source is not None
        and (part.fault, part.place.destination, part.place.match)
        == (last.fault, last.place.destination, last.place.match)
        and names == {(one.namespace, one.service) for one in part.place.source.workloads}
    ]
    if len(same) == 1:
        return last.place
    labels = dict(set.intersection(*(set(one.labels.items()) for one in same)))
    workloads = tuple(sorted({workload for one in same for workload in one.workloads}))
    every = msgspec.structs.replace(source, name=workloads[0].service, labels=labels, workloads=workloads)
    return msgspec.structs.replace(last.place, source=every)


@contextmanager
def _named(number: int, scope: Scope) -> Iterator[None]:
    """Let an error say which cell it is about."""
    try:
        yield
    except ChaosMeshError as error:
        who = scope.source or scope.gateway or "every caller"
        error.args = (f"cell {number} ({who} → {scope.host}): {error.args[0] if error.args else ''}", *error.args[1:])
        raise


def hosts_of(plan: WavePlan) -> Collection[Place]:
    """A place for each host and namespace of callers in PLAN."""
    found = {(part.place.namespace, part.place.destination.host): part.place for c in plan.cells.values() for part in c}
    return found.values()
