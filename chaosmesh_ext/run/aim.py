"""What one cell's requests are to show, and how far they are: see `volley`, which sends them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from typing import Final, Literal

from chaosmesh_ext.findings.operations import operation
from chaosmesh_ext.model import CONTROL, Answer, Injected, Marker, Span, Trace
from chaosmesh_ext.run.evidence import Shows, Watched, arrived, met
from chaosmesh_ext.run.hunt import LATEST
from chaosmesh_ext.run.proof import MOST
from chaosmesh_ext.run.traffic import Errand, Traffic

__all__ = ["TICK", "Aim", "Verdict"]

Verdict = Literal["met", "clean", "absent", "unknown"]
"""Of a trace. met: a watched call shows the fault. clean: there are watched calls, and none does. absent: it is whole
and has none. unknown: it may still show any of these.
"""

TICK: Final = 0.02
"""Seconds between two looks at answers, at most."""
_HELD: Final = 0.5
"""Seconds after which a request without an answer is taken to meet a fault, before its trace tells."""
_SOON: Final = 1.0
"""Seconds from a cell's first request, in which it is seen how many are held."""
_LIKELY: Final = 2
"""Requests that what was known before counts for, beside those of which it is seen whether they meet the fault."""
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
        share: float = 1.0,
        in_turn: bool = False,
    ) -> None:
        """ERRANDS: to send in turn. SHOWS: whether a call met the fault. INJECTED: None once it is out. MOST: requests
        of those that went by the fault are not counted while none met it. ARRIVES: it shows at the callee, so that a
        call tells nothing before its arrival is reported. KINDS: caller and operation of the calls of which WANT are to
        meet the fault each: one that its caller does not make once others have met it is not waited for. SHARE: of its
        requests that make a watched call, as far as healthy ones show: so many more are sent at once. IN_TURN: one at a
        time for each caller of KINDS, each followed by a control request, so that failures are seldom so many in a row
        that a breaker opens: each caller has its own.
        """
        self.marker, self.watched, self.injected = marker, watched, injected
        self.want, self.verdict, self.share = want, verdict, share
        self.answers: list[Answer] = []
        self.last = 0.0
        self.began = 0.0
        self._errands, self._shows, self._most, self._arrives = errands, shows, most, arrives
        self._lasts = injected.delay if injected is not None else 0.0
        self._open: dict[Future[Answer], float] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._kinds = {source: [said for one, said in kinds if one == source] for source, _ in kinds}
        self._met: dict[str, frozenset[tuple[str, str]]] = {}
        self._growing: set[str] = set()
        self.sent = 0
        self._due = 0.0
        self._pause = TICK
        self._lanes = max(1, len(self._kinds)) if in_turn else 0
        self._calm: set[Future[Answer]] = set()
        self._owed = 0

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
    def coming(self) -> list[Future[Answer]]:
        """The answers that are waited for, those to control requests in between too."""
        return [one for one in (*self._open, *self._calm) if not one.done()]

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
        if self.spent or now < self._due:
            return False
        if self._lanes and len(self._open) + sum(not one.done() for one in self._calm) >= self._lanes:
            return False
        if self.under_way < max(1, self.lacks):
            return not self.late(now, patience)
        hopes = self._hopes(now)
        return 2 * self.sent < self._most and self._likely(now) < hopes and not self.late(now, patience)

    def reserves(self, now: float) -> int:
        """Places that others are to leave at NOW: soon it is known how many of those under way are held by the fault,
        and one that begins later ends later.
        """
        if self.share >= 1 or not self._lasts or now - self.began > _SOON:
            return 0
        return max(0, self._hopes(now) - self.flying)

    def _hopes(self, now: float) -> int:
        """How many of those under way should come to count: at first a few more where it takes several callers."""
        several = sum(found < self.want for found in self._fewest.values()) - 1 if now - self.began <= _SOON else 0
        return self.lacks and self.lacks + 3 * max(0, several)

    def _likely(self, now: float) -> float:
        """How many of those under way will come to count. One that takes long is held by the fault already. Of the
        youngest it is a share, of all that were sent: those that miss it are back first. The share grows smaller as
        those that hang are avoided by whoever balances load.
        """
        old = now - _HELD
        unknown = self.of("unknown")
        held = sum(began <= old for began in self._open.values())
        held += sum(answer.duration > _HELD or answer.started <= old for answer in unknown)
        young = len(self._open) + len(unknown) - held
        known = [answer for answer in self.answers if self._verdicts.get(answer.trace_id, "unknown") != "unknown"]
        missed = sum(self._verdicts[answer.trace_id] == "absent" for answer in known if answer.started <= old)
        told = held + sum(answer.started <= old for answer in known)
        lately = [self._verdicts[answer.trace_id] != "absent" for answer in known if answer.started > old]
        share = (_LIKELY * self.share + told - missed) / (_LIKELY + told)
        return held + min(young, max(0.0, share * (young + len(lately)) - sum(lately)))

    def late(self, now: float, patience: float) -> bool:
        """Whether nothing counts though PATIENCE seconds have gone since its first request: nothing will any more."""
        return 0 < self.began <= now - patience and not self.of(self.verdict)

    def send(self, traffic: Traffic) -> None:
        """Send it."""
        self.began = self.began or time.time()
        if self._owed > len(self._open):  # one was answered, and no healthy one went after it
            self._owed -= 1
            errand = self._errands[self.sent % len(self._errands)]
            self._calm = {one for one in self._calm if not one.done()}
            self._calm.add(traffic.send(errand, Marker(self.marker.run, CONTROL)))
            return
        self._owed += bool(self._lanes)
        self._open[traffic.send(self._errands[self.sent % len(self._errands)], self.marker)] = time.time()
        self.sent += 1

    def collect(self) -> list[Answer]:
        """The answers that came since the last time."""
        came = [future for future in self._open if future.done()]
        for future in came:
            del self._open[future]
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
            # who makes no call any more may be back later: an application's breaker opens by what the fault did
            others = ("met", "clean") if self.verdict == "met" else ("met", "clean", "absent")
            if verdict in others and verdict != self.verdict and before == "unknown":
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
