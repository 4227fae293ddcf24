"""The stimulus: what requests a cell for the circuit-breaker rule must hold, and when they have been enough.

Before: one healthy request that makes the call to each pod of A, so that its count of failures starts at nothing.
Then requests in turn (the next one once the one before is answered), all faulted, until `enough`: without a pause while
they still cause calls, then with `pause` between them, which finds the end of an open time of any length within 10 %.
To collect traces must not stop them: nobody sees what happens between two requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call, calls
from chaosmesh_ext.findings.circuit_breaker import ejected, operations, series
from chaosmesh_ext.findings.openings import Series
from chaosmesh_ext.model import Cell, Edge

__all__ = ["LONGEST", "MOST_FAILURES", "SHORTEST_PAUSE", "called", "enough", "opened", "pause", "silent_for"]

MOST_FAILURES: Final = 30
"""Failed calls in a row, of one pod, after which no breaker is looked for any more."""

LONGEST: Final = 60.0
"""Seconds without a call after which the end of an open time is not waited for any more."""

SHORTEST_PAUSE: Final = 0.05
"""Seconds: half of what an open time must be known by, at least (max(10 %, 100 ms))."""

_SHARE: Final = 0.05
"""Of the time since calls stopped: a pause in which it is over is found within 10 % then."""


def pause(silent: float, pods: int = 1) -> float:
    """Seconds to wait before the next request, when calls stopped SILENT seconds ago; 0 while they go on.

    pods: of A; requests are balanced over them at random, so with several of them each waits longer for its next one.
    """
    return 0.0 if silent <= 0 else max(SHORTEST_PAUSE, _SHARE * silent) / (2 * pods if pods > 1 else 1)


def silent_for(baseline: Baseline, cell: Cell) -> float:
    """Seconds since CELL's requests last caused a call that met the fault, as far as its traces got; 0 where they all
    did: what `pause` wants to know.
    """
    made = [call for call in calls(cell, baseline.edges) if call.faulted]
    last = max((span.start for trace in cell.traces.values() for span in trace.spans), default=0.0)
    return max(0.0, last - max(call.span.end for call in made)) if made else 0.0


def enough(baseline: Baseline, cell: Cell) -> bool:
    """Whether CELL, as far as it got, decides the rule for each of its edges. baseline: of the control, made once.

    It does when every pod of A that served its requests has opened and was seen to open again after further calls, or
    has been silent for `LONGEST`, or failed `MOST_FAILURES` times in a row; or A's sidecar ejected a pod and called it
    again, or did not for `LONGEST`. Calls that the cell's requests do not lead to are not waited for.
    """
    if cell.injected is None:
        return True
    made = sorted(calls(cell, baseline.edges), key=lambda call: (call.span.start, call.span.span_id))
    asked = False
    for edge in baseline.edges:
        if not cell.injected.covers(edge):
            continue
        on_edge = [call for call in made if call.edge == edge]
        asked = asked or bool(on_edge)
        if _back(baseline, edge, on_edge):
            continue
        for said in operations(baseline, edge):
            if not all(_decided(pod) for pod in series(baseline, cell, edge, said, on_edge).values()):
                return False
    return asked


def opened(baseline: Baseline, cell: Cell) -> dict[tuple[Edge, str], float | None]:
    """The pods of A that CELL's requests have seen to stop calling, by edge and name, with the seconds until they
    called again; None where that was not seen.
    """
    if cell.injected is None:
        return {}
    made = sorted(calls(cell, baseline.edges), key=lambda call: (call.span.start, call.span.span_id))
    found: dict[tuple[Edge, str], float | None] = {}
    for edge in baseline.edges:
        if cell.injected.covers(edge):
            on_edge = [call for call in made if call.edge == edge]
            for said in operations(baseline, edge):
                for pod, each in series(baseline, cell, edge, said, on_edge).items():
                    if each.openings:
                        found[edge, pod] = each.openings[-1].most or each.openings[0].most
    return found


def called(baseline: Baseline, cell: Cell, edge: Edge) -> dict[str, float]:
    """By pod of EDGE's source, when the last request was sent for which it made a call that succeeded, in CELL."""
    found: dict[str, float] = {}
    for call in calls(cell, baseline.edges):
        if call.edge == edge and not call.failed and not call.faulted:
            found[call.span.pod] = max(found.get(call.span.pod, 0.0), call.answer.started)
    return found


def _decided(pod: Series) -> bool:
    if pod.stale or pod.unbroken >= MOST_FAILURES or any(opening.then for opening in pod.openings):
        return True
    return any(opening.most is None and opening.least >= LONGEST for opening in pod.openings)


def _back(baseline: Baseline, edge: Edge, made: Sequence[Call]) -> bool:
    """Whether ejected pods were called again, or were not for `LONGEST`."""
    found = [opening for opening, _, _ in ejected(baseline, edge, made)]
    last = max((call.span.start for call in made), default=0.0)
    return bool(found) and all(each.most is not None or last - each.at >= LONGEST for each in found)
