"""Marked requests: within the budget, so that a run's own load does no harm."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Final, Self

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model import CONTROL, Answer, Marker, new_trace_id
from chaosmesh_ext.observe.http import request
from chaosmesh_ext.observe.reach import SCHEMES, Target, check_url, target, without_password
from chaosmesh_ext.run.pool import Pool
from chaosmesh_ext.settings import Settings

__all__ = ["Errand", "Traffic", "application", "pace", "refuse_malformed", "whole_url"]

_NO_PATH: Final = re.compile(r"[^/?#]*:")
"""RFC 3986, 4.2: the first part of a path has no colon; what has one is a scheme, or a host with its port."""


class Errand(msgspec.Struct, frozen=True):
    """A request that can be sent again and again. timeout: seconds to the last byte. headers: are never shown.

    target: how its URL is reached, where that takes more than the URL. body: is never shown either.
    """

    url: str
    headers: Mapping[str, str] = {}
    method: str = "GET"
    timeout: float = 30.0
    target: Target | None = None
    body: str = ""

    @classmethod
    def to(
        cls, url: str | Target, headers: Mapping[str, str], method: str = "GET", timeout: float = 30.0, body: str = ""
    ) -> Self:
        """To URL, whose user and password become a header: messages and reports name URLs."""
        aim = Target.of(url)
        return cls(aim.url, headers, method, timeout, aim, body)


def application(settings: Settings, url: str) -> Target:
    """The application at URL, whole, or a path on the setting app_url, as the settings say that it is reached.

    Raises InvalidInput when there is no origin, or a setting makes no sense.
    """
    return target(settings, "app", whole_url(url, settings.app_url))


def whole_url(url: str, origin: str) -> str:
    """URL, or its path on the application's ORIGIN (the setting app_url); raises InvalidInput when there is none."""
    refuse_malformed(url)
    if url.startswith(SCHEMES):
        return url
    if not origin:
        raise InvalidInput(f"the URL {url or '/'!r} has no origin: give a whole one, or set APP_URL")
    if not origin.startswith(SCHEMES):
        raise InvalidInput(
            f"APP_URL is {origin!r}, no HTTP URL: set it to an origin, e.g. http://localhost:8080 or "
            "k8s://istio-system/istio-ingressgateway:80"
        )
    return origin.rstrip("/") + "/" + url.lstrip("/")


def refuse_malformed(url: str) -> None:
    """Raise InvalidInput where URL is neither a whole one that can be reached nor a path."""
    if url.startswith(SCHEMES):
        check_url(url)
    elif _NO_PATH.match(url):
        shown = without_password(url)[0][:80]
        raise InvalidInput(
            f"the URL {shown!r} begins with none of {', '.join(SCHEMES)}: give a whole one, or a path, e.g. "
            "/productpage"
        )


class Traffic:
    """Sends marked requests, at most `budget` at once.

    begin: called before each of them, with its marker; gives its trace id. spacing: seconds from the beginning of one
    that is to meet a fault to that of the next, at least.
    """

    def __init__(self, budget: int, begin: Callable[[Marker], str] = lambda _marker: new_trace_id()) -> None:
        if budget < 1:
            raise InvalidInput(f"request_budget {budget} is no budget: give at least 1 request in flight")
        self.budget = budget
        self._begin = begin
        self.spacing = 0.0
        self._turns, self._next = Lock(), 0.0
        self._pool = self._fresh()

    def send(self, errand: Errand, marker: Marker) -> Future[Answer]:
        """The answer, when it comes; an Answer without a status says in `error` why there is none."""
        return self._pool.submit(partial(self._request, errand, marker))

    def another(self, times: int = 1) -> Traffic:
        """One with a budget of its own, so many TIMES as large, for the same run."""
        return Traffic(times * self.budget, self._begin)

    def abandon(self) -> None:
        """Drop what waits, and leave what is under way to itself: what is sent from now on has the whole budget."""
        self._pool.close()
        self._pool = self._fresh()

    def close(self) -> None:
        """Send nothing more; what waits is dropped."""
        self._pool.close()

    def _fresh(self) -> Pool[Answer]:
        return Pool(self.budget, "marked-request")

    def _wait_for_turn(self) -> None:
        with self._turns:
            now = time.monotonic()
            begins = max(now, self._next)
            self._next = begins + self.spacing
        time.sleep(begins - now)

    def _request(self, errand: Errand, marker: Marker) -> Answer:
        if marker.cell != CONTROL:
            self._wait_for_turn()
        answer, _ = request(
            errand.target or errand.url,
            marker,
            method=errand.method,
            headers=dict(errand.headers),
            body=errand.body or None,
            timeout=errand.timeout,
            trace_id=self._begin(marker),
        )
        return answer


def pace(slowest: Callable[[], float]) -> Iterator[float]:
    """Seconds between requests that look for a change: soon at first, then less and less often, down to SLOWEST."""
    pause = 0.02
    while True:
        yield (pause := min(pause, slowest()))
        pause *= 1.5
