"""Which marker the applications pass on, edge by edge: measured, not assumed.

A fault shows its flag in the caller's proxy span. So a delay of one millisecond, which harms nobody, goes on every edge
at once, matched by a header that one candidate carries; requests that carry it tell by DI on which edges it arrived.
The first candidate is tracestate; the others are tried only where that is lost.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.explore.discovery import Discovered
from chaosmesh_ext.explore.reading import FEWEST
from chaosmesh_ext.explore.recipe import Request
from chaosmesh_ext.explore.splitting import portions
from chaosmesh_ext.faults import Delay
from chaosmesh_ext.model import CARRIED_BY, Answer, CarriedBy, Edge, Marker, Propagated, Scope, Skipped, Trace
from chaosmesh_ext.observe.addressed import Addressed
from chaosmesh_ext.observe.stores import store_of
from chaosmesh_ext.observe.traces import Expected, gather
from chaosmesh_ext.run.traffic import Errand, application

if TYPE_CHECKING:
    from chaosmesh_ext.mesh import Fault
    from chaosmesh_ext.run import Run

__all__ = ["Measured", "Put", "in_one_wave", "measure", "scope_of"]

_HARMLESS: Final = 0.001
"""Seconds: the shortest delay that Istio takes."""

_BATCH: Final = 4
"""Requests to each URL at once."""

_MOST: Final = 40
"""Requests to each URL for one candidate, at most, once the proxies had the time to take the delays."""

_PAUSE: Final = 0.2
"""Seconds from one batch to the next until then."""

_SETTLED: Final = 2.0
"""Seconds that proxies get to take the delays, where no call has shown yet how long they need."""

_SURE: Final = 0.5
"""Seconds that they get at least; and at most some times what those needed that took theirs."""

_TIMES: Final = 5

_VISIBLE: Final = 8.0
"""Seconds that a trace may take to become visible."""


class Put(Protocol):
    """How delays come into the mesh."""

    def __call__(self, faults: Sequence[tuple[Fault, Scope]]) -> AbstractContextManager[Marker]:
        """Put FAULTS in at once, without proof, and out at the end; the marker of requests that are to meet them.

        Raises what is refused, and what the API refuses: nothing is in then.
        """


class Measured(msgspec.Struct, frozen=True):
    """What became of markers. edges: all that are known. skipped: where it could not be measured, and why."""

    edges: tuple[Propagated, ...]
    skipped: tuple[Skipped, ...] = ()

    def carrier(self, edge: Edge) -> CarriedBy | None:
        """The header by which faults on EDGE are matched; None where none arrives, or none is known to."""
        found = next((one for one in self.edges if one.edge == edge), None)
        return next((header for header in CARRIED_BY if found and header in found.survives), None)


def measure(run: Run, found: Discovered, *, put: Put | None = None, only: Collection[Edge] | None = None) -> Measured:
    """Find out which candidates arrive on each edge of what was FOUND, by requests of RUN.

    PUT: by default all as one cell of a wave. ONLY: these edges. What a gateway calls that our requests enter by has
    what we send. Raises Unreachable where the traces cannot be read, and what PUT raises but InvalidInput.
    """
    asking = _Measurement(run, found, put or in_one_wave(run, found.requests))
    edges = [edge for edge in found.graph.edges if only is None or edge in only]
    left = [edge for edge in edges if edge not in found.gateways]
    for header in CARRIED_BY:
        if left and not (header == "end-user" and _has_end_user(found)):
            some = portions([(edge, frozenset({edge.destination})) for edge in left], run.settings.max_hosts)
            left = [edge for part in some for edge in asking.about(header, part)]
    return Measured(tuple(asking.told(one) for one in found.propagation), tuple(asking.skipped.values()))


def scope_of(edge: Edge, carried_by: CarriedBy = "tracestate") -> Scope:
    """Our marked calls on EDGE."""
    source = str(edge.source)
    return Scope(edge.destination, namespace=edge.source.namespace, source=source, carried_by=carried_by)


class _Measurement:
    """What arrived so far. skipped: by edge, why it is not known."""

    def __init__(self, run: Run, found: Discovered, put: Put) -> None:
        self._run, self._found, self._put = run, found, put
        self._store = Addressed(
            run.requests.traces or store_of(run.settings), {edge.destination for edge in found.graph.edges}
        )
        self._expected = Expected.of(found.control.traces.values())
        self._seen: dict[tuple[Edge, CarriedBy], tuple[int, int]] = {}
        self._needed = 0.0
        self.skipped: dict[Edge, Skipped] = {}

    def about(self, header: CarriedBy, edges: Sequence[Edge]) -> list[Edge]:
        """Measure HEADER on EDGES; those on which it does not always arrive."""
        try:
            self._measure(header, edges)
        except InvalidInput as refusal:  # of one of them, and nothing is in
            if len(edges) == 1:
                self.skipped[edges[0]] = Skipped(str(edges[0]), f"no fault can be put there: {refusal}")
                return []
            return [edge for one in edges for edge in self.about(header, [one])]
        return [edge for edge in edges if edge not in self.skipped and not self._arrives(edge, header)]

    def told(self, known: Propagated) -> Propagated:
        """What is known of an edge, with what was measured."""
        edge = known.edge
        if edge in self._found.gateways:
            return msgspec.structs.replace(known, marked=known.traced, survives=CARRIED_BY)
        measured = self._seen.get((edge, "tracestate"))
        if measured is None:
            return known
        traced, marked = measured
        survives = tuple(header for header in CARRIED_BY if self._arrives(edge, header))
        return Propagated(edge, known.counted, traced, marked, survives)

    def _arrives(self, edge: Edge, header: CarriedBy) -> bool:
        traced, marked = self._seen.get((edge, header), (0, 0))
        return 0 < traced == marked

    def _measure(self, header: CarriedBy, edges: Sequence[Edge]) -> None:
        """Send requests until HEADER arrived on all of EDGES, or the proxies have had the time to look for it."""
        delay = Delay(_HARMLESS)
        urls = sorted({site.url for edge in edges for site in self._found.graph.by_edge[edge]})
        with self._put([(delay, scope_of(edge, header)) for edge in edges]) as marker:
            written = time.time()
            until = written + (min(max(_SURE, _TIMES * self._needed), _SETTLED) if self._needed else _SETTLED)
            rounds = 0
            while rounds * _BATCH < _MOST:
                began = time.time()
                rounds += began > until
                for edge, (made, met) in self._look(urls, marker, edges, delay).items():
                    if met and not self._needed:
                        self._needed = max(began - written, 0.01)
                    if began > until or met == made:  # before, a call without it may have been too early
                        traced, marked = self._seen.get((edge, header), (0, 0))
                        self._seen[edge, header] = traced + made, marked + met
                if all(self._seen.get((edge, header), (0, 0))[0] >= FEWEST for edge in edges):
                    return
                time.sleep(max(0.0, min(began + _PAUSE, until) - time.time()))
        for edge in edges:
            if (edge, header) not in self._seen:
                self.skipped[edge] = Skipped(str(edge), f"no call of {_MOST} requests showed what marker arrives")

    def _look(
        self, urls: Sequence[str], marker: Marker, edges: Sequence[Edge], delay: Delay
    ) -> dict[Edge, tuple[int, int]]:
        """Of a few requests, by edge: calls, and how many of them met DELAY."""
        answers: list[Answer] = []
        for url in urls:
            one = self._found.requests[url]
            answers += self._run.requests.send(
                url, _BATCH, marker, headers=one.sent, method=one.method, timeout=30.0, body=one.body
            )
        traces = gather(self._store, answers, expected=self._expected, timeout=_VISIBLE).traces
        made, met = Counter[Edge](), Counter[Edge]()
        for edge, shows in _calls(traces.values(), delay):
            made[edge] += 1
            met[edge] += shows
        return {edge: (made[edge], met[edge]) for edge in edges if made[edge]}


def _calls(traces: Collection[Trace], delay: Delay) -> Iterator[tuple[Edge, bool]]:
    for trace in traces:
        for span in trace.calls():
            if span.proxy:
                yield Edge(span.workload, span.peer), delay.shows_in(span, trace)


def _has_end_user(found: Discovered) -> bool:
    """Whether requests say themselves who their end user is: that is not ours to change."""
    return any("end-user" in one.headers for one in found.requests.values())


def in_one_wave(run: Run, requests: Mapping[str, Request]) -> Put:
    """Delays as one cell of RUN, in few writes. REQUESTS: by whole URL, those that lead to the calls."""

    @contextmanager
    def put(faults: Sequence[tuple[Fault, Scope]]) -> Iterator[Marker]:
        errands = [
            Errand.to(application(run.settings, url), one.sent, one.method, body=one.body)
            for url, one in requests.items()
        ]
        wave = run.inject_wave([faults], errands=errands)
        try:
            (cell,) = wave.numbers
            yield Marker(run.token, cell, faults[-1][1].carried_by)
        finally:
            wave.undo()

    return put
