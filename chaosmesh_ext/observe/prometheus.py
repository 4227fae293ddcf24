"""Prometheus as a source of numbers.

No data is never a number: an empty result is None, and so are NaN and the infinities, which PromQL gives for a
division by 0, e.g. the error rate of no requests. An answer that is not whole, by its own words, is none at all. A
target that cannot be scraped leaves the rates of before standing for a while: look at `down` beside a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable
from chaosmesh_ext.observe.reach import SCHEMES, Target

if TYPE_CHECKING:
    import httpx

__all__ = ["SCRAPED", "Change", "Prometheus", "Sample"]

SCRAPED = "min(timestamp(up) and up == 1)"
"""Since when every target that answers has been scraped, by Prometheus' clock. Of an expression such as ``up == 1``,
`timestamp` would give the time of the question.
"""


class Sample(msgspec.Struct, frozen=True):
    """One element of an instant vector, or a scalar without labels.

    value: NaN and the infinities are possible. at: seconds since the epoch.
    """

    labels: Mapping[str, str]
    value: float
    at: float


class Change(msgspec.Struct, frozen=True):
    """One expression at two instants; None where there was no data."""

    before: float | None
    after: float | None

    @property
    def delta(self) -> float | None:
        """After less before, or None when either had no data."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def ratio(self) -> float | None:
        """After ÷ before, or None when either had no data or before was 0."""
        return None if self.before is None or self.after is None or self.before == 0 else self.after / self.before


class _Series(msgspec.Struct, frozen=True):
    metric: dict[str, str] = {}
    value: tuple[float, str] = (0.0, "")


class _Range(msgspec.Struct, frozen=True):
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct, frozen=True):
    resultType: str  # noqa: N815 Prometheus' name
    result: msgspec.Raw


class _Reply(msgspec.Struct, frozen=True):
    status: str
    data: _Data | None = None
    errorType: str = ""  # noqa: N815
    error: str = ""
    warnings: list[str] | None = None
    infos: list[str] | None = None
    isPartial: bool = False  # noqa: N815 VictoriaMetrics'

    def doubts(self) -> list[str]:
        """Why the answer may not be whole or right, in the server's words.

        That a counter's name does not end as Prometheus likes it says nothing of the data.
        """
        said = [*(self.warnings or ()), *(self.infos or ())]
        found = [" ".join(words.split()) for words in said if "metric might not be a counter" not in words]
        return ["it is marked as partial", *found] if self.isPartial else found


_REPLY: msgspec.json.Decoder[_Reply] = msgspec.json.Decoder(_Reply)


