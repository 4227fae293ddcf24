"""Marked requests: within the budget, so that a run's own load does no harm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model import Answer, Marker
from chaosmesh_ext.observe.http import request, without_password

__all__ = ["Errand", "Traffic", "pace", "whole_url"]


class Errand(msgspec.Struct, frozen=True):
    """A request that can be sent again and again. timeout: seconds to the last byte. headers: are never shown."""

    url: str
    headers: Mapping[str, str] = {}
    method: str = "GET"
    timeout: float = 30.0

    @classmethod
    def to(cls, url: str, headers: Mapping[str, str], method: str = "GET", timeout: float = 30.0) -> Self:
        """To URL, whose user and password become a header: messages and reports name URLs."""
        shown, credentials = without_password(url)
        return cls(shown, credentials | dict(headers), method, timeout)


def whole_url(url: str, origin: str) -> str:
    """URL, or its path on the application's ORIGIN (the setting app_url); raises InvalidInput when there is none."""
    if url.startswith(("http://", "https://")):
        return url
    if not origin:
        raise InvalidInput(f"the URL {url or '/'!r} has no origin: give a whole one, or set APP_URL")
    if not origin.startswith(("http://", "https://")):
        raise InvalidInput(f"APP_URL is {origin!r}, no HTTP URL: set it to an origin, e.g. http://localhost:8080")
    return origin.rstrip("/") + "/" + url.lstrip("/")


class Traffic:
    """Sends marked requests, at most `budget` at once."""

    def __init__(self, budget: int) -> None:
        if budget < 1:
            raise InvalidInput(f"request_budget {budget} is no budget: give at least 1 request in flight")
        self.budget = budget
        self._pool = ThreadPoolExecutor(budget, thread_name_prefix="marked-request")

    def send(self, errand: Errand, marker: Marker) -> Future[Answer]:
        """The answer, when it comes; an Answer without a status says in `error` why there is none."""
        return self._pool.submit(self._request, errand, marker)

    def close(self) -> None:
        """Send nothing more; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _request(errand: Errand, marker: Marker) -> Answer:
        answer, _ = request(
            errand.url, marker, method=errand.method, headers=dict(errand.headers), timeout=errand.timeout
        )
        return answer


def pace(slowest: float) -> Iterator[float]:
    """Seconds between requests that look for a change: soon at first, then less and less often, down to SLOWEST."""
    pause = min(0.02, slowest)
    while True:
        yield pause
        pause = min(pause * 1.5, slowest)
