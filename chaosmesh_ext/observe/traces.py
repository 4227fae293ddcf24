"""Where traces come from, and when a trace is complete enough to be judged.

The root's end is not the end: a caller that gives up leaves work behind that goes on. A trace is complete when its
root ended, every server span whose workload makes a call in a healthy run has made that call or has had the time to,
and nothing new came for a while.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from chaosmesh_ext.model import Answer, Edge, Injected, Span, Trace, Workload
from chaosmesh_ext.observe.reach import Target

__all__ = ["FLUSH", "QUIET", "Expected", "Gathered", "TraceSource", "calls_of", "gather", "missing"]

QUIET = 1.0
"""Seconds without a new span after which a trace is taken to be whole (rules: "one second was quiet")."""

FLUSH = 1.0
"""Seconds that a span may take from its end to the store: sidecars flush every second or sooner."""

_FIRST_PAUSE, _LAST_PAUSE = 0.02, 0.25


class TraceSource(Protocol):
    """A store of traces. Every method raises Unreachable when the store does not answer, or not with sense.

    name: Jaeger, Zipkin or Tempo. url: where it is, without anything secret. target: how it is reached.
    """

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def target(self) -> Target: ...

    def services(self) -> list[str]:
        """The store's names of the services that have spans, sorted."""

    def trace(self, trace_id: str) -> Trace | None:
        """The trace with this id, or None."""

    def many(self, ids: Iterable[str]) -> dict[str, Trace]:
        """The traces with these ids, by id; those that the store does not have are absent."""

    def search(self, service: str, *, start: float, end: float, operation: str = "", limit: int = 100) -> list[Trace]:
        """Traces with a span of SERVICE (the store's name for it) that began from START to END, seconds since the
        epoch; of more than LIMIT the newest.
        """


class Expected(msgspec.Struct, frozen=True):
    """What a healthy request leaves in its trace.

    entries: workloads whose server span is the root, by service. edges: calls seen. answered: edges whose callee
    reports server spans of its own.
    """

    entries: frozenset[str] = frozenset()
    edges: frozenset[Edge] = frozenset()
    answered: frozenset[Edge] = frozenset()

    @classmethod
    def of(cls, traces: Iterable[Trace]) -> Expected:
        """What TRACES, those of the control, hold."""
        entries: set[str] = set()
        edges: set[Edge] = set()
        answered: set[Edge] = set()
        for trace in traces:
            entries.update(span.workload.service for span in trace.roots if span.kind == "SERVER")
            for call in trace.calls():
                if not call.proxy:
                    continue
                edge = Edge(call.workload, call.peer)
                edges.add(edge)
                if any(child.kind == "SERVER" for child in trace.children(call)):
                    answered.add(edge)
        return cls(frozenset(entries), frozenset(edges), frozenset(answered))

    def __or__(self, other: Expected) -> Expected:
        return Expected(self.entries | other.entries, self.edges | other.edges, self.answered | other.answered)

    def from_workload(self, workload: Workload) -> list[Edge]:
        """The calls that WORKLOAD makes."""
        return [edge for edge in self.edges if edge.source == workload]


class Gathered(msgspec.Struct, frozen=True):
    """Traces by id, the incomplete ones too, and for each id that is not complete the reason."""

    traces: Mapping[str, Trace]
    incomplete: Mapping[str, str]


