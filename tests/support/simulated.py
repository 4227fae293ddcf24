"""An exploration of a simulated mesh: real planning and real rules, on traces that the truth's simulator tells."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from truths.generate import generate
from truths.simulate import Simulation
from truths.story import Abort, Attempt, Delay, Fault, Served, Story
from truths.truth import paths

from chaosmesh_ext.explore.cells import kinds, wanted
from chaosmesh_ext.explore.further import further
from chaosmesh_ext.explore.plan import plan, second_order
from chaosmesh_ext.explore.reading import lacking, sites
from chaosmesh_ext.explore.waves import PlannedCell, Wave
from chaosmesh_ext.findings import judge
from chaosmesh_ext.findings.calls import calls
from chaosmesh_ext.model import (
    Answer,
    Cell,
    Edge,
    Graph,
    Injected,
    Judgement,
    Marker,
    Propagated,
    Span,
    Trace,
    Workload,
    edges_of,
)
from chaosmesh_ext.model.topology import Topology, parse_topology
from chaosmesh_ext.observe.sections import sections
from chaosmesh_ext.run.aim import Aim
from chaosmesh_ext.run.evidence import Watched, injected
from chaosmesh_ext.run.proof import MOST

__all__ = ["explored"]

Faults = Mapping[tuple[str, str], Fault]

_APART = 60.0
"""Seconds from one request to the next."""


def explored(seed: int, *, loss: float = 0.0) -> tuple[Topology, Judgement]:
    """The topology of SEED, and what an exploration of it comes to. LOSS: of the spans of faulted requests, a share."""
    mesh = _Mesh(seed, loss)
    found = _Exploration(mesh)
    return mesh.topology, found.go()


class _Mesh:
    def __init__(self, seed: int, loss: float) -> None:
        self.random = random.Random(seed)
        self.topology = parse_topology(generate(seed))
        self.urls = [f"http://gateway{path}" for path in paths(self.topology)]
        self.lost: Counter[Edge] = Counter()
        self._loss = loss
        self._sent = 0

    def request(self, url: str, faults: Faults) -> tuple[Answer, Trace]:
        """One request to URL, served by versions at random."""
        simulation = Simulation(
            self.topology,
            faults=faults,
            versions=lambda service, _before: self.random.choice(self.topology.service(service).versions).name,
            hop=self.random.uniform(0.001, 0.006),
        )
        simulation.visit(url.removeprefix("http://gateway"))
        self._sent += 1
        story = simulation.run()
        spans = _Told(f"{self._sent:032x}", self._sent * _APART, self.random).spans(
            story, self.topology.entry, url, faults
        )
        marked = {served.id for served in story.served if served.marked}
        self.lost.update(
            Edge(_workload(each.source), each.destination)
            for each in story.attempts
            if each.request in marked and not each.marked
        )
        if self._loss and faults:
            spans = [span for span in spans if self.random.random() >= self._loss]
        visit = story.visit
        body = msgspec.json.encode(visit.body) if visit.body is not None else b"Traceback"
        parts = sections(body, "application/json" if visit.body is not None else "text/plain")
        trace = Trace(f"{self._sent:032x}", tuple(sorted(spans, key=lambda span: span.start)))
        started, lasted = self._sent * _APART + visit.start, visit.end - visit.start
        return Answer(trace.trace_id, url, started, lasted + 0.01, visit.status, parts, len(body)), trace


class _Told:
    """A story as spans of sidecars; orphans of a broken propagation are in none."""

    def __init__(self, trace_id: str, zero: float, chance: random.Random) -> None:
        self._trace_id, self._zero, self._random = trace_id, zero, chance
        self._spans: list[Span] = []

    def spans(self, story: Story, entry: str, url: str, faults: Faults) -> list[Span]:
        visit = story.visit
        gateway, lasted = Workload("gateway", "latest"), visit.end - visit.start
        root = self._add("SERVER", gateway, "f" * 16, visit.start - 0.002, lasted + 0.004, url, visit.status)
        way_in = self._add("CLIENT", gateway, root, visit.start - 0.001, lasted + 0.002, url, visit.status, peer=entry)
        below = _below(story)
        names: dict[int, str] = {}
        for served in sorted(story.served, key=lambda each: each.arrived):
            if not served.marked:
                continue
            parent = way_in if served.parent is None else self._attempt(below[served.id], names, faults)
            gone = served.gone is not None
            end = served.end + self._random.uniform(0.0021, 0.004) if served.gone is None else served.gone
            names[served.id] = self._add(
                "SERVER",
                _workload(served.workload),
                parent,
                served.arrived,
                end - served.arrived,
                f"http://{served.service}{served.path}",
                0 if gone else served.status,
                flags="DC" if gone else "",
            )
        arrived = {id(attempt) for attempt in below.values()}
        for attempt in story.attempts:
            if attempt.marked and id(attempt) not in arrived:
                self._attempt(attempt, names, faults)
        return self._spans

    def _attempt(self, attempt: Attempt, names: Mapping[int, str], faults: Faults) -> str:
        fault = faults.get((attempt.source, attempt.destination)) if attempt.faulted else None
        flags = ["FI" if isinstance(fault, Abort) else "DI"] if fault is not None else []
        answered = attempt.ended == "answered"
        method, path = attempt.operation.split(" ", 1)
        return self._add(
            "CLIENT",
            _workload(attempt.source),
            names[attempt.request],
            attempt.start,
            attempt.end - attempt.start + self._random.uniform(0, 0.002),
            f"http://{attempt.destination}:9080{path}",
            attempt.status if answered else 0,
            peer=attempt.destination,
            method=method,
            flags=",".join([*flags, *([] if answered else ["DC"])]),
        )

    def _add(
        self,
        kind: str,
        who: Workload,
        parent: str,
        start: float,
        lasted: float,
        url: str,
        status: int,
        *,
        peer: str = "",
        method: str = "",
        flags: str = "",
    ) -> str:
        span_id = f"{len(self._spans) + 1:016x}"
        self._spans.append(
            Span(
                trace_id=self._trace_id,
                span_id=span_id,
                parent_id=parent,
                kind=kind,
                operation="x",
                start=self._zero + start,
                duration=max(0.0, lasted),
                workload=who,
                peer=peer,
                method=method or ("GET" if kind == "SERVER" else ""),
                url=url,
                status=status,
                flags=frozenset(filter(None, flags.split(","))),
            )
        )
        return span_id


class _Exploration:
    """What `Explorer` does, wave by wave, without hidden operations: the simulator faults all of an edge."""

    def __init__(self, mesh: _Mesh) -> None:
        self._mesh = mesh
        self._cells: list[Cell] = []
        self._number = self._wave = 0

    def go(self) -> Judgement:
        self._discover()
        self._inject(plan(self._graph).waves)
        self._inject(second_order(self._graph, self._control, self._cells, delay=12.0, status=507, **self._free))
        self._inject(further(self._graph, self._cells, self._judged(), **self._free))
        return self._judged()

    @property
    def _free(self) -> dict[str, int]:
        return {"wave": self._wave, "cell": self._number + 1}

    def _judged(self) -> Judgement:
        lost = [Propagated(edge, counted) for edge, counted in self._mesh.lost.items()]
        seen = edges_of(self._control.traces.values())
        return judge(self._control, self._cells, [*(Propagated(edge, n, n, n) for edge, n in seen.items()), *lost])

    def _discover(self) -> None:
        made: dict[str, tuple[Answer, Trace]] = {}
        for url in self._mesh.urls:
            mine: list[Trace] = []
            more = 17
            while more and len(mine) < MOST:
                for _ in range(min(more, MOST - len(mine))):
                    answer, trace = self._mesh.request(url, {})
                    made[trace.trace_id] = answer, trace
                    mine.append(trace)
                more = lacking(mine)
        traces = {trace_id: trace for trace_id, (_, trace) in made.items()}
        self._control = Cell("0", None, tuple(answer for answer, _ in made.values()), traces)
        urls = {trace_id: answer.url for trace_id, (answer, _) in made.items()}
        every = [call for call in calls(self._control) if call.edge.source.service != "gateway"]
        self._graph = Graph.of(sites(every, traces, urls), [self._mesh.topology.entry])

    def _inject(self, waves: Sequence[Wave]) -> None:
        for wave in waves:
            self._wave = max(self._wave, wave.number + 1)
            for cell in wave.cells:
                self._number = max(self._number, cell.number)
                self._cells += self._met(cell)

    def _met(self, cell: PlannedCell) -> list[Cell]:
        """CELL with as many requests as a wave sends."""
        first = cell.given
        faults: dict[tuple[str, str], Fault] = {}
        for edges, delay, status in (
            *([(first.edges, first.delay, first.status)] if first else []),
            (cell.edges, cell.delay, cell.status),
        ):
            fault: Fault = Delay(delay) if delay else Abort(status)
            faults |= {(str(edge.source), edge.destination): fault for edge in edges}
        sources = tuple(str(edge.source) for edge in cell.edges)
        facts = Injected(
            "delay" if cell.delay else "abort",
            cell.edge.destination,
            sources,
            delay=cell.delay,
            status=cell.status,
            carrier="envoyfilter",
        )
        aim = Aim(
            Marker("0" * 8, str(cell.number)),
            [],
            watched=Watched(tuple(edge.source for edge in cell.edges), cell.edge.destination, "default"),
            shows=injected,
            injected=facts,
            want=wanted(cell),
            kinds=kinds(self._graph, cell),
            most=MOST * len(cell.edges),
        )
        traces: dict[str, Trace] = {}
        while aim.got < aim.want and not aim.spent:
            urls = cell.urls or self._mesh.urls
            answer, trace = self._mesh.request(urls[aim.sent % len(urls)], faults)
            traces[trace.trace_id] = trace
            aim.sent += 1
            aim.answers.append(answer)
            aim.judge(traces, (), answer.started)
        kept = [one for one in aim.answers if any(one.started >= each.started for each in aim.of("met")[:1])]
        return [
            Cell(str(cell.number), facts, tuple(kept), {one.trace_id: traces[one.trace_id] for one in kept})
        ] * bool(kept)


def _workload(name: str) -> Workload:
    service, _, version = name.rpartition("-")
    return Workload(service, version)


def _below(story: Story) -> dict[int, Attempt]:
    """By each request that was served, the attempt that it arrived by."""
    found: dict[int, Attempt] = {}
    used: set[int] = set()
    for served in sorted(story.served, key=lambda each: (each.arrived, each.id)):
        if served.parent is not None:
            by = [each for each in story.attempts if id(each) not in used and _led(each, served)]
            found[served.id] = max(by, key=lambda each: each.start)
            used.add(id(found[served.id]))
    return found


def _led(attempt: Attempt, served: Served) -> bool:
    same = (attempt.request, attempt.destination) == (served.parent, served.service)
    there = attempt.start <= served.arrived + 1e-9 and attempt.end >= served.arrived - 1e-9
    return same and there and attempt.operation.split(" ", 1)[1] == served.path
