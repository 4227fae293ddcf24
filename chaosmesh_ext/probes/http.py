"""What users get: status, response time, headers and sections of an answer, alone or against a control request."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict, List, Union

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import Inconclusive, InvalidInput, Weakness
from chaosmesh_ext.model import Answer
from chaosmesh_ext.names import is_token
from chaosmesh_ext.observe.quantiles import quantile as quantile_of
from chaosmesh_ext.probes.answers import (
    asked,
    asked_over_time,
    check_count,
    check_seconds,
    in_all,
    refuse_other,
)
from chaosmesh_ext.probes.configured import run_of
from chaosmesh_ext.probes.load import refuse_unresolved

__all__ = ["against_control", "body_section", "header", "response_time", "sections", "status"]


def status(
    url: str,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    marked: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> int:
    """
    The HTTP status of the answer at `url` (whole, or a path on APP_URL); 0 when
    there was no answer within `timeout` seconds. Fails, as inconclusive, when the
    host's name cannot be resolved: then nobody was asked.
    """
    return asked(url, 1, method, headers, timeout, marked, configuration, secrets)[0].status


def response_time(
    url: str,
    count: int = 1,
    quantile: Union[float, List[float]] = 0.5,
    expected_status: int = 200,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    marked: bool = True,
    duration: float = None,
    rate: float = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Union[float, List[float]]:
    """
    Seconds to the last byte of the answer at `url`: the `quantile` (0 to 1, by
    default the median) of `count` requests, or of those that `duration` seconds
    take; a list of quantiles gives a list.

    With a `rate` (requests a second) each request has its time, whether or not
    those before it were answered, and counts from that time: what users would
    have waited. Without, `count` requests go at once, as far as
    CHAOSMESH_REQUEST_BUDGET lets them, and those of a `duration` one by one.

    Fails, as a weakness, when an answer has another status than
    `expected_status` (0 takes any), or when there was none: errors are fast, and
    must not pass for speed.
    """
    wanted = _quantiles(quantile)
    if duration is None and rate is None:
        answers = asked(url, count, method, headers, timeout, marked, configuration, secrets)
        durations = [answer.duration for answer in answers]
    else:
        number = None if duration is not None and count == 1 else count
        calls = asked_over_time(url, number, duration, rate, method, headers, timeout, marked, configuration, secrets)
        answers, durations = [call.answer for call in calls], [call.latency for call in calls]
    refuse_other(url, answers, expected_status)
    found = [quantile_of(sorted(durations), each) for each in wanted]
    return found if isinstance(quantile, (list, tuple)) else found[0]


def sections(
    url: str,
    count: int = 1,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    marked: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> List[str]:
    """
    The names of the sections that every one of `count` answers at `url` has:
    the headings of an HTML page, the paths of a JSON document.
    """
    answers = asked(url, count, method, headers, timeout, marked, configuration, secrets)
    for answer in answers:
        if not answer.status:
            raise Weakness(f"{url}: no answer ({answer.error})")
    return in_all(answers)


def body_section(
    url: str,
    section: str,
    count: int = 1,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    marked: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> bool:
    """
    Whether every one of `count` answers at `url` has the section: a heading of
    an HTML page (e.g. `Book Details`), a path of a JSON document (e.g.
    `reviews[0].rating`).
    """
    if not section.strip():
        raise InvalidInput("section is empty: give a heading or a path, e.g. Book Details; the probe sections has all")
    return section in sections(url, count, method, headers, timeout, marked, configuration, secrets)


def header(
    url: str,
    name: str,
    expected_status: int = 0,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    marked: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> str:
    """
    The header `name` of the answer at `url`; an empty text when it has none.
    Several of one name are joined by a comma and a blank.

    Fails, as a weakness, when there was no answer, or one of another status than
    `expected_status` (0 takes any).
    """
    from chaosmesh_ext.observe.http import request
    from chaosmesh_ext.run.tokens import filled
    from chaosmesh_ext.run.traffic import application

    if not isinstance(name, str) or not is_token(name.strip()):
        raise InvalidInput(f"name is {name!r}: give a header's, e.g. x-envoy-overloaded")
    run = run_of(configuration, secrets)
    check_seconds("timeout", timeout)
    marker = run.marker if marked else None
    answer, response = request(
        application(run.settings, url),
        marker,
        method=method,
        headers=filled(headers, run.tokens),
        timeout=timeout,
        trace_id=run.requests.begin(marker) if marker else "",
    )
    if marker is not None:
        run.keep(marker, [answer])
    refuse_unresolved([answer])
    refuse_other(url, [answer], expected_status)
    return response.headers.get(name.strip().lower(), "")


def against_control(
    url: str,
    count: int = 5,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    What requests to `url` that meet this run's faults get, against as many
    control requests that must meet none, sent in turn, so that whatever else is
    the matter is the matter of both. Faults for everybody's requests hit the
    control too: compare with `metrics` before and after there.

    Returns statuses and control_statuses (status → how many), slower_by (seconds,
    between the medians), lost and gained (sections that every control answer has
    and not every other one, and the reverse). Fails, as inconclusive, when a
    control request was not answered with success: then nothing can be compared.
    """
    check_count(count)
    check_seconds("timeout", timeout)
    run = run_of(configuration, secrets)
    met: List[Answer] = []
    control: List[Answer] = []
    for _ in range(count):
        control += run.send(url, 1, headers=headers, method=method, timeout=timeout, control=True)
        met += run.send(url, 1, headers=headers, method=method, timeout=timeout)
    for answer in control:
        if not 0 < answer.status < 400 or answer.error:
            seen = answer.error or str(answer.status)
            raise Inconclusive(f"{url}: a control request was not answered with success ({seen}): see to that first")
    durations = [quantile_of(sorted(answer.duration for answer in each), 0.5) for each in (met, control)]
    usual, now = in_all(control), in_all(met)
    return {
        "statuses": _statuses(met),
        "control_statuses": _statuses(control),
        "slower_by": durations[0] - durations[1],
        "lost": [name for name in usual if name not in now],
        "gained": [name for name in now if name not in usual],
    }


def _statuses(answers: List[Answer]) -> Dict[str, int]:
    found: Dict[str, int] = {}
    for answer in sorted(answers, key=lambda answer: answer.status):
        found[str(answer.status)] = found.get(str(answer.status), 0) + 1
    return found


def _quantiles(quantile: float | List[float]) -> List[float]:
    wanted = quantile if isinstance(quantile, (list, tuple)) else [quantile]
    for each in wanted:
        if isinstance(each, bool) or not isinstance(each, (int, float)) or not 0 <= each <= 1:
            raise InvalidInput(f"quantile {each!r} is not between 0 and 1: 0.5 is the median, 1 the slowest")
    if not wanted:
        raise InvalidInput("quantile is an empty list: give at least one, e.g. [0.5, 0.95]")
    return list(wanted)
