"""Proof by what is absent from traces: of calls whose trace breaks, the other side is in no trace of ours.

What is not there may only be late. So only traces that are whole are looked at, by the same word as everywhere else
(`observe.traces.gather`): nothing new came for a second, and what has ended had a second to arrive. In a mesh whose
proxies send spans less often than that, absence proves nothing, and neither does this.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import ClassVar, Final, Protocol, runtime_checkable

from chaosmesh_ext.errors import LeftBehind, NotProven
from chaosmesh_ext.mesh import Fault
from chaosmesh_ext.model import Answer, Marker, Trace
from chaosmesh_ext.observe.traces import gather
from chaosmesh_ext.run.evidence import elsewhere
from chaosmesh_ext.run.hunt import LATEST
from chaosmesh_ext.run.proof import Live
from chaosmesh_ext.run.trace_proof import TraceProver

__all__ = ["AbsenceProver", "Absent"]

_AT_ONCE: Final = 5
"""Requests of a round: a listener changed, and one request on each warm connection may still meet what was before."""


@runtime_checkable
class Absent(Fault, Protocol):
    """A fault that shows in what is not in a trace; absent: True."""

    absent: ClassVar[bool]


class AbsenceProver(TraceProver):
    """As `TraceProver`, for a fault that shows in what is not in a trace."""

    def live(self, written: float) -> Live:
        """Send rounds of requests until every call of one shows the fault; see `Prover`."""
        while True:
            began = time.time()
            answers, traces = self._round(self._cell)
            calls = [span for trace in traces.values() for span in self._watched.calls(trace)]
            if calls and all(self._shown(span, traces[span.trace_id]) for span in calls):
                break
            if self._stopped() or began > written + self._timeout:
                raise NotProven(
                    f"the fault was not met by all calls {self._watched} within {self._timeout:g} s: {len(calls)} were "
                    f"seen in {len(answers)} marked requests to {self._errand.url}; are the sidecars in sync?"
                )
        self._callers = frozenset(str(span.workload) for span in calls)
        clean: tuple[Answer, ...] = ()
        seen: dict[str, Trace] = {}
        if not self._everybody:
            clean, seen = self._round(self._control)
        wrong = {**self._wrong(traces.values(), mine=True), **self._wrong(seen.values(), mine=False)}
        if wrong:
            call, trace = next(iter(wrong.items()))
            raise NotProven(f"the fault meant for {self._watched} was also met on {call} (trace {trace})")
        return Live(
            by="traces",
            live_after=max(began - written, 0.0),
            traces=tuple(traces),
            requests=len(answers) + len(clean),
            answers=answers,
            controls=clean,
        )

    def gone(self) -> float | None:
        """Send rounds of requests until no call of one shows the fault, from any caller that met it; see `Prover`."""
        began = time.time()
        while True:
            sent = time.time()
            _, traces = self._round(self._cell)
            calls = [span for trace in traces.values() for span in self._watched.calls(trace)]
            still = [span for span in calls if self._shown(span, traces[span.trace_id])]
            if calls and not still and self._callers <= {str(span.workload) for span in calls}:
                return sent - began
            if time.time() > began + self._timeout:
                where = "; ".join(sorted({f"{span.workload} (trace {span.trace_id})" for span in still}))
                raise LeftBehind(
                    f"the fault on {self._watched} was removed, but could not be shown to be gone within "
                    f"{self._timeout:g} s: {where or f'{len(calls)} calls were seen'}; see `istioctl proxy-status`"
                )

    def _round(self, marker: Marker) -> tuple[tuple[Answer, ...], dict[str, Trace]]:
        """A few requests one after the other, and their traces once they are whole."""
        answers = tuple(self._traffic.send(self._errand, marker).result() for _ in range(_AT_ONCE))
        return answers, dict(gather(self._store, answers, timeout=LATEST).traces)

    def _wrong(self, traces: Iterable[Trace], *, mine: bool) -> dict[str, str]:
        found = elsewhere(traces, (self._watched, *self._beside) if mine else (), self._shown)
        return {call: trace for call, trace in found.items() if call not in self._healthy.foreign}