def gather(
    source: TraceSource,
    answers: Sequence[Answer],
    *,
    injected: Injected | None = None,
    expected: Expected | None = None,
    quiet: float = QUIET,
    flush: float = FLUSH,
    timeout: float | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Gathered:
    """Wait until the traces of ANSWERS are complete, and return them.

    injected: the fault that the requests met, None in the control. expected: what the control's traces hold
    (`Expected.of`); without it every trace is waited for until it was quiet. quiet, flush: seconds. timeout: seconds
    in all; by default 10 s and twice the delay, since a caller may try a slow call again. clock: seconds since the
    epoch, the clock of `Answer.started`.

    A trace that holds everything expected, and in which nobody gave up or failed, is not waited for any longer. One
    that ended long ago is quiet already: what came within the last QUIET seconds ended no earlier than FLUSH before.
    Raises Unreachable when the store does not answer.
    """
    delay = injected.delay if injected else 0.0
    deadline = clock() + (10.0 + 2 * delay if timeout is None else timeout)
    waiting = {answer.trace_id: answer for answer in answers if answer.trace_id}
    traces: dict[str, Trace] = {}
    changed: dict[str, float] = {}
    reasons: dict[str, str] = {}
    pause = _FIRST_PAUSE
    while waiting:
        found = source.many(list(waiting))
        now = clock()
        for trace_id, answer in list(waiting.items()):
            trace = found.get(trace_id)
            if trace is None:
                reasons[trace_id] = "the trace store has no span of it"
                continue
            before = traces.get(trace_id)
            if before is None:
                changed[trace_id], pause = min(now, _ended(trace, answer) + flush), _FIRST_PAUSE
            elif len(before.spans) != len(trace.spans):
                changed[trace_id], pause = now, _FIRST_PAUSE
            traces[trace_id] = trace
            reason = missing(trace, answer, now, injected=injected, expected=expected, flush=flush)
            if not reason and not _settled(trace, injected, expected) and now - changed[trace_id] < quiet:
                reason = f"spans still came within the last {quiet:g} s"
            if reason:
                reasons[trace_id] = reason
            else:
                del waiting[trace_id]
                reasons.pop(trace_id, None)
        if not waiting or now >= deadline:
            break
        sleep(min(pause, max(deadline - now, 0.0)))
        pause = min(pause * 1.5, _LAST_PAUSE)
    return Gathered(traces, reasons)


def missing(
    trace: Trace,
    answer: Answer,
    now: float,
    *,
    injected: Injected | None = None,
    expected: Expected | None = None,
    flush: float = FLUSH,
) -> str:
    """Why TRACE cannot be complete at NOW (seconds since the epoch), or an empty text.

    Times of spans are only compared with each other and placed on our clock by the request's start, so that the
    mesh's clock need not agree with ours.
    """
    parents = {span.parent_id for span in trace.roots}
    roots = [span for span in trace.roots if span.kind == "SERVER"] or list(trace.roots)
    if not roots:
        return "no span of it is a root"
    if len(parents) > 1:
        return "spans came whose parents did not"
    entries = expected.entries if expected else frozenset()
    if entries and not any(span.workload.service in entries for span in roots):
        return f"the root, a span of {' or '.join(sorted(entries))}, has not ended"
    if expected is None:
        return ""
    offset = answer.started - min(span.start for span in roots)
    delay = injected.delay if injected else 0.0
    calls = calls_of(trace)
    for server in trace.spans:
        if server.kind != "SERVER" or not server.proxy:
            continue
        made = calls.get(server.span_id, [])
        for edge in expected.from_workload(server.workload):
            mine = [call for call in made if call.peer == edge.destination]
            if not mine:
                if now < server.start + offset + delay + flush:
                    return f"a call {edge} may still be on its way"
            elif injected and server.gone and injected.covers(edge):
                last = max(mine, key=lambda call: call.end)
                if _failed(last) and now < last.end + offset + min(last.duration, delay) + flush:
                    return f"{edge.source}, which nobody waits for any more, may be calling {edge.destination} again"
    return ""


def _ended(trace: Trace, answer: Answer) -> float:
    """When the last of TRACE's spans that are known ended, or its request, on our clock as in `missing`; infinite where
    that cannot be told.
    """
    starts = [span.start for span in trace.roots if span.kind == "SERVER"]
    if not starts:
        return math.inf
    offset = answer.started - min(starts)
    return max(answer.started + answer.duration, max(span.end for span in trace.spans) + offset)


def calls_of(trace: Trace) -> dict[str, list[Span]]:
    """The CLIENT spans made while serving each SERVER span, by the latter's id.

    An application's own spans may stand between the two.
    """
    calls: dict[str, list[Span]] = {}
    for call in trace.calls():
        above, seen = trace.parent(call), {call.span_id}
        while above is not None and not above.proxy and above.span_id not in seen:
            seen.add(above.span_id)
            above = trace.parent(above)
        if call.proxy and above is not None and above.kind == "SERVER":
            calls.setdefault(above.span_id, []).append(call)
    return calls


def _failed(span: Span) -> bool:
    return span.error or span.gone or span.status == 0 or span.broken


def _settled(trace: Trace, injected: Injected | None, expected: Expected | None) -> bool:
    """TRACE holds everything that a healthy run has, and nobody has a reason to do more."""
    if expected is None or not expected.entries:
        return False
    calls = calls_of(trace)
    for span in trace.spans:
        if not span.proxy:
            continue
        if span.kind == "SERVER":
            peers = {call.peer for call in calls.get(span.span_id, [])}
            if any(edge.destination not in peers for edge in expected.from_workload(span.workload)):
                return False
        elif span.kind == "CLIENT":
            edge = Edge(span.workload, span.peer)
            served = any(child.kind == "SERVER" for child in trace.children(span))
            if _failed(span) or (edge in expected.answered and not served) or edge not in expected.edges:
                return False
    return injected is None or not any(span.gone for span in trace.spans)
