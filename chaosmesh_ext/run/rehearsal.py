"""A rehearsal: what a run would write and what it would refuse, without a write and without a request to the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError, Forbidden, InvalidInput, NotFound
from chaosmesh_ext.mesh import Client, Fault, Holding
from chaosmesh_ext.mesh.locks import Holder, lock
from chaosmesh_ext.mesh.shadow import Shadow
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.mesh.writes import CARRIED_BY
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import guard
from chaosmesh_ext.run.growing import Growing, plans_for
from chaosmesh_ext.run.keeper import refuse_halted
from chaosmesh_ext.run.proof import Proof
from chaosmesh_ext.run.run import Run, Undone

__all__ = ["Rehearsal", "Written"]

Obj = dict[str, Any]


class Written(msgspec.Struct, frozen=True):
    """An object that would be written to. before: None where it would be made. after: None where it would be gone."""

    kind: str
    namespace: str
    name: str
    before: Obj | None
    after: Obj | None

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Rehearsal(Run):
    """Stands for the run: the same refusals, the same objects; each injection sees what those before it wrote.

    namespaces: of the callers and destinations so far.
    """

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.controlled = True
        self.namespaces: set[str] = set()
        self._around: Surroundings | None = None

    @property
    def client(self) -> Client:
        """The cluster's shadow."""
        return self.shadow

    @property
    def shadow(self) -> Shadow:
        """Where the writes stay."""
        if not isinstance(self._client, Shadow):
            self._client = Shadow(self.connect())
        return self._client

    def inject(
        self,
        fault: Fault,
        scope: Scope,
        *,
        url: str = "",
        request_headers: Mapping[str, str] | None = None,
        carrier: str = "",
        prove: bool = True,
    ) -> Proof:
        """As `Run.inject`, but nothing is written and nothing proven. Raises what would be refused."""
        del url, request_headers, prove
        client = self.client
        carrier = carrier or self.settings.carrier
        if carrier not in ("auto", *mesh.CARRIERS):
            raise InvalidInput(f"carrier {carrier!r} is none: choose auto, {' or '.join(mesh.CARRIERS)}")
        place = mesh.place(client, scope, run=self.token, cell=str(len(self._cells) + 1))
        self.namespaces |= {place.namespace, place.destination.namespace} - {""}
        replaced = [cell for cell in self._live if cell.place.shares_calls_with(place)]
        around = self._around = self._around or Surroundings(client)
        guard.allow(
            client,
            place,
            fault,
            settings=self.settings,
            live=[cell.place for cell in self._live if cell not in replaced],
            carrier=carrier,
            surroundings=around,
        )
        plans = guard.allowed(plans_for(client, fault, place, carrier, replaced), place, around, self.settings)
        refuse_halted(client, self.settings.system_namespace)
        self._out(replaced)
        lock(client, place.namespace, place.destination.host, Holder(self.token, place.marker is not None))
        cell = Growing(place, fault, None)
        why: list[str] = []
        self.shadow.strict = any(client.may("create", kind, place.namespace) for kind in CARRIED_BY)
        if not self.shadow.strict:
            why.append("this account may write none of them: another one would write this")
        last: ChaosMeshError | None = None
        for name, plan in plans:
            if isinstance(plan, InvalidInput):
                why.append(f"{name}: {plan}")
                last = last or plan
                continue
            try:
                for change in plan:
                    mesh.put(client, change)
                    cell.holdings.append(Holding(self.token, *change.target, isinstance(change, mesh.Create)))
            except (Forbidden, NotFound) as error:
                why.append(f"{name}: {error}")
                last = error
                continue
            self._cells.append(cell)
            self._live.append(cell)
            return Proof(
                run=self.token,
                cell=cell.id,
                injected=fault.facts(place.destination.service, place.sources, place.subset, name),
                carrier=name,
                objects=tuple(map(str, cell.holdings)),
                by="nothing",
                live_after=None,
                traces=(),
                requests=0,
                replaces="; ".join(why),
            )
        raise last or InvalidInput("no carrier is known")

    def undo(self) -> Undone:
        """Take out what was rehearsed."""
        cells = list(self._live)
        return Undone(self._out(cells), tuple(cell.id for cell in cells))

    def close(self) -> None:
        """Nothing is to be undone."""

    def written(self, before: Mapping[tuple[str, str, str], Obj | None]) -> list[Written]:
        """What differs from BEFORE, a copy of the shadow's `written`; without Leases, which say that a run runs."""
        found = []
        for target, obj in self.shadow.written.items():
            old = before[target] if target in before else self.shadow.before[target]
            if obj != old and target[0] != "Lease":
                found.append(Written(*target, old, obj))
        return found

    def _out(self, cells: list[Growing]) -> tuple[str, ...]:
        for cell in cells:
            for holding in cell.holdings:
                mesh.take_out(self.client, holding, cell.id)
        self._live = [cell for cell in self._live if cell not in cells]
        return tuple(str(holding) for cell in cells for holding in cell.holdings)
