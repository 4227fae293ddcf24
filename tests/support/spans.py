"""Traces of one's own making, call by call."""

from __future__ import annotations

from chaosmesh_ext.model import Span, Trace, Workload

__all__ = ["healthy", "span", "trace"]


def span(
    number: int, parent: int, kind: str, who: str, start: float, duration: float, *, status: int = 200, **facts: object
) -> Span:
    """A proxy's span; parent 0 is what nobody reported. who: workload, or for a call ``caller → callee``."""
    caller, _, peer = who.partition(" → ")
    service, _, version = caller.partition("-") if "gateway" not in caller else (caller, "", "")
    return Span(
        trace_id=str(facts.pop("trace", "1" * 32)),
        span_id=f"{number:016x}",
        parent_id=str(facts.pop("parent_id", f"{parent or 0xFFFF:016x}")),
        kind=kind,
        operation="op",
        start=start,
        duration=duration,
        workload=Workload(service, version),
        peer=peer,
        method="GET",
        url=str(facts.pop("url", f"http://{peer}:9080/{peer}/{number}")),
        status=status,
        flags=frozenset(str(facts.pop("flags", "")).split(",")) - {""},
        **facts,
    )


def trace(*spans: Span) -> Trace:
    """One trace, in order of start."""
    return Trace(spans[0].trace_id, tuple(sorted(spans, key=lambda each: each.start)))


def healthy(number: int = 1, *, reviews: str = "v1") -> Trace:
    """gateway → productpage → details, and reviews, which calls ratings unless it is v1: 100 ms in all."""
    own = {"trace": f"{number:032x}"}
    spans = [
        span(1, 0, "SERVER", "gateway", 0, 0.1, **own),
        span(2, 1, "CLIENT", "gateway → productpage", 0.001, 0.098, **own),
        span(3, 2, "SERVER", "productpage-v1", 0.002, 0.096, **own),
        span(4, 3, "CLIENT", "productpage-v1 → details", 0.004, 0.01, **own),
        span(5, 4, "SERVER", "details-v1", 0.005, 0.008, **own),
        span(6, 3, "CLIENT", "productpage-v1 → reviews", 0.02, 0.06, **own),
        span(7, 6, "SERVER", f"reviews-{reviews}", 0.021, 0.058, **own),
    ]
    if reviews != "v1":
        spans.append(span(8, 7, "CLIENT", f"reviews-{reviews} → ratings", 0.03, 0.04, **own))
    return trace(*spans)
