"""How a wave is begun: planned, seen to be healthy, written as a whole or not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from chaosmesh_ext.errors import ChaosMeshError, Forbidden, NotFound, NotProven
from chaosmesh_ext.mesh import Client, Place
from chaosmesh_ext.model import CONTROL, Answer, Edge, Marker, Workload
from chaosmesh_ext.observe.addressed import Addressed
from chaosmesh_ext.observe.held import Held
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.reach import target
from chaosmesh_ext.observe.traces import Expected, Free, gather_all
from chaosmesh_ext.run.cells import Cells, Undone
from chaosmesh_ext.run.evidence import Watched, elsewhere
from chaosmesh_ext.run.growing import Growing, put
from chaosmesh_ext.run.healthy import refuse_deaf, refuse_faulted
from chaosmesh_ext.run.hunt import LATEST
from chaosmesh_ext.run.opened import Opened
from chaosmesh_ext.run.planning import known
from chaosmesh_ext.run.provers import shows_by
from chaosmesh_ext.run.removal import remove
from chaosmesh_ext.run.requests import Requests
from chaosmesh_ext.run.traffic import Errand, application
from chaosmesh_ext.run.wave import Wave
from chaosmesh_ext.run.wave_plan import Faults, Part, WavePlan, hosts_of, plan_wave, whole
from chaosmesh_ext.run.wave_traces import WaveTraces
from chaosmesh_ext.settings import Settings

__all__ = ["start_wave"]

_logger = logging.getLogger("chaostoolkit")

_CONTROLS = 3
"""Control requests to each URL, less those that the run has sent there already."""


def start_wave(
    wanted: Sequence[Faults],
    carrier: str,
    errands: Sequence[Errand],
    *,
    client: Client,
    cells: Cells,
    requests: Requests,
    settings: Settings,
    open_run: Callable[[Place], Opened],
    refuse: Callable[[str], None],
    stopped: Callable[[], bool],
    undo: Callable[[Sequence[Growing]], Undone],
) -> Wave:
    """See `Run.inject_wave`. REFUSE raises, and says what follows, when the run was stopped or all runs were halted."""
    carrier, first = known(carrier or settings.carrier), len(cells.every) + 1
    plan = plan_wave(client, wanted, carrier, cells=cells, settings=settings, first=first)
    refuse("nothing is injected any more")
    errands = errands or [Errand.to(application(settings, ""), {})]
    parts = [part for several in plan.cells.values() for part in several]
    beside = [Watched.of(place) for place in cells.meeting(())]
    store = Addressed(requests.store(), {part.place.destination.service for part in parts})
    control, expected, foreign = _healthy(store, requests, errands, parts, cells.run)
    opened = open_run(parts[0].place)
    for place in hosts_of(plan):
        opened.lock(client, place)
    grown = [Growing(whole(several), several[-1].fault, None) for several in plan.cells.values()]
    for cell in grown:
        cells.add(cell)

    def roll_back(which: Sequence[Growing], error: BaseException) -> None:
        cells.roll_back(client, which, opened, error)

    def again(refused: Mapping[str, ChaosMeshError]) -> WavePlan:
        return plan_wave(client, wanted, carrier, cells=cells, settings=settings, first=first, refused=refused)

    try:
        plan = _write(client, plan, grown, cells, opened, again if carrier == "auto" else None)
        refuse(
            "the wave was removed"
        )  # once more: whoever halted between the first look and the write has not been heard yet
    except BaseException as error:
        roll_back(grown, error)
        raise
    for cell in grown:
        opened.announce(client, cell)
    words = f"{len(grown)} cells in {len(plan.writes)} objects: {', '.join(map(str, plan.writes))}"
    _logger.info("a wave of %s is written", words)
    wave = Wave(
        cells.run,
        grown,
        plan.cells,
        errands=errands,
        traces=WaveTraces(
            store, expected=expected, foreign=foreign, beside=beside, whole=requests.whole, free=_held(settings)
        ),
        traffic=requests.traffic,
        control=control,
        timeout=settings.proof_timeout,
        stopped=stopped,
        undo=undo,
        roll_back=roll_back,
    )
    wave.replaces = plan.replaces
    return wave


def _held(settings: Settings) -> Free | None:
    """What knows whose calls are held back, where there are metrics."""
    return Held(Prometheus(target(settings, "prometheus"))).free if settings.prometheus_url else None


def _healthy(
    store: Addressed, requests: Requests, errands: Sequence[Errand], parts: Sequence[Part], run: str
) -> tuple[list[Answer], dict[str, Expected], set[str]]:
    """Send control requests on ERRANDS: their answers, what their traces hold by URL, and the calls with faults of
    others.

    Raises NotProven where a call of PARTS meets a fault already, or there are no answers or no traces.
    """
    marker, futures = Marker(run, CONTROL), []
    for errand in errands:
        before = sum(answer.url == errand.url for answer in requests.control)
        futures += [(errand, requests.traffic.send(errand, marker)) for _ in range(max(1, _CONTROLS - before))]
    new: dict[int, list[Answer]] = {}
    for errand, future in futures:
        new.setdefault(id(errand), []).append(future.result())
    for errand in errands:
        refuse_deaf(new[id(errand)], errand)
    answers = [answer for several in new.values() for answer in several]
    traces = gather_all(store, [(None, answers)], expected=requests.expected, timeout=LATEST).traces
    if not traces:
        raise NotProven(
            f"the trace store has none of {len(answers)} control requests: is it this mesh's, and does the mesh trace?"
        )
    for part in parts:
        shows = shows_by(part.fault, part.place, part.carrier) or part.fault.shows_in
        refuse_faulted(list(traces.values()), Watched.of(part.place), shows)
    for errand in errands:
        mine = [traces[one.trace_id] for one in new[id(errand)] if one.trace_id in traces]
        requests.expected[errand.url] = requests.expected.get(errand.url, Expected()) | Expected.of(mine)
    requests.control += answers
    urls = {errand.url for errand in errands}
    control = [answer for answer in requests.control if answer.url in urls]
    expected = {url: requests.expected[url] for url in urls}
    # three control requests need not have passed every version: that a caller calls is known from the scope
    calls = {Edge(one, place.destination.service) for place, one in _callers(parts)}
    unseen = Expected(edges=frozenset(calls).difference(*(one.edges for one in expected.values())))
    expected = {url: one | unseen for url, one in expected.items()}
    return control, expected, set(elsewhere(traces.values(), ()))


def _callers(parts: Sequence[Part]) -> Iterator[tuple[Place, Workload]]:
    for part in parts:
        for workload in part.place.source.workloads if part.place.source else ():
            yield part.place, workload


def _write(
    client: Client,
    plan: WavePlan,
    grown: Sequence[Growing],
    cells: Cells,
    opened: Opened,
    again: Callable[[Mapping[str, ChaosMeshError]], WavePlan] | None,
) -> WavePlan:
    """Write PLAN, or, where the cluster does not take one of its carriers, what AGAIN plans without that; what was
    written. All of GROWN are in then.
    """
    by_number = {cell.id: cell for cell in grown}
    refused: dict[str, ChaosMeshError] = {}
    while True:
        for part in (part for several in plan.cells.values() for part in several):
            cells.reaches(part.place, [("", [one.change for one in plan.writes])])
        for one in plan.writes:
            try:
                put(client, one.change, [by_number[cell] for cell in one.cells], opened.witness)
            except (Forbidden, NotFound) as error:  # not permitted, or not served: the next carrier may do
                if again is None:
                    raise
                refused[plan.carriers[one.change.target[0]]] = error
                break
        else:
            break
        remove(client, cells.run, grown, cells.namespaces, sweep=False, witness=opened.witness).check(cells.run)
        for cell in grown:
            cell.holdings.clear()
            cell.uids.clear()
            cell.leaving, cell.ended = False, 0.0
        assert again is not None  # noqa: S101
        plan = again(refused)
    for cell in grown:
        part = plan.cells[cell.id][-1]
        cell.began, cell.carrier, cell.standing = time.time(), part.carrier, True
        cell.injected = part.fault.facts(
            part.place.destination.service, cell.place.sources, part.place.subset, part.carrier
        )
    return plan
