"""Query parameters read as Jaeger reads them, with its words for what is wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from multidict import MultiMapping

from chaosmesh_ext.lab.traces.embedded import golang
from chaosmesh_ext.lab.traces.embedded.store import Query

__all__ = ["BadParameter", "by_ids", "check_times", "dependencies_window", "raw_wanted", "search_query", "trace_id"]

_T = TypeVar("_T")
_HEX = re.compile(r"[0-9a-fA-F]+")
_TWO_DAYS = 2 * 24 * 3600 * 10**9
_A_DAY = 24 * 3600 * 1000


class BadParameter(Exception):
    """The text is Jaeger's message; status is 400."""


def _named(name: str, parameters: MultiMapping[str], read: Callable[[str], _T], default: _T) -> _T:
    """The first parameter NAME; DEFAULT when it is missing or empty."""
    text = parameters.get(name, "")
    if not text:
        return default
    try:
        return read(text)
    except ValueError as error:
        raise BadParameter(f"unable to parse param '{name}': {error}") from None


def trace_id(text: str) -> bytes:
    """A trace id of up to 32 hex digits, shorter ones padded on the left."""
    if len(text) > 32:
        raise BadParameter(f"TraceID cannot be longer than 32 hex characters: {text}")
    for half in (text[:-16], text[-16:]) if len(text) > 16 else (text,):
        if not _HEX.fullmatch(half):
            raise BadParameter(f'strconv.ParseUint: parsing "{half}": invalid syntax')
    return bytes.fromhex(text.zfill(32))


def raw_wanted(parameters: MultiMapping[str]) -> bool:
    """Whether the spans are wanted as they came; raises BadParameter."""
    return _named("raw", parameters, golang.boolean, default=False)


def check_times(parameters: MultiMapping[str]) -> None:
    """Raises BadParameter for a ``start`` or ``end`` that is none; a trace by its id is whole whatever they are."""
    _named("start", parameters, golang.integer, 0)
    _named("end", parameters, golang.integer, 0)


def by_ids(parameters: MultiMapping[str]) -> list[bytes]:
    """The traces that are asked for by ``traceID``; raises BadParameter."""
    try:
        return [trace_id(text) for text in parameters.getall("traceID", [])]
    except BadParameter as error:
        raise BadParameter(f"cannot parse traceID param: {error}") from None


def search_query(parameters: MultiMapping[str]) -> Query:
    """The search that PARAMETERS ask for; `lookback` is ignored, as Jaeger does.

    Raises BadParameter, in the order in which Jaeger finds fault; a service is wanted unless traces are named.
    """
    now = time.time_ns()
    start = _named("start", parameters, _microseconds, now - _TWO_DAYS)
    end = _named("end", parameters, _microseconds, now)
    tags = _tags(parameters)
    try:
        limit = golang.integer(parameters.get("limit", "") or "100", bits=32)
    except ValueError as error:
        raise BadParameter(str(error)) from None
    shortest = _named("minDuration", parameters, golang.duration, 0)
    longest = _named("maxDuration", parameters, golang.duration, 0)
    named = by_ids(parameters)
    raw_wanted(parameters)
    service = parameters.get("service", "")
    if not service and not named:
        raise BadParameter("parameter 'service' is required")
    if shortest and longest and longest < shortest:
        raise BadParameter("'maxDuration' should be greater than 'minDuration'")
    return Query(service, parameters.get("operation", ""), start, end, shortest, longest, tags, limit)


def _microseconds(text: str) -> int:
    return golang.integer(text) * 1000


def _tags(parameters: MultiMapping[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for text in parameters.getall("tag", []):
        key, colon, value = text.partition(":")
        if not colon:
            raise BadParameter(f"malformed 'tag' parameter, expecting key:value, received: {text}")
        tags[key] = value
    for text in parameters.getall("tags", []):
        try:
            tags.update(golang.strings(text))
        except ValueError as error:
            raise BadParameter(f"malformed 'tags' parameter, cannot unmarshal JSON: {error}") from None
    return tags


def dependencies_window(parameters: MultiMapping[str]) -> tuple[int, int]:
    """The window of `/api/dependencies` in nanoseconds; endTs and lookback come in milliseconds, default one day."""
    end = _named("endTs", parameters, golang.integer, time.time_ns() // 1_000_000)
    lookback = _named("lookback", parameters, golang.integer, _A_DAY)
    return (end - lookback) * 1_000_000, end * 1_000_000
