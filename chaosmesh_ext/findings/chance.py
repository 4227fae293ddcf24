"""Calls that failed by chance: not faulted, and not because of the fault, as far as their trace tells.

A busy machine lets timeouts run out where no fault is. What the user of such a request lost may be due to that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import INJECTED, above, below
from chaosmesh_ext.model import Edge, Span, Trace

__all__ = ["failed_by_chance", "unlike"]

_SOON: Final = 0.05
"""Seconds that times may differ by and be the same: of a call's end and its caller's, and of two calls."""


def failed_by_chance(trace: Trace, baseline: Baseline) -> Span | None:
    """A call in TRACE that failed for the last time though no fault was met below it, and its caller had not been left;
    None where there is none. One that the control knows to fail is none either.
    """
    for span in trace.spans:
        if not _failed(span) or _by_the_fault(trace, span):
            continue
        if any(_failed(each) for each in _calls_below(trace, span)) or _tried_again(trace, span):
            continue
        request = above(trace, span)
        if request is not None and request.gone and request.end <= span.end + _SOON:
            continue
        if baseline.works(Edge(span.workload, span.peer)):
            return span
    return None


def unlike(trace: Trace, usual: Sequence[Trace], baseline: Baseline) -> bool:
    """Whether TRACE lacks a call that all USUAL ones of the same fault have (a breaker that others opened, say), or one
    without a fault on it or below it took longer than any in the control: whoever made it may have given it up just as
    its answer came, of which no span tells.
    """
    if usual and not frozenset.intersection(*map(_sites, usual)) <= _sites(trace):
        return True
    for span in trace.spans:
        if span.proxy and span.kind == "CLIENT" and span.peer and not _by_the_fault(trace, span):
            slowest = baseline.slowest(Edge(span.workload, span.peer))
            if slowest and span.duration > slowest + _SOON:
                return True
    return False


def _sites(trace: Trace) -> frozenset[tuple[str, str, str, str]]:
    """The calls in TRACE, whichever versions make them."""
    return frozenset((span.workload.service, span.peer, span.method, span.path) for span in trace.calls() if span.proxy)


def _failed(span: Span) -> bool:
    return span.proxy and span.kind == "CLIENT" and bool(span.peer) and (span.gone or not span.status or span.broken)


def _by_the_fault(trace: Trace, span: Span) -> bool:
    """Whether a fault was met on SPAN or below it."""
    seen = {span.span_id}
    left = [span]
    while left:
        each = left.pop()
        if not INJECTED.isdisjoint(each.flags):
            return True
        new = [child for child in trace.children(each) if child.span_id not in seen]
        seen |= {child.span_id for child in new}
        left += new
    return False


def _calls_below(trace: Trace, span: Span) -> Iterator[Span]:
    for server in below(trace, span):
        yield from (each for each in below(trace, server) if each.kind == "CLIENT")


def _tried_again(trace: Trace, span: Span) -> bool:
    """Whether a later attempt of the same call got through."""
    request = trace.parent(span)
    siblings = trace.children(request) if request is not None else []
    return any(
        each.start >= span.end
        and (each.kind, each.peer, each.method, each.url) == (span.kind, span.peer, span.method, span.url)
        and not _failed(each)
        for each in siblings
    )
