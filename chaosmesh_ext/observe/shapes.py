"""The shape of traces: who calls whom for what, whichever version, and how many requests did."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from chaosmesh_ext.model import Span, Trace

__all__ = ["CHANCE", "Difference", "Shape", "difference", "shape_of"]

CHANCE = 0.01
"""A call that is missing, or new, by chance less often than this has changed."""

_VARIES = re.compile(r"^(\d+|[0-9a-fA-F]{8,}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$")
"""Parts of a path that are somebody's number or id."""


class Shape(msgspec.Struct, frozen=True):
    """calls: by call (``productpage → details GET /details/*``) the requests that made it. requests: of how many."""

    calls: Mapping[str, int]
    requests: int


class Difference(msgspec.Struct, frozen=True):
    """missing, new: calls that are gone, or were not there. unsure: those of which chance may be the reason."""

    missing: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()


def shape_of(traces: Iterable[Trace], *, versions: bool = False) -> Shape:
    """The shape of TRACES. versions: tell the versions of a caller apart."""
    calls: Counter[str] = Counter()
    count = 0
    for trace in traces:
        count += 1
        calls.update({_call(span, versions=versions) for span in trace.calls() if span.proxy})
    return Shape(dict(calls), count)


def difference(before: Shape, now: Shape) -> Difference:
    """What of NOW differs from BEFORE, both of which have requests.

    A call that a share p of the requests made is absent from n others by chance with (1-p)^n.
    """
    missing = {call: made / before.requests for call, made in before.calls.items() if call not in now.calls}
    new = {call: made / now.requests for call, made in now.calls.items() if call not in before.calls}
    chance = {call: (1 - share) ** now.requests for call, share in missing.items()}
    chance |= {call: (1 - share) ** before.requests for call, share in new.items()}
    unsure = {call for call, by_chance in chance.items() if by_chance > CHANCE}
    return Difference(tuple(sorted(missing.keys() - unsure)), tuple(sorted(new.keys() - unsure)), tuple(sorted(unsure)))


def _call(span: Span, *, versions: bool) -> str:
    caller = str(span.workload) if versions else span.workload.service
    path = "/".join("*" if _VARIES.match(part) else part for part in span.path.split("/"))
    return f"{caller} → {span.peer} {span.method or span.operation} {path}".rstrip()
