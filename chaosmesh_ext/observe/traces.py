"""Where traces come from, and the wait until those that were asked for are complete (`observe.wholeness`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from chaosmesh_ext.model import Answer, Injected, Trace
from chaosmesh_ext.observe.reach import Target
from chaosmesh_ext.observe.wholeness import FLUSH, QUIET, Expected, Free, calls_of, ended, missing, settled

__all__ = [
    "FLUSH",
    "QUIET",
    "Expected",
    "Free",
    "Gathered",
    "Gathering",
    "TraceSource",
    "calls_of",
    "gather",
    "gather_all",
    "missing",
]

_FIRST_PAUSE: Final = 0.02
_LAST_PAUSE: Final = 0.1
_PATIENCE: Final = 10.0
"""Seconds that a trace may take, and twice the delay that it met: a caller may try a slow call again."""


class TraceSource(Protocol):
    """A store of traces. Every method raises Unreachable when the store does not answer, or not with sense.

    name: Jaeger, Zipkin or Tempo. url: where it is, without anything secret. target: how it is reached.
    """

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def target(self) -> Target: ...

    def services(self) -> list[str]:
        """The store's names of the services that have spans, sorted."""

    def trace(self, trace_id: str) -> Trace | None:
        """The trace with this id, or None."""

    def many(self, ids: Iterable[str]) -> dict[str, Trace]:
        """The traces with these ids, by id; those that the store does not have are absent."""

    def search(self, service: str, *, start: float, end: float, operation: str = "", limit: int = 100) -> list[Trace]:
        """Traces with a span of SERVICE (the store's name for it) that began from START to END, seconds since the
        epoch; of more than LIMIT the newest.
        """


class Gathered(msgspec.Struct, frozen=True):
    """Traces by id, the incomplete ones too, and for each id that is not complete the reason."""

    traces: Mapping[str, Trace]
    incomplete: Mapping[str, str]