class Prometheus:
    """Reads Prometheus' HTTP API.

    url: its base path, without ``/api``, or what `reach.target` makes of the settings. headers: sent with every
    request, e.g. Authorization. timeout: seconds for one request. Every method raises InvalidInput when Prometheus
    calls the expression wrong (400), Inconclusive when it cannot be evaluated on this data (422), and Unreachable when
    Prometheus does not answer in time (503 included) or not with sense; the text holds Prometheus' own words.
    """

    def __init__(self, url: str | Target, *, headers: Mapping[str, str] | None = None, timeout: float = 10.0) -> None:
        shown = url.url if isinstance(url, Target) else url
        if not shown.startswith(SCHEMES):
            raise InvalidInput(
                f"no Prometheus: {shown!r} is not its address; set PROMETHEUS_URL, e.g. to http://localhost:9090"
                if shown
                else "no Prometheus: PROMETHEUS_URL is not set; set it, e.g. to http://localhost:9090"
            )
        self.target = Target.of(url, headers)
        self.url = self.target.url.rstrip("/")
        self._headers = self.target.headers
        self._timeout = timeout

    def query(self, promql: str, at: float | None = None) -> list[Sample]:
        """The value of each series of PROMQL at AT, seconds since the epoch, or now."""
        params: dict[str, str] = {"query": promql}
        if at is not None:
            params["time"] = f"{at:.3f}"
        data = self._get("/api/v1/query", params, promql)
        try:
            if data.resultType == "vector":
                series = msgspec.json.decode(data.result, type=list[_Series])
                return [Sample(one.metric, float(one.value[1]), one.value[0]) for one in series]
            if data.resultType == "scalar":
                moment, value = msgspec.json.decode(data.result, type=tuple[float, str])
                return [Sample({}, float(value), moment)]
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unreachable(f"{self.url} is not what Prometheus answers ({error}): check the base path") from error
        raise InvalidInput(
            f"{promql!r} is a {'range vector' if data.resultType == 'matrix' else data.resultType}, not a number: "
            "wrap it in a function such as rate() or increase()"
        )

    def scalar(self, promql: str, at: float | None = None) -> float | None:
        """The one number that PROMQL comes to at AT, or None when there is no data (NaN and ±Inf included).

        Raises InvalidInput when it has several series: which one was meant?
        """
        samples = self.query(promql, at)
        if len(samples) > 1:
            raise InvalidInput(f"{promql!r} has {len(samples)} series, not one number: aggregate it, e.g. with sum()")
        if not samples or not math.isfinite(samples[0].value):
            return None
        return samples[0].value

    def series(self, promql: str, start: float, end: float, step: float) -> list[tuple[float, float]]:
        """The one series that PROMQL comes to from START to END, seconds since the epoch, every STEP seconds.

        Moments without data are not in it; NaN is. Raises InvalidInput when it has several series.
        """
        params = {"query": promql, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        data = self._get("/api/v1/query_range", params, promql)
        try:
            found = msgspec.json.decode(data.result, type=list[_Range])
            if len(found) > 1:
                raise InvalidInput(f"{promql!r} has {len(found)} series, not one number: aggregate it, e.g. with sum()")
            return [(at, float(value)) for one in found for at, value in one.values]
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unreachable(f"{self.url} is not what Prometheus answers ({error}): check the base path") from error

    def recent(self, selector: str, seconds: float) -> list[list[tuple[float, float]]]:
        """What was scraped of each series of SELECTOR in the last SECONDS: when (epoch), and the value."""
        promql = f"{selector}[{max(1, round(seconds * 1000))}ms]"
        data = self._get("/api/v1/query", {"query": promql}, promql)
        try:
            found = msgspec.json.decode(data.result, type=list[_Range])
            return [[(at, float(value)) for at, value in one.values] for one in found]
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unreachable(f"{self.url} is not what Prometheus answers ({error}): check the base path") from error

    def compare(self, promql: str, before: float, after: float | None = None) -> Change:
        """PROMQL, one number, at two instants, seconds since the epoch; AFTER None means now."""
        return Change(self.scalar(promql, before), self.scalar(promql, after))

    def down(self, selector: str = "up") -> list[str]:
        """The instances among SELECTOR, e.g. ``up{job="pods"}``, that could not be scraped last time."""
        return sorted(sample.labels.get("instance", "?") for sample in self.query(f"{selector} == 0"))

    @cached_property
    def _client(self) -> httpx.Client:
        return self.target.client(keep=True)

    def _get(self, path: str, params: dict[str, str], promql: str) -> _Data:
        import httpx

        try:
            reply = self._client.get(self.url + path, params=params, headers=self._headers, timeout=self._timeout)
        except httpx.TimeoutException as error:
            raise Unreachable(
                f"Prometheus at {self.url} did not answer within {self._timeout:g} s: check PROMETHEUS_URL"
            ) from error
        except httpx.HTTPError as error:
            raise Unreachable(f"Prometheus at {self.url} cannot be reached ({error}): check PROMETHEUS_URL") from error
        if reply.status_code in (401, 403):
            raise Unreachable(
                f"Prometheus at {self.url} wants credentials ({reply.status_code}): set PROMETHEUS_TOKEN, or _HEADERS"
            )
        try:
            body = _REPLY.decode(reply.content)
        except msgspec.MsgspecError as error:
            raise Unreachable(
                f"{self.url} is not Prometheus (answer {reply.status_code}): check the base path, without /api"
            ) from error
        if body.status == "success" and body.data is not None:
            if doubts := body.doubts():
                raise Inconclusive(f"no data that can be trusted for {promql!r}: {'; '.join(doubts)}")
            return body.data
        raise _refusal(self.url, promql, reply.status_code, body.errorType, body.error)


def _refusal(url: str, promql: str, status: int, kind: str, words: str) -> Exception:
    known: dict[int, tuple[type[Exception], Any]] = {
        400: (InvalidInput, f"Prometheus refuses {promql!r}: {words}"),
        422: (Inconclusive, f"Prometheus cannot evaluate {promql!r}: {words}"),
        503: (Unreachable, f"Prometheus at {url} gave up on {promql!r} ({kind}): {words}"),
    }
    error, text = known.get(status, (Unreachable, f"Prometheus at {url} answered {status} ({kind}): {words}"))
    return error(text)
