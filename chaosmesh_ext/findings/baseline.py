"""The baseline: what the control says of healthy calls and healthy answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from statistics import fmean, pstdev

import msgspec

from chaosmesh_ext.findings.calls import Call, calls, group
from chaosmesh_ext.findings.statistics import CLOCK, epsilon
from chaosmesh_ext.model import Answer, Cell, Edge, Span, Trace, Workload

__all__ = ["Baseline"]

Passed = dict[tuple[str, str], frozenset[str]]


class Baseline(msgspec.Struct, frozen=True, dict=True):
    """The control, read once: its calls by edge and its answers by the versions that the request passed."""

    control: Cell

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        return tuple(calls(self.control))

    @cached_property
    def served(self) -> dict[Workload, list[Span]]:
        """The server spans of each workload, those of requests beside too."""
        found: dict[Workload, list[Span]] = defaultdict(list)
        for answer in (*self.control.answers, *self.control.beside):
            if (trace := self.control.traces.get(answer.trace_id)) is not None:
                for span in trace.spans:
                    if span.kind == "SERVER" and span.proxy:
                        found[span.workload].append(span)
        return found

    @cached_property
    def _callers(self) -> dict[Edge, dict[tuple[str, str], set[str]]]:
        beside = calls(msgspec.structs.replace(self.control, answers=self.control.beside))
        found: dict[Edge, dict[tuple[str, str], set[str]]] = defaultdict(lambda: defaultdict(set))
        for call in (*self.calls, *beside):
            if call.caller is not None:
                found[call.edge][call.trace.trace_id, call.caller.span_id].add(call.operation)
        return found

    def made_for(self, edge: Edge, span: Span) -> set[str]:
        """The operations on EDGE that A called for the request that SPAN, its server span, is."""
        return self._callers[edge].get((span.trace_id, span.span_id), set()) if edge in self._callers else set()

    @cached_property
    def edges(self) -> frozenset[Edge]:
        return frozenset(call.edge for call in self.calls)

    @cached_property
    def failing(self) -> frozenset[Workload]:
        """Workloads that answer errors in the control already."""
        return frozenset(workload for workload in self.served if self.errors(workload)[0])

    def errors(self, workload: Workload) -> tuple[int, int]:
        """How many requests WORKLOAD answered with an error in the control, and of how many."""
        spans = self.served.get(workload, ())
        return sum(span.broken for span in spans), len(spans)

    def slowest(self, edge: Edge) -> float:
        """Seconds that the slowest call on EDGE took in the control; 0 where there was none."""
        return max((call.span.duration for call in self._by_edge.get(edge, ())), default=0.0)

    def works(self, edge: Edge) -> bool:
        """Whether calls on EDGE were made in the control, and most of them did not fail."""
        those = self._by_edge.get(edge, ())
        return 2 * sum(call.failed for call in those) < len(those)

    @cached_property
    def _by_operation(self) -> dict[tuple[Edge, str], list[Call]]:
        found: dict[tuple[Edge, str], list[Call]] = defaultdict(list)
        for call in self.calls:
            found[call.edge, call.operation].append(call)
        return found

    @cached_property
    def _by_edge(self) -> dict[Edge, list[Call]]:
        found: dict[Edge, list[Call]] = defaultdict(list)
        for call in self.calls:
            found[call.edge].append(call)
        return found

    def healthy(self, edge: Edge, operation: str) -> Sequence[Call]:
        """The control's calls of OPERATION on EDGE; at a gateway, where operations may differ, all on EDGE."""
        return self._by_operation.get((edge, operation)) or self._by_edge.get(edge) or ()

    @cached_property
    def _eps(self) -> dict[tuple[Edge, str], float]:
        return {}

    def eps(self, edge: Edge, operation: str) -> float:
        """Seconds within which two times on EDGE count as the same."""
        key = edge, operation
        if key not in self._eps:
            self._eps[key] = epsilon([c.span.duration for c in self.healthy(edge, operation) if not c.failed])
        return self._eps[key]

    @cached_property
    def _nested(self) -> dict[tuple[Edge, str], bool]:
        return {}

    def nested(self, edge: Edge, operation: str) -> bool:
        """Whether A waits for the call in the control: each lies within A's server span."""
        key = edge, operation
        if key not in self._nested:
            healthy = [c for c in self.healthy(edge, operation) if c.caller is not None]
            self._nested[key] = bool(healthy) and all(
                c.caller is not None and c.caller.start <= c.span.start + CLOCK and c.span.end <= c.caller.end + CLOCK
                for c in healthy
            )
        return self._nested[key]

    @cached_property
    def _failed(self) -> frozenset[str]:
        """The traces of the control in which a call failed: its caller may have made it again."""
        return frozenset(call.trace.trace_id for call in self.calls if call.failed)

    def _sound(self, edge: Edge, operation: str) -> list[Call]:
        """The control's calls of OPERATION on EDGE for requests in which no call failed; where that are none, all."""
        same = [c for c in self._by_operation.get((edge, operation), ()) if c.caller is not None]
        return [c for c in same if c.trace.trace_id not in self._failed] or same

    @cached_property
    def _multiplicities(self) -> dict[tuple[object, ...], int]:
        return {}

    def multiplicity(self, call: Call) -> int:
        """m: the most calls with CALL's method and URL that a healthy request of A makes, over compatible versions.

        Where the control does not know the URL, the calls of the same operation count. 0: never seen.
        """
        everywhere: tuple[object, ...] = (call.edge, call.operation, call.span.method, call.span.url)
        if everywhere not in self._multiplicities:
            self._multiplicities[everywhere] = self._whatever_version(call)
        steady = self._multiplicities[everywhere]
        if steady:
            return steady
        passed = call.trace.versions
        key = (*everywhere, frozenset(passed.items()))
        if key not in self._multiplicities:
            self._multiplicities[key] = self._count(call, passed)
        return self._multiplicities[key]

    def _whatever_version(self, call: Call) -> int:
        """The m of all healthy requests alike, whatever versions it passed; 0 where it depends on them."""
        same = self._sound(call.edge, call.operation)
        exact = Counter(group(c) for c in same if (c.span.method, c.span.url) == (call.span.method, call.span.url))
        everybody = len({c.trace.trace_id for c in same}) == len({trace_id for trace_id, *_ in exact})
        return max(exact.values()) if exact and everybody and len(set(exact.values())) == 1 else 0

    def _count(self, call: Call, passed: Passed) -> int:
        same = self._sound(call.edge, call.operation)
        fitting = {
            trace_id
            for trace_id, trace in {c.trace.trace_id: c.trace for c in same}.items()
            if _within(trace.versions, passed)
        }
        same = [c for c in same if c.trace.trace_id in fitting] or same
        exact = [c for c in same if (c.span.method, c.span.url) == (call.span.method, call.span.url)]
        counts: dict[tuple[str, ...], int] = defaultdict(int)
        for each in exact or same:
            counts[group(each) if exact else group(each)[:2]] += 1
        return max(counts.values(), default=0)

    @cached_property
    def _per_request(self) -> dict[tuple[Edge, str, str], float]:
        counts: dict[tuple[Edge, str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        sound = [call for call in self.calls if call.trace.trace_id not in self._failed]
        for call in sound or self.calls:
            of_service = call.trace.versions.get((call.edge.source.namespace, call.edge.source.service), frozenset())
            if len(of_service) < 2:
                counts[call.edge, call.operation, call.answer.url][call.trace.trace_id] += 1
        return {key: fmean(each.values()) for key, each in counts.items()}

    def per_request(self, edge: Edge, operation: str, url: str) -> float:
        """Healthy calls of OPERATION on EDGE for one request to URL that comes by there; 0: never seen.

        Requests that passed several versions of the caller are left out: they share its calls out between them.
        """
        return self._per_request.get((edge, operation, url), 0.0)

    def gap_deviation(self, source: Workload) -> float:
        """σ in seconds of SOURCE's pauses between one call's end and the next one's start, in the control."""
        requests: dict[tuple[str, str], list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.edge.source == source and call.caller is not None:
                requests[call.trace.trace_id, call.caller.span_id].append(call)
        gaps: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for made in requests.values():
            made.sort(key=lambda c: (c.span.start, c.span.span_id))
            for before, after in pairwise(made):
                key = (before.edge.destination, before.operation, after.edge.destination, after.operation)
                gaps[key].append(after.span.start - before.span.end)
        return max((pstdev(each) for each in gaps.values() if len(each) > 2), default=0.0)

    @cached_property
    def _answers(self) -> tuple[tuple[Passed, Answer], ...]:
        return tuple(
            (self.control.traces[answer.trace_id].versions, answer)
            for answer in self.control.answers
            if answer.trace_id in self.control.traces and 0 < answer.status < 400 and not answer.error
        )

    def answers(self, trace: Trace, url: str, *, exactly: bool) -> list[Answer]:
        """The control's good answers from URL to requests that passed the same versions as TRACE.

        A faulted request may not have reached every service: only those that both passed are compared, and of these
        only services whose version shows in healthy answers, or that no healthy request passed in that version. With
        EXACTLY the versions are the same; without, a request that tried several versions is compared with each.
        """
        telling, known = self._telling(url)
        passed = {
            service: found
            for service, found in trace.versions.items()
            if service in telling or not found <= known[service]
        }
        return [
            answer
            for control, answer in self._answers
            if answer.url == url and (_same(control, passed) if exactly else _within(control, passed))
        ]

    @cached_property
    def _told(self) -> dict[str, tuple[frozenset[tuple[str, str]], Passed]]:
        return {}

    def _telling(self, url: str) -> tuple[frozenset[tuple[str, str]], Passed]:
        """Services of whose version it depends which sections an answer from URL has; and all versions seen by it."""
        if url not in self._told:
            seen = [(passed, frozenset(answer.sections)) for passed, answer in self._answers if answer.url == url]
            known: dict[tuple[str, str], frozenset[str]] = defaultdict(frozenset)
            for passed, _ in seen:
                for service, found in passed.items():
                    known[service] |= found
            self._told[url] = _explaining(seen, known), known
        return self._told[url]


def _explaining(seen: Sequence[tuple[Passed, frozenset[str]]], known: Passed) -> frozenset[tuple[str, str]]:
    """The fewest services found, one after the other, whose versions explain the sections; all where none do.

    That a service was passed at all explains as much as the version of whoever calls it, and a faulted request does not
    come that far: those that all requests pass come first.
    """
    everywhere = frozenset.intersection(*(frozenset(passed) for passed, _ in seen)) if seen else frozenset()
    chosen: list[tuple[str, str]] = []
    left = _unexplained(seen, chosen)
    while left:
        others = sorted(service for service, found in known.items() if len(found) > 1 and service not in chosen)
        fewest, _, best = min(
            ((_unexplained(seen, [*chosen, each]), each not in everywhere, each) for each in others),
            default=(left, True, None),
        )
        if best is None or fewest >= left:
            return frozenset(known)
        chosen.append(best)
        left = fewest
    return frozenset(chosen)


def _unexplained(seen: Sequence[tuple[Passed, frozenset[str]]], services: Sequence[tuple[str, str]]) -> int:
    """How many answers differ from the most frequent one of those that passed the same versions of SERVICES."""
    alike: dict[tuple[object, ...], Counter[frozenset[str]]] = defaultdict(Counter)
    for passed, sections in seen:
        alike[tuple(passed.get(service) for service in services)][sections] += 1
    return sum(counts.total() - max(counts.values()) for counts in alike.values())


def _same(one: Passed, other: Passed) -> bool:
    return all(one[service] == other[service] for service in one.keys() & other.keys())


def _within(one: Passed, other: Passed) -> bool:
    return all(one[service] <= other[service] for service in one.keys() & other.keys())
