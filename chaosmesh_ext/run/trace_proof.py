"""Proof by traces: marked requests of our own are the witnesses.

Those of the control, sent before and meanwhile, must meet no fault; of the cell's, one must show the fault's flag on a
call that was meant, and none on any other call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, Protocol, runtime_checkable

import msgspec

from chaosmesh_ext.errors import LeftBehind, NotProven
from chaosmesh_ext.mesh import Fault
from chaosmesh_ext.model import CONTROL, Answer, Marker, Span, Trace
from chaosmesh_ext.observe.traces import FLUSH, QUIET, Expected, TraceSource, gather
from chaosmesh_ext.run.cases import IN_A_ROW, Case, answered, statuses
from chaosmesh_ext.run.evidence import Shows, Watched, elsewhere, met
from chaosmesh_ext.run.healthy import Healthy, healthy
from chaosmesh_ext.run.hunt import LATEST, Hunt
from chaosmesh_ext.run.proof import MOST, Live, enough
from chaosmesh_ext.run.traffic import Errand, Traffic, pace

__all__ = ["Caused", "TraceProver"]

_CLEAN: Final = 3
"""Calls in a row that meet no fault after an undo, or that give no cause for one; there may be several replicas."""

_NOBODY: Final = 10
"""Calls that must meet nothing to show that a fault for 0 % affects nobody."""

_GLIMPSE: Final = 2.0
"""Seconds during which a fault that is met rarely is looked for in requests of our own."""

_BRISK: Final = 0.01
"""Seconds between two requests: a hundred in a second are enough for an application that serves others too."""

_CONTROLS: Final = 3
"""Control requests that must be clean while the fault is live."""


@runtime_checkable
class Caused(Fault, Protocol):
    """A fault that is met rarely, and only after calls of a certain kind."""

    def leads(self, span: Span) -> bool:
        """Whether calls like SPAN, the CLIENT span of a watched one, may lead to it."""


class TraceProver:
    """Proof by the traces of marked requests to one URL that leads to the call."""

    def __init__(
        self,
        store: TraceSource,
        traffic: Traffic,
        errand: Errand,
        *,
        fault: Fault,
        watched: Watched,
        marker: Marker,
        everybody: bool,
        timeout: float,
        shows: Shows | None = None,
        beside: Sequence[Watched] = (),
        taken: Callable[[float], None] | None = None,
        stopped: Callable[[], bool] = lambda: False,
        lingers: bool = False,
        cases: Sequence[Case] = (),
        known: MutableMapping[str, Expected] | None = None,
    ) -> None:
        """EVERYBODY: requests of the control meet the fault too. TIMEOUT: seconds. SHOWS: how the fault shows in a
        call, where not as it says itself. BESIDE: calls on which the run's requests may meet other faults of it. TAKEN:
        for a fault that is met rarely: sees that every sidecar took what was written then, or raises NotProven.
        STOPPED: give up now. LINGERS: a request on a warm connection may meet what was before. CASES: what else must be
        answered. KNOWN: see `healthy`.
        """
        self._lingers, self._cases = lingers, cases
        self._beside, self._taken = beside, taken
        self._shown = shows or fault.shows_in
        self._store, self._traffic, self._fault, self._watched = store, traffic, fault, watched
        self._errand = msgspec.structs.replace(errand, timeout=max(errand.timeout, fault.patience + errand.timeout))
        self._cell = marker
        self._control = Marker(marker.run, CONTROL)
        self._everybody, self._timeout, self._stopped = everybody, timeout, stopped
        self._healthy, self._known = Healthy(), {} if known is None else known
        self._callers: frozenset[str] = frozenset()

    @property
    def expected(self) -> Expected:
        """What traces of requests without the fault hold, once `before` saw some."""
        return self._healthy.expected

    # --- before -------------------------------------------------------------------------------------------------------

    def before(self) -> tuple[Answer, ...]:
        """Send control requests until the call is seen; see `Prover`."""
        self._healthy = healthy(
            self._store, self._traffic, self._errand, self._control, self._watched, self._shown, self._known
        )
        return self._healthy.answers

    # --- live ---------------------------------------------------------------------------------------------------------

    def live(self, written: float) -> Live:
        """Send requests of the cell until one meets the fault; see `Prover`."""
        hunt = self._hunt(written)
        nobody = self._fault.percentage == 0
        shown: list[Answer] = []
        controls: list[Future[Answer]] = []
        need = enough(self._fault.percentage)

        def slowest() -> float:
            """Often enough that as many calls as are needed to meet a share of them are made in time."""
            return max(min(0.25, self._timeout / max(need / hunt.reach, _NOBODY * 4)), _BRISK)

        beat = pace(lambda: 0.5)
        next_control = written
        spare = 0 if self._everybody else 1
        patience = self._timeout if self._taken is None else min(_GLIMPSE, self._timeout)
        for _ in hunt.rounds(written + patience, slowest, spare=spare, stopped=self._stopped):
            if not self._everybody and time.time() >= next_control and len(controls) < MOST:
                controls.append(self._traffic.send(self._errand, self._control))
                next_control = time.time() + max(next(beat), 0.1)
            shown = [answer for answer in hunt.answers() if self._shows(hunt.traces.get(answer.trace_id))]
            if (shown and self._settled(hunt)) or (nobody and len(hunt.calls(0)) >= _NOBODY) or self._causeless(hunt):
                break
        if not shown and self._taken is not None:
            return self._unmet(hunt, written, controls)
        if not shown and not nobody:
            raise NotProven(self._never(hunt))
        if nobody and shown:
            raise NotProven(f"a fault for 0 % of the requests was met on {self._watched} (trace {shown[0].trace_id})")
        if nobody and not hunt.calls(0):
            raise NotProven(f"no call {self._watched} was seen in {hunt.sent} requests to {self._errand.url}")
        if shown and not self._settled(hunt):
            raise NotProven(f"the fault was met, but not by all calls {self._watched} within {self._timeout:g} s")
        first = min((answer.started for answer in shown), default=written)
        hunt.finish()
        self._callers = frozenset(str(span.workload) for span in met(self._watched, hunt.traces.values(), self._shown))
        answers = tuple(sorted((a for a in hunt.answers() if a.started >= first), key=lambda answer: answer.started))
        self._answer_cases()
        clean = self._controls(controls, first)
        self._nowhere_else(hunt, clean, first)
        return Live(
            by="traces",
            live_after=max(first - written, 0.0) if shown else None,
            traces=tuple(answer.trace_id for answer in shown),
            requests=hunt.sent + len(clean),
            answers=answers,
            controls=clean,
        )

    def _answer_cases(self) -> None:
        for case in self._cases:
            send = partial(self._traffic.send, marker=self._cell)
            ask = partial(statuses, store=self._store, send=send, calls=self._watched.calls, timeout=LATEST)
            answered(
                case,
                self._errand,
                ask,
                self._healthy.statuses,
                about=self._watched,
                timeout=self._timeout,
                stopped=self._stopped,
            )

    def _settled(self, hunt: Hunt) -> bool:
        """Whether the last calls all met the fault, where a warm connection may still meet what was before."""
        if not self._lingers:
            return True
        told = [trace for answer in hunt.answers() if (trace := hunt.traces.get(answer.trace_id)) is not None]
        last = [trace for trace in told if self._watched.calls(trace)][-IN_A_ROW:]
        return len(last) == IN_A_ROW and all(map(self._shows, last))

    def _causeless(self, hunt: Hunt) -> bool:
        """Whether no call is about to meet the fault, as the last ones give no cause for it."""
        if self._taken is None or not isinstance(self._fault, Caused):
            return False
        last = [span for one in hunt.calls(0)[-_CLEAN:] for span in self._watched.calls(hunt.traces[one])]
        return len(last) >= _CLEAN and not any(map(self._fault.leads, last))

    def _unmet(self, hunt: Hunt, written: float, controls: list[Future[Answer]]) -> Live:
        """A fault that is met rarely, and that none of our requests met: that it is there is known by other means."""
        assert self._taken is not None  # noqa: S101
        hunt.finish()
        if not hunt.calls(0):
            raise NotProven(f"no call {self._watched} was seen in {hunt.sent} requests to {self._errand.url}")
        self._taken(written)
        clean = self._controls(controls, written)
        self._nowhere_else(hunt, clean, written)
        return Live("sync", None, (), hunt.sent + len(clean), tuple(hunt.answers()), clean)

    def _hunt(self, began: float) -> Hunt:
        return Hunt(
            self._store,
            self._traffic,
            self._errand,
            self._cell,
            watched=self._watched,
            shows=self._shows,
            began=began,
            burst=self._fault.burst if self._taken is None else min(self._fault.burst, self._traffic.budget),
        )

    def _shows(self, trace: Trace | None) -> bool:
        return trace is not None and any(met(self._watched, [trace], self._shown))

    def _never(self, hunt: Hunt) -> str:
        calls = hunt.calls(0)
        seen = (
            f"{len(calls)} calls {self._watched} went through without it" if calls else f"no call {self._watched} seen"
        )
        asked = f"is {dict(self._watched.match)} what those calls are like, " if self._watched.match else ""
        return (
            f"the fault was not met within {self._timeout:g} s: {seen} in {hunt.sent} marked requests to "
            f"{self._errand.url}; {asked}does the marker survive (tracestate forwarded), and are the sidecars in sync?"
        )

    def _controls(self, sent: list[Future[Answer]], first: float) -> tuple[Answer, ...]:
        """The control's answers, at least `_CONTROLS` of them sent while the fault was live."""
        if self._everybody:
            return ()
        answers = [future.result() for future in sent]
        late = [answer for answer in answers if answer.started >= first]
        more = [self._traffic.send(self._errand, self._control) for _ in range(_CONTROLS - len(late))]
        return tuple(answers + [future.result() for future in more])

    def _nowhere_else(self, hunt: Hunt, controls: tuple[Answer, ...], first: float) -> None:
        """FIRST: when the fault was first met. Traces that are old enough to be whole are not waited for."""
        old = [answer for answer in controls if time.time() - answer.started - answer.duration > QUIET + FLUSH]
        if sum(answer.started >= first for answer in old) >= _CONTROLS:
            seen = self._store.many([answer.trace_id for answer in old])
        else:
            seen = dict(gather(self._store, controls, expected=self._healthy.expected, timeout=LATEST).traces)
        if controls and not seen:
            raise NotProven(
                f"the trace store has none of {len(controls)} control requests: where else the fault is, is unknown"
            )
        wrong = {
            **elsewhere(hunt.traces.values(), (self._watched, *self._beside), self._shown),
            **elsewhere(seen.values(), (), self._shown),
        }
        wrong = {call: trace for call, trace in wrong.items() if call not in self._healthy.foreign}
        if wrong:
            call, trace = next(iter(wrong.items()))
            others = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise NotProven(f"the fault meant for {self._watched} was also met on {call}{others} (trace {trace})")

    # --- gone ---------------------------------------------------------------------------------------------------------

    def gone(self) -> float | None:
        """Send requests of the cell until none meets the fault any more, from any caller that met it; see `Prover`."""
        began = time.time()
        hunt = self._hunt(began)
        need = max(IN_A_ROW if self._lingers else _CLEAN, min(enough(self._fault.percentage), MOST))
        still: dict[str, str] = {}
        last = 0.0
        for _ in hunt.rounds(began + self._timeout, lambda: min(0.1, self._timeout / need / 8), spare=0):
            for answer in hunt.answers():
                trace = hunt.traces.get(answer.trace_id)
                for span in met(self._watched, [trace] if trace else [], self._shown):
                    still[str(span.workload)] = answer.trace_id
                    last = max(last, answer.started)
            if len(hunt.calls(last)) >= need and not self._unseen(hunt, last):
                return max(last - began, 0.0)
        unseen = self._unseen(hunt, last)
        if len(hunt.calls(last)) >= _CLEAN and not unseen:
            return max(last - began, 0.0)  # too slow an application for more
        if not still and unseen and len(hunt.calls(last)) >= _CLEAN:
            raise LeftBehind(
                f"the fault on {self._watched} was removed, but could not be shown to be gone from "
                f"{', '.join(sorted(unseen))}, which met it: no call of theirs in {hunt.sent} requests to "
                f"{self._errand.url}"
            )
        if not still:
            raise LeftBehind(
                f"the fault on {self._watched} was removed, but could not be shown to be gone: {len(hunt.calls(last))} "
                f"calls were seen in {hunt.sent} requests to {self._errand.url}, too few to tell"
            )
        where = "; ".join(f"{proxy} (trace {trace})" for proxy, trace in sorted(still.items()))
        raise LeftBehind(
            f"the fault on {self._watched} was removed, but these proxies still inject it after {self._timeout:g} s: "
            f"{where}; are they in sync with istiod (`istioctl proxy-status`)?"
        )

    def _unseen(self, hunt: Hunt, last: float) -> frozenset[str]:
        """Callers that met the fault, and of which no clean call was seen after LAST."""
        clean = {str(span.workload) for found in hunt.calls(last) for span in self._watched.calls(hunt.traces[found])}
        return self._callers - clean
