"""Ejections: when A's sidecar stopped sending calls to a pod of B that had answered with failures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.findings.openings import MIN_SILENT, Opening, failures_at_the_end

__all__ = ["ejections", "refused", "server"]

_BY_CHANCE: Final = 0.001
"""How likely it may be at most that a pod in the balance got no call of so many by chance."""


def refused(call: Call) -> bool:
    """A's sidecar found no pod of B that it would call (Envoy's UH)."""
    return "UH" in call.span.flags


def server(call: Call) -> str | None:
    """The pod of B that answered CALL, by its own sidecar's span; None where none did."""
    return call.callees[-1].pod if call.callees and not refused(call) else None


def ejections(calls: Sequence[Call], pods: int) -> Iterator[tuple[str, Opening, bool]]:
    """The first ejection of each pod of B, from CALLS of one pod of A in order of start: the pod, its opening, and
    whether calls moved to other pods, instead of being refused.

    pods: how many B has. A pod is ejected when, after failures, it got none of the next calls: at least `MIN_SILENT` of
    them were refused, or they were so many that it would have got one.
    """
    needed = math.ceil(math.log(_BY_CHANCE) / math.log(1 - 1 / pods)) if pods > 1 else None
    for pod in sorted({name for call in calls if (name := server(call)) is not None}):
        at = [i for i, call in enumerate(calls) if server(call) == pod]
        for place, i in enumerate(at):
            after = at[place + 1] if place + 1 < len(at) else len(calls)
            without = calls[i + 1 : after]
            none = [call for call in without if refused(call)]
            moved = len(none) < MIN_SILENT
            if moved and (needed is None or len(without) < needed):
                continue
            failures = failures_at_the_end([calls[k] for k in at[: place + 1]])
            if not failures:
                continue
            end = calls[i].span.end
            yield (
                pod,
                Opening(
                    failures=failures,
                    at=end,
                    least=max(0.0, none[-1].span.start - end) if none else 0.0,
                    most=calls[after].span.start - end if after < len(calls) else None,
                ),
                moved,
            )
            break
