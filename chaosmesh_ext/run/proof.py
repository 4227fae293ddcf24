"""Proof by traces (D4): the fault is live where it should be and nowhere else; afterwards it is gone.

Marked requests of our own are the witnesses. Those of the control, sent before and meanwhile, must meet no fault; of
the cell's, one must show the fault's flag on a call that was meant, and none on any other call.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Final, Protocol

import msgspec

from chaosmesh_ext.errors import LeftBehind, NotProven
from chaosmesh_ext.mesh import Fault
from chaosmesh_ext.model import Answer, Injected, Marker, Trace
from chaosmesh_ext.observe.traces import Expected, TraceSource, gather
from chaosmesh_ext.run.evidence import INJECTED, Watched, elsewhere, met
from chaosmesh_ext.run.traffic import Errand, Traffic, pace

__all__ = ["MOST", "Live", "Proof", "Prover", "TraceProver", "enough"]

MOST: Final = 40
"""Requests after which an edge that was not seen is given up (rules: cap 40; three versions are missed by three
requests 30 % of the time, since Istio balances by least requests)."""

_SURE: Final = 1e-4
"""The chance that a share of the requests, thought to be faulted, spares all that were sent."""

_CLEAN: Final = 3
"""Calls in a row that meet no fault after an undo; a workload may have several replicas."""

_NOBODY: Final = 10
"""Calls that must meet nothing to show that a fault for 0 % affects nobody."""

_CONTROLS: Final = 3
"""Control requests that must be clean while the fault is live."""

_POLL: Final = 0.03
"""Seconds between two looks at what came."""

_GROWS: Final = 1.0
"""Seconds after its answer during which a trace that is there is looked at again."""

_LATEST: Final = 8.0
"""Seconds that a trace may take to become visible: a proxy's and an SDK's default batches wait for 5 s."""


class Proof(msgspec.Struct, frozen=True):
    """That a fault is live, and how it is known.

    by: ``traces``, ``metrics`` or ``nothing``. live_after: seconds from the API's answer to the first request that met
    it was sent; None where nothing could be met or was asked. traces: ids that show it. requests: how many were sent
    to find out. objects: that carry it. replaces: the carrier that was preferred, and why it was not used.
    """

    run: str
    cell: str
    injected: Injected
    carrier: str
    objects: tuple[str, ...]
    by: str
    live_after: float | None = None
    traces: tuple[str, ...] = ()
    requests: int = 0
    replaces: str = ""


class Live(msgspec.Struct, frozen=True):
    """What a prover found. answers: those of the cell from the first one on that met the fault."""

    by: str
    live_after: float | None
    traces: tuple[str, ...]
    requests: int
    answers: tuple[Answer, ...] = ()
    controls: tuple[Answer, ...] = ()


class Prover(Protocol):
    """Proves one fault in one place."""

    def before(self) -> tuple[Answer, ...]:
        """See the call without the fault; the control's answers. Raises NotProven when it is not there, or faulted."""

    def live(self, written: float) -> Live:
        """See the fault, which was written at WRITTEN (epoch), where it should be and nowhere else, or NotProven."""

    def gone(self) -> float | None:
        """See the calls without the fault again; seconds that it took. Raises LeftBehind when it stays."""


