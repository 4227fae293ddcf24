"""Calls: the proxy spans on an edge, with what stands around each in its trace."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import msgspec

from chaosmesh_ext.findings.operations import operation
from chaosmesh_ext.model import Answer, Cell, Edge, Injected, Span, Trace

__all__ = ["Call", "above", "below", "caller", "calls", "group"]

INJECTED = frozenset({"DI", "FI"})


class Call(msgspec.Struct, frozen=True):
    """One attempt of A to call B.

    edge: the edge A → B. span: C, the proxy span of the attempt. caller: A's server span, None where the trace lacks
    it and at a gateway whose SERVER span is the attempt itself (`at_gateway`). callees: B's server spans below it,
    several where the sidecar itself tried again. delay: what was injected on it in seconds, 0 for none. harmless: the
    abort that was injected answers with a status that is no failure, below 400.
    """

    edge: Edge
    operation: str
    span: Span
    caller: Span | None
    callees: tuple[Span, ...]
    trace: Trace
    answer: Answer
    cell: str
    delay: float = 0.0
    at_gateway: bool = False
    harmless: bool = False

    @property
    def faulted(self) -> bool:
        """It met the injected fault, in A's sidecar or on B's inbound side."""
        return not INJECTED.isdisjoint(self.span.flags) or any(not INJECTED.isdisjoint(s.flags) for s in self.callees)

    @property
    def aborted(self) -> bool:
        """It was answered by the fault instead of B."""
        return "FI" in self.span.flags or any("FI" in span.flags for span in self.callees)

    @property
    def failed(self) -> bool:
        """A got no answer, or one that says failure: A left, the proxy gave up, B failed, or the fault answered."""
        return self.span.gone or (self.aborted and not self.harmless) or self.span.status == 0 or self.span.broken


def calls(cell: Cell, known: AbstractSet[Edge] = frozenset()) -> Iterator[Call]:
    """Every call in CELL's traces.

    known: edges that the control shows. A gateway's faulted call has the flags in its SERVER span (measured: istiod
    sets `spawn_upstream_span` there), and a CLIENT span only where a delay let it go on: together they are one call,
    on the edge from that gateway that KNOWN holds.
    """
    injected = cell.injected
    harmless = injected is not None and 0 < injected.status < 400
    delay = injected.delay if injected is not None and injected.kind == "delay" else 0.0
    for answer in cell.answers:
        trace = cell.traces.get(answer.trace_id)
        if trace is None:
            continue
        for span in trace.spans:
            if not span.proxy:
                continue
            if span.kind == "CLIENT" and span.peer:
                callees = tuple(c for c in below(trace, span) if c.kind == "SERVER")
                edge = Edge(span.workload, span.peer)
                request = caller(trace, span)
                if request is not None and _at_gateway(request, injected) == edge and edge in known:
                    continue
                # a gateway's upstream span carries neither method nor URL (measured): its request does
                said = operation(request if request is not None and not span.method else span)
                yield Call(edge, said, span, request, callees, trace, answer, cell.id, delay, harmless=harmless)
            elif (at := _at_gateway(span, injected)) is not None and at in known:
                sent = [c for c in below(trace, span) if c.kind == "CLIENT"]
                if sent and all(c.peer != at.destination for c in sent):
                    continue
                callees = tuple(s for c in sent for s in below(trace, c) if s.kind == "SERVER")
                said = operation(span)
                yield Call(
                    at, said, span, None, callees, trace, answer, cell.id, delay, at_gateway=True, harmless=harmless
                )


def _at_gateway(span: Span, injected: Injected | None) -> Edge | None:
    """The edge on which SPAN is a call that met the fault INJECTED, if its proxy is a gateway."""
    if injected is None or not injected.at_the_caller or span.kind != "SERVER" or INJECTED.isdisjoint(span.flags):
        return None
    edge = Edge(span.workload, injected.destination)
    return edge if injected.covers(edge) else None


def group(call: Call) -> tuple[str, str, str, str]:
    """Calls of one group serve the same request of A with the same method and URL: attempts, where m is 1."""
    return call.trace.trace_id, call.caller.span_id if call.caller else "", call.span.method, call.span.url


def above(trace: Trace, span: Span) -> Span | None:
    """The nearest proxy span above SPAN; an SDK's spans may lie between."""
    seen = {span.span_id}
    found = trace.parent(span)
    while found is not None and not found.proxy and found.span_id not in seen:
        seen.add(found.span_id)
        found = trace.parent(found)
    return found if found is not None and found.span_id not in seen else None


def caller(trace: Trace, span: Span) -> Span | None:
    """The server span of the request that SPAN was called for: the nearest proxy span above, if it is A's."""
    found = above(trace, span)
    return found if found is not None and found.kind == "SERVER" and found.workload == span.workload else None


def below(trace: Trace, span: Span, depth: int = 32) -> Iterator[Span]:
    """The nearest proxy spans below SPAN."""
    for child in trace.children(span):
        if child.proxy:
            yield child
        elif depth:
            yield from below(trace, child, depth - 1)
