"""The requests of many cells at once, within one budget, and their traces, asked for together.

Each cell wants some of its requests to show something. Which way a request goes is the mesh's choice, and a fault that
was just written may not be there yet: for one that did not show it, another one is sent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Final, Literal

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.findings.operations import operation
from chaosmesh_ext.model import Answer, Injected, Marker, Span, Trace
from chaosmesh_ext.observe.traces import Expected, Gathering, TraceSource
from chaosmesh_ext.run.canary import Canary
from chaosmesh_ext.run.evidence import Shows, Watched, arrived, met
from chaosmesh_ext.run.hunt import LATEST
from chaosmesh_ext.run.proof import MOST
from chaosmesh_ext.run.traffic import Errand, Traffic

__all__ = ["Aim", "Verdict", "Volley"]

Verdict = Literal["met", "clean", "absent", "unknown"]
"""Of a trace. met: a watched call shows the fault. clean: there are watched calls, and none does. absent: it is whole
and has none. unknown: it may still show any of these.
"""

_TICK: Final = 0.02
"""Seconds between two looks at answers."""
_LOOK: Final = 0.05
"""Seconds between two questions for traces, at least; a slow store is asked less often."""
_SLOWEST: Final = 0.25
"""Seconds between two requests of a cell that go by a fault that is not there yet, at most."""


class Aim:
    """What one cell's requests are to show.

    want: so many of them, and of each kind. verdict: that counts. answers: to all requests, in the order of arrival.
    sent: how many were sent. last: when the last request began that met the fault, for a verdict that counts only
    afterwards; 0 where it counts always.
    """

    def __init__(
        self,
        marker: Marker,
        errands: Sequence[Errand],
        *,
        watched: Watched,
        shows: Shows,
        injected: Injected | None,
        want: int,
        verdict: Verdict = "met",
        most: int = MOST,
        arrives: bool = False,
        kinds: Collection[tuple[str, str]] = (),
    ) -> None:
        """ERRANDS: to send in turn. SHOWS: whether a call met the fault. INJECTED: None once it is out. MOST: requests
        of those that went by the fault are not counted while none met it. ARRIVES: it shows at the callee, so that a
        call tells nothing before its arrival is reported. KINDS: caller and operation of the calls of which WANT are to
        meet the fault each: one that its caller does not make once others have met it is not waited for.
        """
        self.marker, self.watched, self.injected = marker, watched, injected
        self.want, self.verdict = want, verdict
        self.answers: list[Answer] = []
        self.last = 0.0
        self.began = 0.0
        self._errands, self._shows, self._most, self._arrives = errands, shows, most, arrives
        self._lasts = injected.delay if injected is not None else 0.0
        self._open: list[Future[Answer]] = []
        self._verdicts: dict[str, Verdict] = {}
        self._kinds = {source: [said for one, said in kinds if one == source] for source, _ in kinds}
        self._met: dict[str, frozenset[tuple[str, str]]] = {}
        self._growing: set[str] = set()
        self.sent = 0
        self._due = 0.0
        self._pause = _TICK

    # --- what is known ------------------------------------------------------------------------------------------------

    def of(self, verdict: Verdict) -> list[Answer]:
        """The answers of which that is the VERDICT, and that count."""
        return [
            one
            for one in self.answers
            if self._verdicts.get(one.trace_id, "unknown") == verdict
            and (verdict == "met" or self.verdict == "met" or one.started > self.last)
        ]

    @property
    def got(self) -> int:
        """How many count, of the kind of which there are the fewest."""
        every = len(self.of(self.verdict))
        return min([every, *self._fewest.values()])

    @property
    def lacks(self) -> int:
        """How many more requests it takes at least; each meets the calls of one caller."""
        fewest = self._fewest
        return sum(max(0, self.want - found) for found in fewest.values()) if fewest else max(0, self.want - self.got)

    @property
    def _fewest(self) -> dict[str, int]:
        """By caller, how often that of its operations was met that was met most rarely, less those that are hidden."""
        if not self._kinds:
            return {}
        seen = Counter(kind for kinds in self._met.values() for kind in kinds)
        found = {}
        for source, operations in self._kinds.items():
            counts = [seen[source, each] for each in operations]
            enough = max(counts) >= self.want
            found[source] = min(count for count in counts if count or not enough)
        return found

    @property
    def under_way(self) -> int:
        """How many may come to count: without an answer, or without a trace that tells."""
        return len(self._open) + len(self.of("unknown"))

    @property
    def flying(self) -> int:
        """Requests without an answer."""
        return len(self._open)

    @property
    def spent(self) -> bool:
        """No more requests may be sent: as many as are allowed were."""
        early = 0 if self.verdict == "met" and self.of("met") else len(self.of("clean"))
        return self.sent - (early if self.verdict == "met" else 0) >= self._most

    def met_calls(self, traces: dict[str, Trace]) -> Iterator[Span]:
        """The watched calls in TRACES of its requests that met the fault."""
        mine = (traces[one.trace_id] for one in self.answers if one.trace_id in traces)
        return met(self.watched, mine, self._shows)

    # --- what happens -------------------------------------------------------------------------------------------------

    def sends(self, now: float, patience: float) -> bool:
        """Whether one more request should be sent at NOW, for what there is is not enough; see `late` for PATIENCE."""
        if self.under_way >= max(1, self.lacks) or self.spent or now < self._due:
            return False
        return not self.late(now, patience)

    def late(self, now: float, patience: float) -> bool:
        """Whether nothing counts though PATIENCE seconds have gone since its first request: nothing will any more."""
        return 0 < self.began <= now - patience and not self.of(self.verdict)

    def send(self, traffic: Traffic) -> None:
        """Send it."""
        self.began = self.began or time.time()
        self._open.append(traffic.send(self._errands[self.sent % len(self._errands)], self.marker))
        self.sent += 1

    def collect(self) -> list[Answer]:
        """The answers that came since the last time."""
        came = [future for future in self._open if future.done()]
        self._open = [future for future in self._open if future not in came]
        new = [future.result() for future in came if not future.cancelled()]
        self.answers += new
        return new

    def judge(self, traces: dict[str, Trace], waiting: Collection[str], now: float) -> None:
        """See what TRACES say by now; those WAITING are not whole yet."""
        for answer in self.answers:
            before = self._verdicts.get(answer.trace_id, "unknown")
            trace = traces.get(answer.trace_id)
            if before == "met" and trace is not None and (self._kinds and answer.trace_id in self._growing):
                self._kinds_in(trace, growing=answer.trace_id in waiting)
            if before == "met" or (before != "unknown" and answer.trace_id not in waiting):
                continue
            verdict = self._verdict(trace, whole=answer.trace_id not in waiting) if trace else "unknown"
            if verdict == "unknown" and now - answer.started - answer.duration > LATEST + self._lasts:
                verdict = "absent"  # the store has lost it, or a part of it
            self._verdicts[answer.trace_id] = verdict
            if verdict == "met" and trace is not None:
                self.last = max(self.last, answer.started)
                self._kinds_in(trace, growing=answer.trace_id in waiting)
            if verdict in ("met", "clean") and verdict != self.verdict and before == "unknown":
                self._due, self._pause = now + self._pause, min(self._pause * 1.5, _SLOWEST)

    def _kinds_in(self, trace: Trace, *, growing: bool) -> None:
        """See which kinds of calls met the fault in TRACE; GROWING: more may come."""
        if not self._kinds:
            return
        spans = met(self.watched, [trace], self._shows)
        self._met[trace.trace_id] = frozenset((str(span.workload), operation(span)) for span in spans)
        (self._growing.add if growing else self._growing.discard)(trace.trace_id)

    def _verdict(self, trace: Trace, *, whole: bool) -> Verdict:
        if any(met(self.watched, [trace], self._shows)):
            return "met"
        calls = self.watched.calls(trace)
        if calls and (whole or not self._arrives or all(arrived(call, trace) for call in calls)):
            return "clean"
        return "absent" if whole else "unknown"


class Volley:
    """Sends for many `Aim`s at once until each has what it wants, or cannot.

    traces: what came, by id. expected: by URL, what the control's traces hold.
    """

    def __init__(
        self,
        store: TraceSource,
        traffic: Traffic,
        *,
        expected: Mapping[str, Expected],
        stopped: Callable[[], bool],
        canary: Canary | None = None,
    ) -> None:
        self._traffic, self._stopped, self._canary = traffic, stopped, canary
        self._gathering = Gathering(store, expected=expected)

    @property
    def traces(self) -> dict[str, Trace]:
        """Those that came, whole or not."""
        return self._gathering.traces

    def fly(
        self,
        aims: Sequence[Aim],
        *,
        patience: float,
        enough: Callable[[Aim], bool] = lambda aim: aim.got >= aim.want,
        seen: Callable[[], None] = lambda: None,
    ) -> None:
        """Send until each of AIMS has ENOUGH, is spent, or shows nothing PATIENCE seconds after its first request, then
        wait for what is under way and its traces. SEEN is called after each look at traces.

        Raises Inconclusive when the run was stopped, or the canary says to; Unreachable when the store is gone.
        """
        look, most = 0.0, max(1, self._traffic.budget - 1)  # one place is the canary's
        whole = False
        try:
            while True:
                now = time.time()
                self._may_go_on()
                for aim in aims:
                    for answer in aim.collect():
                        self._gathering.add(answer, aim.injected)
                if now >= look:
                    self._gathering.look()
                    look = time.time() + max(_LOOK, time.time() - now)
                    for aim in aims:
                        aim.judge(self.traces, self._gathering.waiting, now)
                    seen()
                self._send(aims, now, patience, most, enough)
                if all(self._over(aim, now, patience, enough) for aim in aims):
                    whole = True
                    return
                time.sleep(_TICK)
        finally:
            if not whole:
                self._traffic.abandon()
                for aim in aims:
                    aim.collect()

    def _may_go_on(self) -> None:
        if self._stopped():
            raise Inconclusive("the run was stopped before the wave was through")
        if self._canary is not None and self._traffic.budget > 1:
            self._canary.look()
            if self._canary.stops:
                raise Inconclusive(self._canary.stops)

    def _send(self, aims: Sequence[Aim], now: float, patience: float, most: int, enough: Callable[[Aim], bool]) -> None:
        """One for each of AIMS in turn, as long as there is room; first for those that had the fewest."""
        room = self._canary.room(most) if self._canary is not None else most
        flying = sum(aim.flying for aim in aims)
        while flying < room:
            sent = 0
            for aim in sorted(aims, key=lambda each: each.sent):
                if flying < room and not enough(aim) and aim.sends(now, patience):
                    aim.send(self._traffic)
                    flying, sent = flying + 1, sent + 1
            if not sent:
                return

    @staticmethod
    def _over(aim: Aim, now: float, patience: float, enough: Callable[[Aim], bool]) -> bool:
        if aim.flying:
            return False
        if enough(aim):
            return True
        return not aim.under_way and (aim.spent or aim.late(now, patience))
