"""Query parameters read as Jaeger reads them, with its words for what is wrong."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from multidict import MultiMapping

from chaosmesh_ext.lab.traces.embedded.store import Query

__all__ = ["BadParameter", "dependencies_window", "raw_wanted", "search_query", "trace_id"]

_INTEGER = re.compile(r"[+-]?\d+")
_GO_PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")
_MICROSECONDS = {"ns": 1e-3, "us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7, "h": 3.6e9}
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_TWO_DAYS = 2 * 24 * 3600 * 1_000_000


class BadParameter(Exception):
    """The text is Jaeger's message; status is 400."""


def _integer(text: str, bits: int = 64) -> int:
    if not _INTEGER.fullmatch(text):
        raise BadParameter(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if abs(int(text)) >= 2 ** (bits - 1):
        raise BadParameter(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


def _named(name: str, text: str) -> int:
    try:
        return _integer(text)
    except BadParameter as error:
        raise BadParameter(f"unable to parse param '{name}': {error}") from None


def _duration(name: str, text: str) -> int:
    """Microseconds in a Go duration."""
    prefix = f"unable to parse param '{name}': time: "
    if not text:
        return 0
    total, rest = 0.0, text
    while rest:
        part = _GO_PART.match(rest)
        if part is None:
            raise BadParameter(f'{prefix}invalid duration "{text}"')
        number, unit = part.groups()
        if not unit:
            raise BadParameter(f'{prefix}missing unit in duration "{text}"')
        if unit not in _MICROSECONDS:
            raise BadParameter(f'{prefix}unknown unit "{unit}" in duration "{text}"')
        total += float(number) * _MICROSECONDS[unit]
        rest = rest[part.end() :]
    return int(total)


def trace_id(text: str) -> bytes:
    """A trace id of up to 32 hex digits, shorter ones padded on the left."""
    if len(text) > 32:
        raise BadParameter(f"TraceID cannot be longer than 32 hex characters: {text}")
    for half in (text[:-16], text[-16:]):
        if half and not re.fullmatch(r"[0-9a-fA-F]+", half):
            raise BadParameter(f'strconv.ParseUint: parsing "{half}": invalid syntax')
    if not text:
        raise BadParameter('strconv.ParseUint: parsing "": invalid syntax')
    return bytes.fromhex(text.zfill(32))


def raw_wanted(parameters: MultiMapping[str]) -> bool:
    """Whether the spans are wanted as they came; raises BadParameter."""
    text = parameters.get("raw", "")
    if text and text not in _TRUE | _FALSE:
        raise BadParameter(f"unable to parse param 'raw': strconv.ParseBool: parsing \"{text}\": invalid syntax")
    return text in _TRUE


def search_query(parameters: MultiMapping[str]) -> Query:
    """The search that PARAMETERS ask for; `lookback` is ignored, as Jaeger does.

    Raises BadParameter.
    """
    now = time.time_ns() // 1000
    start = _named("start", parameters["start"]) if parameters.get("start") else now - _TWO_DAYS
    end = _named("end", parameters["end"]) if parameters.get("end") else now
    limit = _integer(parameters["limit"], bits=32) if parameters.get("limit") else 100
    raw = raw_wanted(parameters)
    tags: dict[str, str] = {}
    for text in parameters.getall("tag", []):
        key, colon, value = text.partition(":")
        if not colon:
            raise BadParameter(f"malformed 'tag' parameter, expecting key:value, received: {text}")
        tags[key] = value
    for text in parameters.getall("tags", []):
        tags.update(_json_tags(text))
    minimum = _duration("minDuration", parameters.get("minDuration", ""))
    maximum = _duration("maxDuration", parameters.get("maxDuration", ""))
    if not parameters.get("service"):
        raise BadParameter("parameter 'service' is required")
    if maximum and maximum < minimum:
        raise BadParameter("'maxDuration' should be greater than 'minDuration'")
    operation = parameters.get("operation", "")
    return Query(parameters["service"], operation, start, end, minimum, maximum, tags, limit, raw)


def _json_tags(text: str) -> dict[str, str]:
    prefix = "malformed 'tags' parameter, cannot unmarshal JSON: "
    try:
        found: Any = json.loads(text)
    except ValueError:
        first = text.strip()[:1]
        raise BadParameter(f"{prefix}invalid character '{first}' looking for beginning of value") from None
    if not isinstance(found, dict):
        raise BadParameter(f"{prefix}json: cannot unmarshal {_go_type(found)} into Go value of type map[string]string")
    for value in found.values():
        if not isinstance(value, str):
            raise BadParameter(f"{prefix}json: cannot unmarshal {_go_type(value)} into Go value of type string")
    return found


def _go_type(value: Any) -> str:
    for kind, word in ((bool, "bool"), ((int, float), "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return word
    return "object" if value is not None else "null"


def dependencies_window(parameters: MultiMapping[str]) -> tuple[int, int]:
    """The window of `/api/dependencies` in microseconds; endTs and lookback come in milliseconds, default one day."""
    end = _named("endTs", parameters["endTs"]) if parameters.get("endTs") else time.time_ns() // 1_000_000
    lookback = _named("lookback", parameters["lookback"]) if parameters.get("lookback") else 24 * 3_600_000
    return (end - lookback) * 1000, end * 1000
