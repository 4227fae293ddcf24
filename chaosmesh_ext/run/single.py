"""How one fault is put in: planned, its call seen to be healthy, written, and shown to be live, or rolled back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chaosmesh_ext.mesh import Client, Fault, Place
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run.acceptance import accepted
from chaosmesh_ext.run.cases import Case
from chaosmesh_ext.run.cells import Cells, Undone
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.loops import refuse_loop
from chaosmesh_ext.run.opened import Opened
from chaosmesh_ext.run.planning import known, plan
from chaosmesh_ext.run.proof import Live, Proof
from chaosmesh_ext.run.provers import prover_for
from chaosmesh_ext.run.requests import Requests
from chaosmesh_ext.settings import Settings

__all__ = ["start_fault"]


def start_fault(
    fault: Fault,
    scope: Scope,
    carrier: str,
    *,
    url: str,
    headers: Mapping[str, str],
    prove: bool,
    cases: Sequence[Case],
    client: Client,
    around: Surroundings,
    cells: Cells,
    requests: Requests,
    settings: Settings,
    open_run: Callable[[Place], Opened],
    refuse: Callable[[str], None],
    stopped: Callable[[], bool],
    undo: Callable[[Sequence[Growing]], Undone],
) -> tuple[Growing, Proof]:
    """See `Run.inject`. REFUSE raises, and says what follows, when the run was stopped, or all runs were halted."""
    carrier = known(carrier or settings.carrier)
    planned = plan(client, fault, scope, carrier, cells=cells, around=around, settings=settings)
    place, plans = planned.place, planned.plans
    refuse("nothing is injected any more")

    def taken(written: float) -> None:
        """See that every sidecar took what was written then."""
        accepted(client, cells.holdings(place.cell), place.proxies_in, written, settings.proof_timeout, stopped)

    prover = (
        prover_for(
            fault,
            place,
            url=url,
            headers=headers,
            settings=settings,
            requests=requests,
            stopped=stopped,
            carrier=carrier,
            beside=cells.meeting(planned.replaced),
            taken=taken,
            cases=cases,
        )
        if prove
        else None
    )
    undo(planned.replaced)
    if prover:
        requests.control += prover.before()
    refuse_loop(place, planned.copied, (edge for one in requests.expected.values() for edge in one.edges))
    opened = open_run(place)
    opened.lock(client, place)
    cell = Growing(place, fault, prover)
    cells.add(cell)
    try:
        cells.reaches(place, plans)
        written, name, replaces = cell.write(client, plans, opened.witness)
        cell.carrier = name
        cell.injected = fault.facts(place.destination.service, place.sources, place.subset, name)
        # once more: whoever halted between the first look and the write has not been heard yet
        refuse("the fault was removed")
        live = prover.live(written) if prover else Live("nothing", None, (), 0)
    except BaseException as error:
        cells.roll_back(client, [cell], opened, error)
        raise
    cell.proven, cell.standing = prover is not None, True
    opened.announce(client, cell)
    cell.answers += live.answers
    requests.control += live.controls
    return cell, cell.proof(live, replaces)
