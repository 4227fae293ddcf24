"""A trace as text: one line a span, with its place in time as a bar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.model import Span, Trace

__all__ = ["waterfall"]

_BAR = 32
_MOST = 60
_WIDEST = 44


def waterfall(trace: Mapping[str, Any]) -> str:
    """The lines of a document's TRACE: service and operation by depth, start, duration, bar, status, Envoy's flags.

    Times are relative to the first span. At most sixty spans; the last line says how many more there are.
    """
    spans = msgspec.convert(trace, Trace)
    if not spans.spans:
        return "(no spans)"
    began = min(span.start for span in spans.spans)
    whole = max(max(span.end for span in spans.spans) - began, 1e-6)
    rows = list(_tree(spans))
    shown = rows[:_MOST]
    labels = [_label(depth, span) for depth, span in shown]
    width = max(map(len, labels))
    lines = [
        f"{label:<{width}}  {_ms(span.start - began):>9}  {_ms(span.duration):>9}"
        f"  {_bar(span, began, whole)}  {_said(span)}"
        for label, (_, span) in zip(labels, shown, strict=True)
    ]
    head = f"{'service and operation':<{width}}  {'start':>9}  {'duration':>9}  {'':<{_BAR + 2}}  status"
    more = [f"({len(rows) - _MOST} more spans)"] if len(rows) > _MOST else []
    return "\n".join([head.rstrip(), *lines, *more])


def _tree(trace: Trace) -> Iterator[tuple[int, Span]]:
    """Spans with their depth, parents before children; each once, even where ids go round in a circle."""
    seen: set[int] = set()
    starts = [*trace.roots, *trace.spans]
    for start in starts:
        stack = [(0, start)]
        while stack:
            depth, span = stack.pop()
            if id(span) in seen:
                continue
            seen.add(id(span))
            yield depth, span
            below = sorted(trace.children(span), key=lambda s: (s.start, s.span_id), reverse=True)
            stack += [(depth + 1, child) for child in below]


def _label(depth: int, span: Span) -> str:
    """``productpage-v1 calls details GET /details/0`` for a call, ``details-v1 GET /details/0`` for its service."""
    who = f"{span.workload} calls {span.peer}" if span.kind == "CLIENT" and span.peer else str(span.workload)
    what = f"{span.method} {span.path}" if span.method else "" if span.peer else span.operation
    text = f"{'  ' * min(depth, 8)}{who} {what}".rstrip().replace("`", "'")
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _WIDEST + 2 * min(depth, 8) else f"{text[: _WIDEST + 2 * min(depth, 8) - 1]}…"


def _ms(value: float) -> str:
    return f"{value * 1000:,.0f} ms"


def _bar(span: Span, began: float, whole: float) -> str:
    left = min(int((span.start - began) / whole * _BAR), _BAR - 1)
    length = max(1, min(round(span.duration / whole * _BAR), _BAR - left))
    return f"|{' ' * left}{'=' * length}{' ' * (_BAR - left - length)}|"


def _said(span: Span) -> str:
    status = str(span.status) if span.status else "no answer"
    if span.grpc_status is not None:
        status = f"{status} grpc {span.grpc_status}"
    flags = ",".join(sorted(span.flags))
    return f"{status}  {flags}".rstrip()
