"""What users get: status, response time and sections of an answer."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Dict, List, Union

from chaoslib.types import Configuration

from chaosmesh_ext.errors import InvalidInput, Weakness
from chaosmesh_ext.model import Answer
from chaosmesh_ext.probes.configured import run_of

__all__ = ["body_section", "response_time", "sections", "status"]


def status(
    url: str,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    marked: bool = True,
    configuration: Configuration = None,
) -> int:
    """
    The HTTP status of the answer at `url` (whole, or a path on APP_URL); 0 when
    there was no answer within `timeout` seconds.
    """
    return _ask(url, 1, method, headers, timeout, marked, configuration)[0].status


def response_time(
    url: str,
    count: int = 1,
    quantile: Union[float, List[float]] = 0.5,
    expected_status: int = 200,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    marked: bool = True,
    configuration: Configuration = None,
) -> Union[float, List[float]]:
    """
    Seconds to the last byte of the answer at `url`: the `quantile` (0 to 1, by
    default the median) of `count` requests; a list of quantiles gives a list.

    Fails, as a weakness, when an answer has another status than
    `expected_status` (0 takes any), or when there was none: errors are fast, and
    must not pass for speed.
    """
    wanted = _quantiles(quantile)
    answers = _ask(url, count, method, headers, timeout, marked, configuration)
    for answer in answers:
        if not answer.status or (expected_status and answer.status != expected_status):
            bad = sum(1 for other in answers if other.status != expected_status)
            seen = str(answer.status) if answer.status else f"no answer ({answer.error})"
            raise Weakness(f"{url}: {bad} of {len(answers)} answers were not {expected_status or 'any'}, e.g. {seen}")
    durations = sorted(answer.duration for answer in answers)
    found = [_quantile(durations, each) for each in wanted]
    return found if isinstance(quantile, (list, tuple)) else found[0]


def sections(
    url: str,
    count: int = 1,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    marked: bool = True,
    configuration: Configuration = None,
) -> List[str]:
    """
    The names of the sections that every one of `count` answers at `url` has:
    the headings of an HTML page, the paths of a JSON document.
    """
    answers = _ask(url, count, method, headers, timeout, marked, configuration)
    for answer in answers:
        if not answer.status:
            raise Weakness(f"{url}: no answer ({answer.error})")
    first, *others = answers
    return [name for name in first.sections if all(name in other.sections for other in others)]


def body_section(
    url: str,
    section: str,
    count: int = 1,
    method: str = "GET",
    headers: Dict[str, str] = None,
    timeout: float = 30.0,
    marked: bool = True,
    configuration: Configuration = None,
) -> bool:
    """
    Whether every one of `count` answers at `url` has the section: a heading of
    an HTML page (e.g. `Book Details`), a path of a JSON document (e.g.
    `reviews[0].rating`).
    """
    return section in sections(url, count, method, headers, timeout, marked, configuration)


def _ask(
    url: str,
    count: int,
    method: str,
    headers: Dict[str, str] | None,
    timeout: float,
    marked: bool,
    configuration: Configuration | None,
) -> List[Answer]:
    from chaosmesh_ext.observe.http import request
    from chaosmesh_ext.run.traffic import whole_url

    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidInput(f"count is {count!r}: give how many requests to send, 1 or more")
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise InvalidInput(f"timeout is {timeout!r}: give seconds above 0")
    run = run_of(configuration)
    if marked:
        return run.send(url, count, headers=headers, method=method, timeout=timeout)
    whole = whole_url(url, run.settings.app_url)
    return [request(whole, None, method=method, headers=headers, timeout=timeout)[0] for _ in range(count)]


def _quantiles(quantile: float | List[float]) -> List[float]:
    wanted = quantile if isinstance(quantile, (list, tuple)) else [quantile]
    for each in wanted:
        if isinstance(each, bool) or not isinstance(each, (int, float)) or not 0 <= each <= 1:
            raise InvalidInput(f"quantile {each!r} is not between 0 and 1: 0.5 is the median, 1 the slowest")
    if not wanted:
        raise InvalidInput("quantile is an empty list: give at least one, e.g. [0.5, 0.95]")
    return list(wanted)


def _quantile(ordered: List[float], share: float) -> float:
    """Linear between the two nearest, as most tools do (type 7 of Hyndman and Fan 1996)."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
