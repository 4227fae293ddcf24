"""Discovery: healthy marked requests until every version and every call that they can show was seen often enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.explore.calming import calmer, restless, spacing
from chaosmesh_ext.explore.counted import counted_before, propagated
from chaosmesh_ext.explore.counters import Counters
from chaosmesh_ext.explore.entrance import Entrance, enter
from chaosmesh_ext.explore.reading import (
    FEWEST,
    Multiplicity,
    arrivals,
    at_gateways,
    entries,
    lacking,
    multiplicities,
    sick,
    sites,
)
from chaosmesh_ext.explore.recipe import Recipe, Request
from chaosmesh_ext.explore.steadiness import Steadiness
from chaosmesh_ext.findings.calls import Call, calls
from chaosmesh_ext.findings.draft import too_few
from chaosmesh_ext.model import CONTROL, Answer, Cell, Edge, Propagated, Skipped, Trace
from chaosmesh_ext.model.graph import Graph
from chaosmesh_ext.observe.addressed import called, readdressed
from chaosmesh_ext.observe.stores import store_of
from chaosmesh_ext.observe.traces import Expected, TraceSource, gather

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run

__all__ = ["MOST", "Discovered", "discover"]

MOST: Final = 40
"""Requests to one URL, at most; what they do not show, coverage tells (rules, "What decides validity" 8)."""

_FIRST: Final = 17
"""Requests to each URL at first: as many as it takes to see three versions often enough."""

_LOST: Final = (
    "the trace is lost there: {} calls are in our traces of {} that the mesh counted; does the caller pass on "
    "traceparent and, where the mesh samples few requests, x-request-id?"
)

_SILENT: Final = "calls arrive with our trace, but no span tells that {} made them: does its sidecar report spans?"

_NOBODY: Final = "calls arrive there with our trace, but no span tells who made them: do all sidecars report spans?"

_VISIBLE: Final = 8.0
"""Seconds that a trace may take to become visible: a proxy's and an SDK's default batches wait for 5 s."""


class Discovered(msgspec.Struct, frozen=True):
    """What healthy requests show.

    control: the cell "0", with what varies by itself taken out of its answers. graph: the calls that can be faulted.
    requests: by whole URL, what is sent there. gateways: edges of gateways that the requests enter by.
    multiplicities: m for each set of versions. crowded: requests that came at once before, where calls failed that do
    not fail one at a time; else none. steadiness: what of answers cannot be compared. propagation: for each
    edge how often it is in traces, and in the mesh's metrics; those that are in metrics alone are not in the graph.
    notes: one line each. skipped: what cannot be explored, and why.
    """

    control: Cell
    graph: Graph
    requests: Mapping[str, Request]
    gateways: frozenset[Edge] = frozenset()
    multiplicities: tuple[Multiplicity, ...] = ()
    steadiness: Steadiness = Steadiness()
    propagation: tuple[Propagated, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    crowded: Cell = Cell(CONTROL, None, (), {})


def discover(run: Run, recipe: Recipe, *, most: int = MOST, patience: float = _VISIBLE) -> Discovered:
    """Send control requests of RUN as RECIPE says, and learn from their traces what calls what.

    most: requests to one URL. patience: seconds that a trace may take to become visible. Raises InvalidInput for a URL
    without origin, and Inconclusive (Unreachable too) where nothing can be learnt: no entry answers well, the mesh or
    its traces are not there, every answer is a failure.
    """
    store = run.requests.traces or store_of(run.settings)
    store.many(["1".zfill(32)])  # that it is down is said before anything is sent
    before, notes = counted_before(run.settings)
    search = _Search(run, store, enter(run, recipe), most, patience)
    search.go()
    return search.discovered(before, notes)


class _Search:
    """Requests and their traces, by whole URL."""

    def __init__(self, run: Run, store: TraceSource, entrance: Entrance, most: int, patience: float) -> None:
        self._run, self._store, self._entrance = run, store, entrance
        self._most, self._patience = most, patience
        self._answers: dict[str, list[Answer]] = {look.url: [look.answer] for look in entrance.looks}
        self._requests = {look.url: look.request for look in entrance.looks}
        self._traces: dict[str, Trace] = {}
        self._skipped = [Skipped("*", reason) for reason in entrance.refused.values()]
        self._notes: list[str] = []
        self._asked_calmly, self._hasty = False, Cell(CONTROL, None, (), {})

    # --- until it is enough -------------------------------------------------------------------------------------------

    def go(self) -> None:
        """Send until enough was seen. Raises Inconclusive where nothing can be learnt."""
        more = dict.fromkeys(self._answers, _FIRST - 1)
        while more:
            for url, count in more.items():
                self._send(url, min(count, self._most - len(self._answers[url])))
            self._gather()
            self._ask_calmly()
            self._drop_failing()
            self._refuse_untraced()
            more = {
                url: count
                for url, answers in self._answers.items()
                if len(answers) < self._most and (count := lacking(self._of(url)))
            }

    def _ask_calmly(self) -> None:
        """Ask again one at a time, once, where healthy requests fail at times; see `calming`."""
        if self._asked_calmly or not (bad := restless(hasty := self._cell())):
            return
        self._asked_calmly, before = True, self._answers
        self._answers = {url: [] for url in before}
        for url in [url for url, answers in before.items() for _ in answers[:_FIRST]]:
            self._send(url, 1)
        self._gather()
        if not calmer(hasty, calm := self._cell()):
            self._answers = {url: [*answers, *self._answers[url]] for url, answers in before.items()}
            return
        self._hasty, apart = hasty, spacing(calm)
        self._run.requests.calm(apart, {one.trace_id for one in hasty.answers})
        self._notes.append(
            f"calls failed in {bad} of {len(hasty.answers)} healthy requests that came at once, in {restless(calm)} of "
            f"{len(calm.answers)} one at a time: those are not counted, and requests begin {apart:.2g} s apart"
        )

    def _cell(self) -> Cell:
        answers = tuple(answer for each in self._answers.values() for answer in each)
        return Cell(CONTROL, None, answers, {each: self._traces[each] for each in self._ids(answers)})

    def _ids(self, answers: Sequence[Answer]) -> list[str]:
        return [one.trace_id for one in answers if one.trace_id in self._traces]

    def _send(self, url: str, count: int) -> None:
        if count > 0:
            one = self._requests[url]
            sent = self._run.send(url, count, headers=one.sent, method=one.method, body=one.body, control=True)
            self._answers[url] += sent

    def _gather(self) -> None:
        new = [
            answer for answers in self._answers.values() for answer in answers if answer.trace_id not in self._traces
        ]
        expected = Expected.of(self._traces.values()) if self._traces else None
        found = dict(gather(self._store, new, expected=expected, timeout=self._patience).traces)
        # what they hold together says which of them is not whole: spans of one may come later than those of others
        expected = Expected.of((*self._traces.values(), *found.values()))
        found |= gather(self._store, new, expected=expected, timeout=self._patience).traces if found else {}
        addressed = {called(span) for trace in found.values() for span in trace.calls()}
        services = {name for name in addressed if name and "." not in name}
        self._traces.update({trace_id: readdressed(trace, services) for trace_id, trace in found.items()})
        for url in self._answers:
            self._run.requests.expected[url] = Expected.of(self._of(url))

    def _of(self, url: str) -> list[Trace]:
        return [self._traces[one.trace_id] for one in self._answers[url] if one.trace_id in self._traces]

    # --- what makes it pointless --------------------------------------------------------------------------------------

    def _drop_failing(self) -> None:
        """Leave out the URLs that fail already. Raises Inconclusive where all do."""
        for url, answers in list(self._answers.items()):
            bad = [answer for answer in answers if not 0 < answer.status < 400 or answer.error]
            if 2 * len(bad) < len(answers):
                continue
            (status, error), _ = Counter((answer.status, answer.error) for answer in bad).most_common(1)[0]
            said = f"{status or 'not at all'} ({error})" if error else str(status)
            next_ = {401: "give credentials in a recipe", 403: "give credentials in a recipe", 404: "is the URL right?"}
            reason = (
                f"{url} fails already: {len(bad)} of {len(answers)} healthy requests were answered {said}; "
                f"{next_.get(status, 'mend that first: what a fault does could not be told from it')}"
            )
            self._skipped.append(Skipped("*", reason))
            del self._answers[url]
            if not self._answers:
                raise Inconclusive("; ".join(one.reason for one in self._skipped))

    def _refuse_untraced(self) -> None:
        """Raise Inconclusive where the store has no traces of our requests, or lacks too many."""
        every = [answer.trace_id for answers in self._answers.values() for answer in answers]
        have = sum(trace_id in self._traces for trace_id in every)
        if 4 * have >= 3 * len(every):
            return
        urls = ", ".join(self._answers)
        if have:
            raise Inconclusive(
                f"{self._store.name} at {self._store.url} has only {have} of {len(every)} traces of marked requests to "
                f"{urls}, and parts would mislead: are all sidecars told to report spans, and is the store whole?"
            )
        if cached := list(self._cached()):
            raise Inconclusive("; ".join(cached))
        if not any(look.proxied for look in self._entrance.looks):
            raise Inconclusive(
                f"{urls} is not in a mesh: no Envoy said that it passed the answers on, and {self._store.name} at "
                f"{self._store.url} has none of {len(every)} traces; give the URL of a gateway, or of a pod in the mesh"
            )
        raise Inconclusive(
            f"{self._store.name} at {self._store.url} has no trace of {len(every)} marked requests to {urls}, though "
            "an Envoy passed them on: is it this mesh's store, is tracing configured (a Telemetry with a provider, and "
            "no disableSpanReporting), and is the mesh's sampling.client above 0?"
        )

    # --- what was seen ------------------------------------------------------------------------------------------------

    def discovered(self, before: Counters | None, notes: Sequence[str]) -> Discovered:
        """What it comes to. BEFORE: the mesh's counters before the first request; NOTES: on them."""
        control = self._cell()
        answers, traces, hasty = control.answers, control.traces, self._hasty
        if not any(span.proxy for trace in traces.values() for span in trace.spans):
            raise Inconclusive(
                f"{', '.join(self._answers)} is not in a mesh: all spans of its traces are its applications' own, and "
                "none is a sidecar's; see to the sidecars first (`chaos mesh check`)"
            )
        made = list(calls(control))
        every, counted = {**traces, **hasty.traces}, [*made, *calls(hasty)]  # metrics count them all
        arrived = arrivals(every.values())
        over = max(one.started + one.duration for one in answers)
        propagation, more = propagated(before, counted, arrived, every.values(), over=over)
        seen = Counter(call.edge for call in counted)
        ill = {
            one.edge: _LOST.format(one.traced, one.counted) if one.orphaned else _SILENT.format(one.edge.source)
            for one in propagation
            if one.orphaned or 2 * seen[one.edge] < one.traced
        } | sick(made)
        well = [call for call in made if call.edge not in ill]
        urls = {answer.trace_id: answer.url for answer in answers}
        steadiness = Steadiness.of(control)
        graph = Graph.of(sites(well, traces, urls), entries(traces.values()))
        if not made:
            more.append(f"no call that could be faulted was seen behind {', '.join(self._answers)}")
        return Discovered(
            control=steadiness.control(control),
            crowded=hasty,
            graph=graph,
            requests={url: self._requests[url] for url in self._answers},
            gateways=at_gateways(well),
            multiplicities=tuple(multiplicities(well, traces, urls)),
            steadiness=steadiness,
            propagation=propagation,
            notes=(*self._entrance.notes, *self._notes, *self._cached(), *steadiness.notes(), *notes, *more),
            skipped=tuple(
                dict.fromkeys(
                    (
                        *self._skipped,
                        *(Skipped(str(edge), reason) for edge, reason in ill.items()),
                        *self._rarely(well, arrived, len(answers), len(answers) - len(traces)),
                    )
                )
            ),
        )

    def _cached(self) -> Iterator[str]:
        """One line for each URL that caches answered."""
        for url, answers in self._answers.items():
            if given := [answer.cache for answer in answers if answer.cache]:
                yield (
                    f"a cache answered {len(given)} of {len(answers)} healthy requests to {url} ({given[0]}): what it "
                    "gives says nothing of the application, and no way around it is invented; if yours obeys a header, "
                    "give that in a recipe"
                )

    def _rarely(self, made: Sequence[Call], arrived: Counter[str], sent: int, untraced: int) -> Iterator[Skipped]:
        """What was seen too rarely although as many requests were sent as may be."""
        for edge, count in sorted(Counter(call.edge for call in made).items()):
            if count < FEWEST:
                seen = f"{count} calls" if count > 1 else "one call"
                yield too_few(edge, f"{seen} in {sent} healthy requests, {FEWEST} are needed", "")
        for url in self._answers:
            if lacking(self._of(url)):
                yield Skipped("*", f"{url}: {sent} healthy requests may not have shown every version and every call")
        for service, count in sorted(arrived.items()):
            if count > 0:
                yield Skipped(f"* → {service}", f"{count} {_NOBODY}")
        if untraced:
            yield Skipped("*", f"the trace store lacks the traces of {untraced} of {sent} healthy requests")
