"""A load of ours: many requests over a few connections, as fast as they are answered, or at a rate.

At a rate the load is open: each request has its time, whether or not those before it were answered, and its latency
counts from that time. Otherwise a stall would be seen by the one request that met it and by none of those that users
would have sent meanwhile: coordinated omission (Gil Tene, "How NOT to Measure Latency", 2013).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model import Answer, Marker, new_trace_id
from chaosmesh_ext.observe.http import request
from chaosmesh_ext.observe.local_replies import flags
from chaosmesh_ext.observe.reach import Target

if TYPE_CHECKING:
    import httpx

__all__ = ["MOST_CONNECTIONS", "MOST_REQUESTS", "Call", "Load", "Outcome", "send"]

MOST_CONNECTIONS = 256
"""Each is a thread here; more would measure this machine."""

MOST_REQUESTS = 1_000_000
"""Of one probe: what a thousand a second would take a quarter of an hour for, and their answers are a gigabyte. More is
a slip of the keyboard, and a run that never ends."""


class Load(msgspec.Struct, frozen=True):
    """What is sent, to where.

    count: requests in all; None: what `duration` takes. duration: seconds in which requests are begun; None: until
    `count` is reached; with both, whichever comes first. connections: requests under way at once, at most. rate:
    requests a second; None: each connection's next one follows on the answer. timeout: seconds for an answer. target:
    how the URL is reached, where that takes more than the URL.
    """

    url: str
    count: int | None = None
    duration: float | None = None
    connections: int = 1
    rate: float | None = None
    method: str = "GET"
    headers: Mapping[str, str] = {}
    timeout: float = 30.0
    target: Target | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInput for what cannot be sent."""
        if self.count is None and self.duration is None:
            raise InvalidInput("a load needs an end: give count (requests), duration (seconds) or both")
        if self.count is not None and (isinstance(self.count, bool) or self.count < 1 or self.count % 1 != 0):
            raise InvalidInput(f"count is {self.count!r}: give how many requests to send, 1 to {MOST_REQUESTS}")
        for name in ("duration", "rate", "timeout"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InvalidInput(f"{name} is {value!r}: give a number above 0")
        if self.planned is not None and self.planned > MOST_REQUESTS:
            raise InvalidInput(
                f"{self.planned} requests are more than {MOST_REQUESTS}: send fewer, or for a shorter time"
            )
        if self.connections != int(self.connections) or not 1 <= self.connections <= MOST_CONNECTIONS:
            raise InvalidInput(f"connections is {self.connections!r}: give 1 to {MOST_CONNECTIONS}")

    @property
    def planned(self) -> int | None:
        """How many requests there will be; None where only answers decide."""
        by_time = None if self.duration is None or self.rate is None else math.ceil(self.duration * self.rate)
        return min((each for each in (self.count, by_time) if each is not None), default=None)


class Call(msgspec.Struct, frozen=True):
    """One request of a load.

    latency: seconds from when it was to be sent (at a rate) or was sent to its last byte. flags: Envoy's, as far as
    the answer shows them. headers: of the answer, names in lower case. sent: False where no connection came free
    before the load was over; then `latency` is how long it had waited.
    """

    answer: Answer
    latency: float
    flags: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}
    sent: bool = True


class Outcome(msgspec.Struct, frozen=True):
    """calls: in the order of their ends. seconds: from the first to the last."""

    calls: tuple[Call, ...]
    seconds: float


def send(load: Load, marker: Marker | None, begin: Callable[[Marker], str] = lambda _marker: new_trace_id()) -> Outcome:
    """Send LOAD, with MARKER's headers if there is one, and wait for its end.

    BEGIN is called before each marked request, from its thread, and gives its trace id.

    Raises InvalidInput where a request cannot be sent at all; what goes wrong on the way is in the answers.
    """
    return _Sending(load, marker, begin).run()


class _Sending:
    def __init__(self, load: Load, marker: Marker | None, begin: Callable[[Marker], str]) -> None:
        self._load, self._marker, self._begin = load, marker, begin
        self._calls: list[Call] = []
        self._next = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._began = 0.0

    def run(self) -> Outcome:
        load = self._load
        workers = load.connections if load.planned is None else min(load.connections, load.planned)
        with Target.of(load.target or load.url).client_of_its_own(workers) as http:
            threads = [threading.Thread(target=self._work, args=(http,), daemon=True) for _ in range(workers)]
            self._began = time.perf_counter()
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            finally:  # interrupted: nobody begins another request
                self._stop.set()
        if self._failure is not None:
            raise self._failure
        return Outcome(tuple(self._calls), time.perf_counter() - self._began)

    def _work(self, http: httpx.Client) -> None:
        try:
            while (due := self._take()) is not None and not self._stop.wait(max(0.0, due - time.perf_counter())):
                call = self._call(http, due)
                with self._lock:
                    self._calls.append(call)
        except BaseException as error:
            self._failure = error
            self._stop.set()

    def _take(self) -> float | None:
        """When the next request is to be sent, or None when there is none."""
        load = self._load
        with self._lock:
            now, number = time.perf_counter(), self._next
            if self._stop.is_set() or (load.planned is not None and number >= load.planned):
                return None
            if load.rate is None and load.duration is not None and now - self._began >= load.duration:
                return None
            self._next += 1
            return now if load.rate is None else self._began + number / load.rate

    def _call(self, http: httpx.Client, due: float) -> Call:
        load = self._load
        if load.rate is not None and time.perf_counter() > self._last():
            waited = time.perf_counter() - due
            why = f"not sent: no connection was free within {waited:.3g} s"
            return Call(Answer("", load.url, time.time(), 0.0, 0, error=why), waited, sent=False)
        answer, response = request(
            load.target or load.url,
            self._marker,
            method=load.method,
            headers=load.headers,
            timeout=load.timeout,
            http=http,
            apart=self._marker is not None,
            trace_id=self._begin(self._marker) if self._marker else "",
        )
        latency = time.perf_counter() - due
        seen = flags(answer.status, response.headers, response.body)
        return Call(answer, latency, seen, response.headers)

    def _last(self) -> float:
        """When requests at a rate are given up: the last one's time, and as long again as an answer may take."""
        assert self._load.planned is not None  # noqa: S101 with a rate, count or duration say how many
        assert self._load.rate is not None  # noqa: S101
        return self._began + self._load.planned / self._load.rate + self._load.timeout