def enough(percentage: float) -> int:
    """Requests of which one shows a fault for PERCENTAGE of them, but for a chance of one in ten thousand."""
    if percentage >= 100 or percentage <= 0:
        return 1
    return math.ceil(math.log(_SURE) / math.log(1 - percentage / 100))


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
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """EVERYBODY: requests of the control meet the fault too. TIMEOUT: seconds. STOPPED: give up now."""
        self._store, self._traffic, self._fault, self._watched = store, traffic, fault, watched
        self._errand = msgspec.structs.replace(errand, timeout=max(errand.timeout, fault.patience + errand.timeout))
        self._cell = marker
        self._control = Marker(marker.run, "0")
        self._everybody, self._timeout, self._stopped = everybody, timeout, stopped
        self._expected = Expected()
        self._foreign: frozenset[str] = frozenset()

    # --- before -------------------------------------------------------------------------------------------------------

    def before(self) -> tuple[Answer, ...]:
        """Send control requests until the call is seen; see `Prover`."""
        answers: list[Answer] = []
        traces: dict[str, Trace] = {}
        size = 1
        while len(answers) < MOST:
            batch = [self._traffic.send(self._errand, self._control) for _ in range(min(size, MOST - len(answers)))]
            new = [future.result() for future in batch]
            self._reached(new)
            answers += new
            traces.update(gather(self._store, new, expected=self._expected, timeout=_LATEST).traces)
            self._expected = Expected.of(traces.values())
            if any(self._watched.calls(trace) for trace in traces.values()):
                self._unfaulted(traces)
                return tuple(answers)
            if len(answers) >= 4 and not traces:
                raise NotProven(
                    f"the trace store has none of {len(answers)} marked requests to {self._errand.url}: is it this "
                    "mesh's (JAEGER_URL), and does the mesh trace?"
                )
            size *= 2
        raise NotProven(
            f"no call {self._watched} was seen in {len(answers)} requests to {self._errand.url}: "
            f"give a URL that leads to it; seen were {_edges(traces)}"
        )

    def _reached(self, answers: list[Answer]) -> None:
        if answers and all(answer.status == 0 for answer in answers):
            raise NotProven(
                f"{self._errand.url} does not answer: {answers[0].error}; is APP_URL right, and the mesh up?"
            )

    def _unfaulted(self, traces: dict[str, Trace]) -> None:
        faulted = list(met(self._watched, traces.values(), lambda span: not INJECTED.isdisjoint(span.flags)))
        if faulted:
            raise NotProven(
                f"calls {self._watched} meet a fault already (flags {','.join(sorted(faulted[0].flags))}, trace "
                f"{faulted[0].trace_id}): see `chaos mesh runs`, or look for the owner's own"
            )
        self._foreign = frozenset(elsewhere(traces.values(), None))

    # --- live ---------------------------------------------------------------------------------------------------------

    def live(self, written: float) -> Live:
        """Send requests of the cell until one meets the fault; see `Prover`."""
        hunt = _Hunt(self, self._cell, written)
        nobody = self._fault.percentage == 0
        shown: list[Answer] = []
        controls: list[Future[Answer]] = []
        slowest = min(0.25, self._timeout / max(enough(self._fault.percentage), _NOBODY * 4))
        beat = pace(0.5)
        next_control = written
        spare = 0 if self._everybody else 1
        for _ in hunt.rounds(written + self._timeout, slowest, spare=spare, stopped=self._stopped):
            if not self._everybody and time.time() >= next_control and len(controls) < MOST:
                controls.append(self._traffic.send(self._errand, self._control))
                next_control = time.time() + max(next(beat), 0.1)
            shown = [answer for answer in hunt.answers() if self._shows(hunt.traces.get(answer.trace_id))]
            if shown or (nobody and len(hunt.calls(0)) >= _NOBODY):
                break
        if not shown and not nobody:
            raise NotProven(self._never(hunt))
        if nobody and shown:
            raise NotProven(f"a fault for 0 % of the requests was met on {self._watched} (trace {shown[0].trace_id})")
        if nobody and not hunt.calls(0):
            raise NotProven(f"no call {self._watched} was seen in {hunt.sent} requests to {self._errand.url}")
        first = min((answer.started for answer in shown), default=written)
        hunt.finish()
        answers = tuple(sorted((a for a in hunt.answers() if a.started >= first), key=lambda answer: answer.started))
        clean = self._controls(controls, first)
        self._nowhere_else(hunt, clean)
        return Live(
            by="traces",
            live_after=max(first - written, 0.0) if shown else None,
            traces=tuple(answer.trace_id for answer in shown),
            requests=hunt.sent + len(clean),
            answers=answers,
            controls=clean,
        )

    def _shows(self, trace: Trace | None) -> bool:
        return trace is not None and any(met(self._watched, [trace], self._fault.shows_in))

    def _never(self, hunt: _Hunt) -> str:
        calls = hunt.calls(0)
        seen = (
            f"{len(calls)} calls {self._watched} went through without it" if calls else f"no call {self._watched} seen"
        )
        return (
            f"the fault was not met within {self._timeout:g} s: {seen} in {hunt.sent} marked requests to "
            f"{self._errand.url}; does the marker survive (tracestate forwarded), and are the sidecars in sync?"
        )

    def _controls(self, sent: list[Future[Answer]], first: float) -> tuple[Answer, ...]:
        """The control's answers, at least `_CONTROLS` of them sent while the fault was live."""
        if self._everybody:
            return ()
        answers = [future.result() for future in sent]
        late = [answer for answer in answers if answer.started >= first]
        more = [self._traffic.send(self._errand, self._control) for _ in range(_CONTROLS - len(late))]
        return tuple(answers + [future.result() for future in more])

    def _nowhere_else(self, hunt: _Hunt, controls: tuple[Answer, ...]) -> None:
        seen = gather(self._store, controls, expected=self._expected, timeout=_LATEST).traces
        if controls and not seen:
            raise NotProven(
                f"the trace store has none of {len(controls)} control requests: where else the fault is, is unknown"
            )
        wrong = {
            **elsewhere(hunt.traces.values(), self._watched),
            **elsewhere(seen.values(), None),
        }
        wrong = {call: trace for call, trace in wrong.items() if call not in self._foreign}
        if wrong:
            call, trace = next(iter(wrong.items()))
            others = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise NotProven(f"the fault meant for {self._watched} was also met on {call}{others} (trace {trace})")

    # --- gone ---------------------------------------------------------------------------------------------------------

    def gone(self) -> float | None:
        """Send requests of the cell until none meets the fault any more; see `Prover`."""
        began = time.time()
        hunt = _Hunt(self, self._cell, began)
        need = max(_CLEAN, min(enough(self._fault.percentage), MOST))
        still: dict[str, str] = {}
        last = 0.0
        for _ in hunt.rounds(began + self._timeout, min(0.1, self._timeout / need / 2), spare=0):
            for answer in hunt.answers():
                trace = hunt.traces.get(answer.trace_id)
                for span in met(self._watched, [trace] if trace else [], self._fault.shows_in):
                    still[str(span.workload)] = answer.trace_id
                    last = max(last, answer.started)
            if len(hunt.calls(last)) >= need:
                return max(last - began, 0.0)
        if len(hunt.calls(last)) >= _CLEAN:
            return max(last - began, 0.0)  # too slow an application for more
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