class Gathering:
    """Traces that are waited for, each with the fault that its request met.

    traces: that came, the incomplete ones too, by id. reasons: why one that is waited for is not complete.
    """

    def __init__(
        self,
        source: TraceSource,
        *,
        expected: Expected | Mapping[str, Expected] | None = None,
        quiet: float = QUIET,
        flush: float = FLUSH,
        again: bool = True,
        free: Free | None = None,
        known: Gathering | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """As `gather_all`."""
        self._source, self._quiet, self._flush, self._clock = source, quiet, flush, clock
        self._again, self._free = again, free
        self.expected = expected
        self.traces: dict[str, Trace] = known.traces if known is not None else {}
        self.reasons: dict[str, str] = {}
        self._waiting: dict[str, tuple[Answer, Injected | None]] = {}
        self._changed: dict[str, float] = known._changed if known is not None else {}

    @property
    def waiting(self) -> frozenset[str]:
        """The traces that are not complete yet."""
        return frozenset(self._waiting)

    @property
    def unseen(self) -> bool:
        """Whether there are some of which no span came yet."""
        return not self._waiting.keys() <= self.traces.keys()

    @property
    def quiet_at(self) -> float:
        """When the first of those that are waited for has been quiet for long enough, if it stays so; infinite where
        none has come.
        """
        changed = (self._changed[one] + self._quiet for one in self._waiting if one in self._changed)
        now = self._clock()
        return min((at for at in changed if at > now), default=math.inf)

    def add(self, answer: Answer, injected: Injected | None = None) -> None:
        """Wait for the trace of ANSWER, too, whose request was for what is INJECTED."""
        if answer.trace_id:
            self._waiting[answer.trace_id] = answer, injected

    def look(self) -> bool:
        """Ask once for all that are waited for; whether a new one came, or a known one grew. Raises Unreachable."""
        if not self._waiting:
            return False
        found = self._source.many(list(self._waiting))
        now, grew = self._clock(), False
        for trace_id, (answer, injected) in list(self._waiting.items()):
            trace = found.get(trace_id)
            if trace is None:
                self.reasons[trace_id] = "the trace store has no span of it"
                continue
            before = self.traces.get(trace_id)
            if before is None:
                self._changed[trace_id], grew = min(now, ended(trace, answer) + self._flush), True
            elif len(before.spans) != len(trace.spans):
                self._changed[trace_id], grew = now, True
            self.traces[trace_id] = trace
            if reason := self._lacking(trace, answer, injected, now):
                self.reasons[trace_id] = reason
            else:
                del self._waiting[trace_id]
                self.reasons.pop(trace_id, None)
        return grew

    def _lacking(self, trace: Trace, answer: Answer, injected: Injected | None, now: float) -> str:
        expected = self.expected.get(answer.url) if isinstance(self.expected, Mapping) else self.expected
        reason = missing(
            trace,
            answer,
            now,
            injected=injected,
            expected=expected,
            flush=self._flush,
            again=self._again,
            free=self._free,
        )
        if reason or settled(trace, injected, expected):
            return reason
        if now - self._changed[answer.trace_id] < self._quiet:
            return f"spans still came within the last {self._quiet:g} s"
        return ""


def gather(
    source: TraceSource,
    answers: Sequence[Answer],
    *,
    injected: Injected | None = None,
    expected: Expected | None = None,
    quiet: float = QUIET,
    flush: float = FLUSH,
    timeout: float | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Gathered:
    """Wait until the traces of ANSWERS are complete, and return them.

    injected: the fault that the requests met, None in the control. expected: what the control's traces hold
    (`Expected.of`); without it every trace is waited for until it was quiet. quiet, flush: seconds. timeout: seconds
    in all; by default 10 s and twice the delay, since a caller may try a slow call again. clock: seconds since the
    epoch, the clock of `Answer.started`.

    A trace that holds everything expected, and in which nobody gave up or failed, is not waited for any longer. One
    that ended long ago is quiet already: what came within the last QUIET seconds ended no earlier than FLUSH before.
    Raises Unreachable when the store does not answer.
    """
    return gather_all(
        source,
        [(injected, answers)],
        expected=expected,
        quiet=quiet,
        flush=flush,
        timeout=timeout,
        clock=clock,
        sleep=sleep,
    )


def gather_all(
    source: TraceSource,
    cells: Iterable[tuple[Injected | None, Sequence[Answer]]],
    *,
    expected: Expected | Mapping[str, Expected] | None = None,
    quiet: float = QUIET,
    flush: float = FLUSH,
    timeout: float | None = None,
    again: bool = True,
    free: Free | None = None,
    known: Gathering | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Gathered:
    """As `gather`, for several CELLS at once, each a fault and the answers of those that were to meet it: one question
    to the store asks for the traces of all. The longest delay among them counts for the timeout. expected: by URL,
    where requests to several lead to other calls. AGAIN, FREE: see `wholeness.missing`.
    KNOWN: has seen some of them before, so that when they came is known.
    """
    gathering = Gathering(
        source, expected=expected, quiet=quiet, flush=flush, again=again, free=free, known=known, clock=clock
    )
    delay = 0.0
    for injected, answers in cells:
        delay = max(delay, injected.delay if injected else 0.0)
        for answer in answers:
            gathering.add(answer, injected)
    deadline = clock() + (_PATIENCE + 2 * delay if timeout is None else timeout)
    pause = _FIRST_PAUSE
    while gathering.waiting:
        before = clock()
        if gathering.look():
            pause = _FIRST_PAUSE
        now = clock()
        pause = max(pause, now - before)  # a slow store is asked less often
        if not gathering.waiting or now >= deadline:
            break
        sleep(max(min(pause, deadline - now, gathering.quiet_at - now), 0.0))
        pause = min(pause * 1.5, _LAST_PAUSE)
    return Gathered(gathering.traces, gathering.reasons)
