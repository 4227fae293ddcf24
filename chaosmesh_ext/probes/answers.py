"""The answers that probes judge: asked for at once or over time, and refused where nothing can be read from them."""

from __future__ import annotations

from typing import Any, Dict, List

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import InvalidInput, Weakness
from chaosmesh_ext.model import Answer
from chaosmesh_ext.observe.load import MOST_CONNECTIONS, MOST_REQUESTS, send
from chaosmesh_ext.probes.configured import run_of
from chaosmesh_ext.probes.load import asked_for, refuse_unresolved

__all__ = ["asked", "asked_over_time", "check_count", "check_seconds", "in_all", "refuse_other"]


def asked(
    url: str,
    count: int,
    method: str,
    headers: Dict[str, str] | None,
    timeout: float,
    marked: bool,
    configuration: Configuration | None,
    secrets: Secrets | None,
) -> List[Answer]:
    """The answers to COUNT requests, sent at once where they are MARKED, and kept for the run's findings."""
    from chaosmesh_ext.observe.http import request
    from chaosmesh_ext.run.tokens import filled
    from chaosmesh_ext.run.traffic import application

    check_count(count)
    check_seconds("timeout", timeout)
    run = run_of(configuration, secrets)
    if marked:
        answers = run.send(url, count, headers=headers, method=method, timeout=timeout)
    else:
        aim, given = application(run.settings, url), filled(headers, run.tokens)
        answers = [request(aim, None, method=method, headers=given, timeout=timeout)[0] for _ in range(count)]
    refuse_unresolved(answers)
    return answers


def asked_over_time(
    url: str,
    count: int | None,
    duration: float | None,
    rate: float | None,
    method: str,
    headers: Dict[str, str] | None,
    timeout: float,
    marked: bool,
    configuration: Configuration | None,
    secrets: Secrets | None,
) -> List[Any]:
    """The calls of a load: at RATE over as many connections as it may need, else over one."""
    run = run_of(configuration, secrets)
    connections = 1
    if isinstance(rate, (int, float)) and isinstance(timeout, (int, float)):
        connections = max(1, min(MOST_CONNECTIONS, int(rate * timeout) + 1))
    load = asked_for(run, url, count, connections, duration, rate, method, headers, timeout, marked)
    marker = run.marker if marked else None
    calls = send(load, marker, run.requests.begin).calls
    refuse_unresolved(call.answer for call in calls)
    if marker is not None:
        run.keep(marker, [call.answer for call in calls if call.sent])
    return list(calls)


def refuse_other(url: str, answers: List[Answer], expected_status: int) -> None:
    """Raise Weakness for an answer that did not come, or has another status than EXPECTED_STATUS; 0 takes any."""
    bad = [answer for answer in answers if not answer.status or answer.status != (expected_status or answer.status)]
    if bad:
        seen = str(bad[0].status) if bad[0].status else f"no answer ({bad[0].error})"
        wanted = expected_status or "any"
        raise Weakness(f"{url}: {len(bad)} of {len(answers)} answers were not {wanted}, e.g. {seen}")


def in_all(answers: List[Answer]) -> List[str]:
    """The sections that each of ANSWERS has, in the first one's order."""
    first, *others = answers
    return [name for name in first.sections if all(name in other.sections for other in others)]


def check_count(count: Any) -> None:
    """Raise InvalidInput where COUNT is no number of requests that one probe may send."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_REQUESTS:
        raise InvalidInput(f"count is {count!r}: give how many requests to send, 1 to {MOST_REQUESTS}")


def check_seconds(name: str, value: Any) -> None:
    """Raise InvalidInput where VALUE, the argument NAME, is no duration."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise InvalidInput(f"{name} is {value!r}: give seconds above 0")
