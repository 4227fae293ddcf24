"""A load on the application, and what became of each request."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Dict, List

import msgspec
from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import InvalidInput, Unreachable
from chaosmesh_ext.model import Answer
from chaosmesh_ext.observe.http import UNRESOLVED
from chaosmesh_ext.observe.load import Call, Load, send
from chaosmesh_ext.observe.quantiles import quantile
from chaosmesh_ext.probes.configured import run_of

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run

__all__ = ["MOST_MARKED", "asked_for", "load", "load_by_fortio", "refuse_unresolved"]

MOST_MARKED = 1000
"""Marked requests of one load: each is traced, and each trace is read for the findings."""

_SHOWN = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))


def load(
    url: str,
    count: int = None,
    connections: int = 4,
    duration: float = None,
    rate: float = None,
    method: str = "GET",
    headers: Dict[str, str] = None,
    count_headers: List[str] = None,
    timeout: float = 30.0,
    marked: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Send `count` requests, or as many as `duration` seconds take, to `url` over
    `connections` connections, and count what came back. With a `rate` (requests a
    second) each request has its time, and its latency counts from that time, so
    that a stall is seen in full; without, each connection's next request follows
    on its answer.

    Returns requests, seconds, statuses (status → how many; 0: no answer), flags
    (Envoy's response flags, as far as its answers show them, e.g. UO), headers
    (how many answers had x-envoy-overloaded, and each of `count_headers`),
    latency (status → p50, p90, p99 and max, in seconds) and errors (why there was
    no answer → how many).

    Marked requests meet this run's faults and count for its findings. Each is
    traced, so there are at most 1000, and a `duration` ends with the last of
    them; give `marked: false` for a load that is nobody's.
    """
    run, wanted = run_of(configuration, secrets), _names(count_headers)
    asked = asked_for(run, url, count, connections, duration, rate, method, headers, timeout, marked)
    marker = run.marker if marked else None
    outcome = send(asked, marker, run.requests.begin)
    refuse_unresolved(call.answer for call in outcome.calls)
    if marker is not None:
        run.keep(marker, [call.answer for call in outcome.calls if call.sent])
    return {
        "requests": len(outcome.calls),
        "seconds": outcome.seconds,
        "statuses": _sorted(Counter(str(call.answer.status) for call in outcome.calls)),
        "flags": _sorted(Counter(flag for call in outcome.calls for flag in call.flags)),
        "headers": {name: sum(name in call.headers for call in outcome.calls) for name in wanted},
        "latency": _latencies(outcome.calls),
        "errors": _sorted(Counter(call.answer.error for call in outcome.calls if call.answer.error)),
    }


def load_by_fortio(
    url: str,
    count: int = None,
    connections: int = 4,
    duration: float = None,
    rate: float = None,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    program: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    As `load`, by Fortio: the one at `program`, on PATH, or as `chaos mesh lab
    tools --only fortio` built it. Its requests carry no marker, so faults for
    this run's requests do not meet them, and its latencies count from when a
    request was sent, at a rate too. Headers are on its command line, which
    everybody on the machine can read: a run's own token (`chaosmesh-jwt:good`) is
    good for nothing but the run's own require_jwt, others are not so harmless.

    Returns requests, seconds, statuses (status → how many; 0: no answer) and
    latency (`all`, and `errors` → p50, p90, p99 and max, in seconds). What it
    exits with says nothing: judge by the statuses.
    """
    from chaosmesh_ext.observe import fortio
    from chaosmesh_ext.settings import program as find

    run = run_of(configuration, secrets)
    asked = asked_for(run, url, count, connections, duration, rate, method, headers, timeout, marked=False)
    if count is not None and duration is not None:
        raise InvalidInput("Fortio takes a count or a duration, not both: leave one out")
    found = fortio.run(find("fortio", run.settings, program or ""), asked)
    return {
        "requests": sum(found.statuses.values()),
        "seconds": found.seconds,
        "statuses": {str(status): number for status, number in found.statuses.items()},
        "latency": found.latency,
    }


def asked_for(
    run: "Run",
    url: str,
    count: int | None,
    connections: int,
    duration: float | None,
    rate: float | None,
    method: str,
    headers: Dict[str, str] | None,
    timeout: float,
    marked: bool,
) -> Load:
    """What to send, from a probe's arguments: URL is whole, or a path on the setting app_url; HEADERS may ask for the
    tokens of RUN. Raises InvalidInput.
    """
    from chaosmesh_ext.run.tokens import filled
    from chaosmesh_ext.run.traffic import application

    for name, value in (
        ("count", count),
        ("connections", connections),
        ("duration", duration),
        ("rate", rate),
        ("timeout", timeout),
    ):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise InvalidInput(f"{name} is {value!r}: give a number above 0")
    aim, given = application(run.settings, url), filled(headers, run.tokens)
    asked = Load(aim.url, count, duration, connections, rate, method, given or {}, timeout, aim)
    if marked and asked.planned is None:
        return msgspec.structs.replace(asked, count=MOST_MARKED)
    if marked and asked.planned is not None and asked.planned > MOST_MARKED:
        raise InvalidInput(
            f"{asked.planned} marked requests are more than {MOST_MARKED}, for each is traced: send fewer, or give "
            "marked: false"
        )
    return asked


def refuse_unresolved(answers: Iterable[Answer]) -> None:
    """Raise Unreachable where the host of one of ANSWERS has no address here: that says nothing of the application."""
    for answer in answers:
        if not answer.status and answer.error.startswith(UNRESOLVED):
            raise Unreachable(f"{answer.url}: {answer.error}; check the name, and that it resolves where this runs")


def _names(count_headers: List[str] | None) -> List[str]:
    if count_headers is not None and (
        not isinstance(count_headers, list) or not all(isinstance(name, str) for name in count_headers)
    ):
        raise InvalidInput(f"count_headers is {count_headers!r}: give a list of names, e.g. [retry-after]")
    return ["x-envoy-overloaded", *(name.lower() for name in count_headers or ())]


def _latencies(calls: tuple[Call, ...]) -> Dict[str, Dict[str, float]]:
    by_status: Dict[str, List[float]] = {}
    for call in calls:
        by_status.setdefault(str(call.answer.status), []).append(call.latency)
    return {
        status: {name: quantile(sorted(seen), share) for name, share in _SHOWN}
        for status, seen in sorted(by_status.items())
    }


def _sorted(counted: Counter[str]) -> Dict[str, int]:
    return dict(sorted(counted.items()))
