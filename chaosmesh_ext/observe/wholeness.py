"""When a trace is complete enough to be judged: pure.

The root's end is not the end: a caller that gives up leaves work behind that goes on. A trace is complete when its
root ended, every server span whose workload makes a call in a healthy run has made that call or has had the time to,
and nothing new came for a while.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec

from chaosmesh_ext.model import Answer, Edge, Injected, Span, Trace, Workload

__all__ = ["FLUSH", "QUIET", "Expected", "Free", "calls_of", "ended", "missing", "settled"]

QUIET = 1.0
"""Seconds without a new span after which a trace is taken to be whole (rules: "one second was quiet")."""

FLUSH = 1.0
"""Seconds that a span may take from its end to the store: sidecars flush every second or sooner."""


_ABORTED = "FI"
"""Envoy's flag of a request that an injected abort answered, at a gateway or where it arrived: nobody serves it."""

Free = Callable[[Workload, float, float], bool]
"""Whether a workload was seen to make no call that is held back, at a moment from one time to another (epoch)."""


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


def missing(
    trace: Trace,
    answer: Answer,
    now: float,
    *,
    injected: Injected | None = None,
    expected: Expected | None = None,
    flush: float = FLUSH,
    again: bool = True,
    free: Free | None = None,
) -> str:
    """Why TRACE cannot be complete at NOW (seconds since the epoch), or an empty text.

    AGAIN: a caller whom nobody waits for any more may be trying a failed call again, for as long as that one took; but
    not one that is known to be FREE a while after that, when an attempt that takes as long would be under way.

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
        if server.kind != "SERVER" or not server.proxy or _ABORTED in server.flags:
            continue
        made = calls.get(server.span_id, [])
        for edge in expected.from_workload(server.workload):
            mine = [call for call in made if call.peer == edge.destination]
            if not mine:
                if now < server.start + offset + delay + flush:
                    return f"a call {edge} may still be on its way"
            elif again and injected and server.gone and injected.covers(edge):
                last = max(mine, key=lambda call: call.end)
                left, lasts = last.end + offset, min(last.duration, delay)
                if (
                    _failed(last)
                    and now < left + lasts + flush
                    and not (
                        free is not None and injected.at_the_caller and free(edge.source, left + flush, left + lasts)
                    )
                ):
                    return f"{edge.source}, which nobody waits for any more, may be calling {edge.destination} again"
    return ""


def ended(trace: Trace, answer: Answer) -> float:
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


def settled(trace: Trace, injected: Injected | None, expected: Expected | None) -> bool:
    """TRACE holds everything that a healthy run has, and nobody has a reason to do more."""
    if expected is None or not expected.entries:
        return False
    calls = calls_of(trace)
    for span in trace.spans:
        if not span.proxy:
            continue
        if span.kind == "SERVER":
            if _ABORTED in span.flags:
                continue
            peers = {call.peer for call in calls.get(span.span_id, [])}
            if any(edge.destination not in peers for edge in expected.from_workload(span.workload)):
                return False
        elif span.kind == "CLIENT":
            edge = Edge(span.workload, span.peer)
            served = any(child.kind == "SERVER" for child in trace.children(span))
            if _failed(span) or (edge in expected.answered and not served) or edge not in expected.edges:
                return False
    return injected is None or not any(span.gone for span in trace.spans)
