"""Ways through traces: where an error came from and how far it got, where the time went, what hangs on nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from chaosmesh_ext.model import Span, Trace

__all__ = ["ErrorPath", "SlowestPath", "error_path", "failed", "orphans", "slowest_path"]


class ErrorPath(msgspec.Struct, frozen=True):
    """The way that most errors took.

    path: workloads, from the one that the request entered to the one where the error began; a callee that reported
    nothing is named by its service. status, grpc_status, flags: of the span where it began. requests: how many
    had an error on this path. of: requests looked at. failed: how many had an error anywhere. reached: on how many of
    `requests` the first workload failed too. trace_id: one of them. All of it is empty where nothing failed.
    """

    path: tuple[str, ...] = ()
    status: int = 0
    grpc_status: int | None = None
    flags: str = ""
    requests: int = 0
    of: int = 0
    failed: int = 0
    reached: int = 0
    trace_id: str = ""


class SlowestPath(msgspec.Struct, frozen=True):
    """Where the time of the slowest request went.

    duration: seconds, of its first span. path: who waited for whom, from the first workload to where most of the time
    went. own: by place on the critical path the seconds spent there, the most first; a place is a workload, or a call
    ``a → b``: time in the caller's proxy, on the wire, and in a callee that reported nothing.
    """

    trace_id: str
    duration: float
    path: tuple[str, ...]
    own: dict[str, float]


def failed(span: Span) -> bool:
    """Whether SPAN says that something went wrong: it is marked so, its caller left, nobody answered, or the answer
    says that the callee failed.
    """
    if span.error or span.gone or span.broken:
        return True
    return span.proxy and span.status == 0 and span.grpc_status is None and span.kind in ("CLIENT", "SERVER")


def error_path(traces: Iterable[Trace]) -> ErrorPath:
    """The way that most errors in TRACES took; of two as frequent the longer."""
    found: dict[tuple[str, ...], list[tuple[Trace, list[Span]]]] = {}
    count = bad = 0
    for trace in traces:
        count += 1
        chain = _deepest(trace)
        if chain:
            bad += 1
            found.setdefault(_names(chain), []).append((trace, chain))
    if not found:
        return ErrorPath(of=count)
    path, those = max(found.items(), key=lambda item: (len(item[1]), len(item[0])))
    trace, chain = those[0]
    return ErrorPath(
        path=path,
        status=chain[-1].status,
        grpc_status=chain[-1].grpc_status,
        flags=",".join(sorted(chain[-1].flags)),
        requests=len(those),
        of=count,
        failed=bad,
        reached=sum(failed(each[0]) for _, each in those),
        trace_id=trace.trace_id,
    )


def slowest_path(traces: Sequence[Trace]) -> SlowestPath | None:
    """Where the time of the slowest of TRACES went, or None when none has a span."""
    entered = [(entry(trace), trace) for trace in traces if trace.spans]
    if not entered:
        return None
    root, trace = max(entered, key=lambda pair: pair[0].duration)
    own: dict[str, float] = {}
    parts = list(_critical(trace, root, root.end, frozenset()))
    for span, seconds in parts:
        place = _place(trace, span)
        own[place] = own.get(place, 0.0) + seconds
    ordered = dict(sorted(own.items(), key=lambda item: -item[1]))
    most = max(parts, key=lambda part: part[1])[0]
    return SlowestPath(trace.trace_id, root.duration, _names(_chain(trace, most)), ordered)


def orphans(trace: Trace) -> list[Span]:
    """The spans of TRACE whose parent is not in it, less those of the request's entry."""
    if not trace.roots:
        return []
    parent = entry(trace).parent_id
    return [span for span in trace.roots if span.parent_id and span.parent_id != parent]


def entry(trace: Trace) -> Span:
    """The span with which the request of TRACE, which has one, entered the mesh."""
    roots = trace.roots or trace.spans
    # a request of ours has a parent that nobody reported; a true root has none
    first = [span for span in roots if not span.parent_id] or roots
    return next((span for span in first if span.kind == "SERVER"), first[0])


def _chain(trace: Trace, span: Span) -> list[Span]:
    """The spans from the first to SPAN."""
    chain, seen = [span], {span.span_id}
    while (above := trace.parent(chain[-1])) is not None and above.span_id not in seen:
        seen.add(above.span_id)
        chain.append(above)
    return chain[::-1]


def _deepest(trace: Trace) -> list[Span]:
    """The chain to where the first error of TRACE began: a failed span below which nothing failed."""
    bad = [span for span in trace.spans if failed(span)]
    origins = [span for span in bad if not any(failed(child) for child in trace.children(span))]
    return max((_chain(trace, span) for span in origins), key=len, default=[])


def _names(chain: Sequence[Span]) -> tuple[str, ...]:
    names: list[str] = []
    for span in chain:
        if not names or names[-1] != str(span.workload):
            names.append(str(span.workload))
    if chain and chain[-1].kind == "CLIENT" and chain[-1].peer:
        names.append(chain[-1].peer)
    return tuple(names)


def _place(trace: Trace, span: Span) -> str:
    if span.kind != "CLIENT":
        return str(span.workload)
    callee = next((str(child.workload) for child in trace.children(span) if child.kind == "SERVER"), span.peer)
    return f"{span.workload} → {callee or span.operation}"


def _critical(trace: Trace, span: Span, until: float, above: frozenset[str]) -> Iterator[tuple[Span, float]]:
    """Who held the request up, going back from UNTIL: SPAN itself, or the child that ended last before."""
    at, own = min(until, span.end), 0.0
    for child in sorted(trace.children(span), key=lambda each: each.end, reverse=True):
        # a child that outlived its parent, or began after the point at hand, held nobody up there
        if child.start >= at or child.span_id in above or child.end <= span.start:
            continue
        end = min(child.end, at)
        own += at - end
        yield from _critical(trace, child, end, above | {span.span_id})
        at = max(child.start, span.start)
    yield span, own + max(at - span.start, 0.0)
