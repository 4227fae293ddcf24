"""A rehearsal: what a run would write and what it would refuse, without a write and without a request to the mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.mesh import NOBODY, Client, Fault
from chaosmesh_ext.mesh.locks import Holder, lock
from chaosmesh_ext.mesh.shadow import Shadow
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.mesh.writes import CARRIED_BY
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run.cases import Case
from chaosmesh_ext.run.cells import Undone
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.keeper import refuse_halted
from chaosmesh_ext.run.planning import known, plan
from chaosmesh_ext.run.proof import Proof
from chaosmesh_ext.run.run import Run

__all__ = ["Rehearsal", "Written"]

Obj = dict[str, Any]
_NOT_BY_THIS_ACCOUNT: Final = "this account may write none of them: another one would write this"


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
        cases: Sequence[Case] = (),
    ) -> Proof:
        """As `Run.inject`, but nothing is written and nothing proven. Raises what would be refused."""
        del url, request_headers, prove, cases
        client, carrier = self.client, known(carrier or self.settings.carrier)
        self._surroundings = around = self._surroundings or Surroundings(client)
        planned = plan(client, fault, scope, carrier, cells=self._cells, around=around, settings=self.settings)
        place = planned.place
        self.namespaces |= {place.namespace, place.destination.namespace} - {""}
        refuse_halted(client, self.settings.system_namespace)
        self._out(planned.replaced)
        lock(client, place.namespace, place.destination.host, Holder(self.token, place.marker is not None))
        self.shadow.strict = any(client.may("create", kind, place.namespace) for kind in CARRIED_BY)
        cell = Growing(place, fault, None)
        _, name, replaces = cell.write(client, planned.plans, NOBODY)
        self._cells.add(cell)
        if not self.shadow.strict:
            replaces = "; ".join(filter(None, [_NOT_BY_THIS_ACCOUNT, replaces]))
        return Proof(
            run=self.token,
            cell=cell.id,
            injected=fault.facts(place.destination.service, place.sources, place.subset, name),
            carrier=name,
            objects=tuple(map(str, cell.holdings)),
            by="nothing",
            replaces=replaces,
        )

    def undo(self) -> Undone:
        """Take out what was rehearsed."""
        cells = list(self._cells.live)
        return Undone(self._out(cells), tuple(cell.id for cell in cells))

    def close(self, *, hurry: bool = False) -> None:
        """Nothing is to be undone."""
        del hurry

    def written(self, before: Mapping[tuple[str, str, str], Obj | None]) -> list[Written]:
        """What differs from BEFORE, a copy of the shadow's `written`; without Leases, which say that a run runs."""
        found = []
        for target, obj in self.shadow.written.items():
            old = before[target] if target in before else self.shadow.before[target]
            if obj != old and target[0] != "Lease":
                found.append(Written(*target, old, obj))
        return found

    def _out(self, cells: Sequence[Growing]) -> tuple[str, ...]:
        for cell in cells:
            for holding in cell.holdings:
                mesh.take_out(self.client, holding, cell.id)
        self._cells.live = [cell for cell in self._cells.live if cell not in cells]
        return tuple(str(holding) for cell in cells for holding in cell.holdings)