class _Hunt:
    """Marked requests sent one after the other, and their traces as they come."""

    def __init__(self, prover: TraceProver, marker: Marker, began: float) -> None:
        self._prover, self._marker, self._began = prover, marker, began
        self._open: list[Future[Answer]] = []
        self._done: list[Answer] = []
        self._came: dict[str, float] = {}
        self.traces: dict[str, Trace] = {}

    @property
    def sent(self) -> int:
        """Requests sent so far."""
        return len(self._open) + len(self._done)

    def answers(self) -> list[Answer]:
        """The answers that came, in the order of arrival."""
        return self._done

    def calls(self, since: float) -> list[str]:
        """The traces with a watched call, of requests that were sent after SINCE (epoch) and show no fault."""
        prover = self._prover
        return [
            answer.trace_id
            for answer in self._done
            if answer.started > since
            and (trace := self.traces.get(answer.trace_id)) is not None
            and prover._watched.calls(trace)
            and not prover._shows(trace)
        ]

    def rounds(
        self, deadline: float, slowest: float, *, spare: int, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Send until DEADLINE, then wait for what is under way and its traces; one look at it all after the other.

        SPARE: places in the budget to leave free. STOPPED: give up now.
        """
        prover = self._prover
        pauses, due = pace(slowest), self._began
        room = max(prover._traffic.budget - spare, 1)
        ended: float | None = None
        while True:
            now = time.time()
            if stopped():
                raise NotProven("the run was stopped before the proof was complete")
            if now >= due and now < deadline and len(self._open) < room:
                self._open.append(prover._traffic.send(prover._errand, self._marker))
                due = now + next(pauses)
            self._collect()
            yield
            if now >= deadline and not self._open:
                ended = now if ended is None else ended
                waits = any(answer.trace_id not in self.traces for answer in self._done[-room:])
                if now - ended > (_LATEST if waits else 1.0):
                    return
            time.sleep(_POLL)

    def finish(self) -> None:
        """Wait for the requests under way, and for their traces as long as is usual."""
        self._took([(future, future.result()) for future in self._open])
        lacking = [answer for answer in self._done if answer.trace_id not in self.traces]
        self.traces.update(gather(self._prover._store, lacking, timeout=2.0).traces)
        self._look()

    def _took(self, came: list[tuple[Future[Answer], Answer]]) -> None:
        gone = {future for future, _ in came}
        self._open = [future for future in self._open if future not in gone]
        for _, answer in came:
            self._done.append(answer)
            self._came[answer.trace_id] = time.time()

    def _collect(self) -> None:
        self._took([(future, future.result()) for future in self._open if future.done()])
        self._look()

    def _look(self) -> None:
        """Ask for the traces that may still grow: their parts arrive in any order."""
        now = time.time()
        young = [
            trace_id
            for trace_id, came in self._came.items()
            if now - came < (_GROWS if trace_id in self.traces else _LATEST)
        ]
        if young:
            self.traces.update(self._prover._store.many(young[-MOST:]))


def _edges(traces: dict[str, Trace]) -> str:
    seen = {f"{span.workload} → {span.peer}" for trace in traces.values() for span in trace.calls()}
    return ", ".join(sorted(seen)) or "no calls at all"
