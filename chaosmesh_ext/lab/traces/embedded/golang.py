"""Numbers, durations, times and JSON as Go's library reads and writes them: Jaeger's answers are full of its words."""

from __future__ import annotations

import base64
import datetime
import json
import math
import re
from decimal import Decimal
from typing import Any
from urllib.parse import unquote_to_bytes

from multidict import MultiDict

__all__ = [
    "boolean",
    "duration",
    "duration_text",
    "float_text",
    "integer",
    "json_text",
    "query",
    "strings",
    "time_text",
    "unescaped",
]

_INTEGER = re.compile(r"[+-]?[0-9]+")
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9}
_NANOSECONDS["h"] = 3600 * 10**9
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_IN_JSON = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_JSON_ERRORS = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Extra data": "after top-level value",
}


def integer(text: str, bits: int = 64) -> int:
    """``strconv.ParseInt(text, 10, bits)``; raises ValueError with its message."""
    if not _INTEGER.fullmatch(text):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    number = int(text) if len(text) < 40 else 2**64
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


def boolean(text: str) -> bool:
    """``strconv.ParseBool(text)``; raises ValueError with its message."""
    if text not in _TRUE | _FALSE:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE


def duration(text: str) -> int:
    """``time.ParseDuration(text)`` in nanoseconds; raises ValueError with its message."""
    quoted = '"' + "".join(c if c.isascii() else "".join(f"\\x{b:02x}" for b in c.encode()) for c in text) + '"'
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {quoted}")
    total = Decimal(0)
    while rest:
        part = _PART.match(rest)
        if part is None:
            raise ValueError(f"time: invalid duration {quoted}")
        number, unit = part.groups()
        if not unit:
            raise ValueError(f"time: missing unit in duration {quoted}")
        if unit not in _NANOSECONDS:
            raise ValueError(f'time: unknown unit "{unit}" in duration {quoted}')
        total += Decimal(number) * _NANOSECONDS[unit]
        rest = rest[part.end() :]
    if total >= 2**63:
        raise ValueError(f"time: invalid duration {quoted}")
    return -int(total) if text.startswith("-") else int(total)


def duration_text(nanoseconds: int) -> str:
    """``time.Duration(nanoseconds).String()``, e.g. ``-5.5ms`` or ``1m30s``."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest == 0:
        return "0s"
    if rest < 10**9:
        unit = "ns" if rest < 10**3 else "µs" if rest < 10**6 else "ms"
        return f"{sign}{_short(Decimal(rest) / _NANOSECONDS[unit])}{unit}"
    minutes, seconds = divmod(rest, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_short(Decimal(seconds) / 10**9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else f"{sign}{text}"


def _short(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def time_text(nanoseconds: int) -> str:
    """``time.Unix(0, nanoseconds).UTC().String()``, e.g. ``2026-11-21 14:28:15.99675 +0000 UTC``."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%d %H:%M:%S}{f'.{fraction:09d}'.rstrip('0') if fraction else ''} +0000 UTC"


def float_text(number: float) -> str:
    """``strconv.FormatFloat(number, 'g', 10, 64)``, by which Jaeger compares a float with a search's tag."""
    return f"{number:.10g}" if math.isfinite(number) else _not_finite(number)


def _not_finite(number: float) -> str:
    return "NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf"


def json_text(value: Any) -> str:
    """``json.Marshal(value)``: keys in order, HTML escaped, whole floats without a point, bytes in base64.

    Raises ValueError for a number that JSON cannot hold, with Go's message.
    """
    match value:
        case None | bool():
            return json.dumps(value)
        case int():
            return str(value)
        case float():
            return _json_float(value)
        case bytes():
            return f'"{base64.b64encode(value).decode()}"' if value else "null"
        case str():
            return json.dumps(value, ensure_ascii=False).translate(_IN_JSON)
        case dict():
            return "{" + ",".join(f"{json_text(key)}:{json_text(value[key])}" for key in sorted(value)) + "}"
        case _:
            return "[" + ",".join(json_text(item) for item in value) + "]"


def _json_float(number: float) -> str:
    if not math.isfinite(number):
        raise ValueError(f"json: unsupported value: {_not_finite(number)}")
    if number == 0 or 1e-6 <= abs(number) < 1e21:
        return _short(Decimal(repr(number)))
    return repr(number).replace("e-0", "e-").replace(".0e", "e")


def strings(text: str) -> dict[str, str]:
    """``json.Unmarshal`` of TEXT into a ``map[string]string``; raises ValueError with its message."""
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError as error:
        after = text[error.pos :].lstrip()
        if not after or error.msg not in _JSON_ERRORS:
            raise ValueError("unexpected end of JSON input") from None
        raise ValueError(f"invalid character '{after[0]}' {_JSON_ERRORS[error.msg]}") from None
    if not isinstance(found, dict | None):
        raise ValueError(f"json: cannot unmarshal {_kind(found)} into Go value of type map[string]string")  # noqa: TRY004
    for value in (found or {}).values():
        if not isinstance(value, str | None):
            raise ValueError(f"json: cannot unmarshal {_kind(value)} into Go value of type string")  # noqa: TRY004
    return {key: value or "" for key, value in (found or {}).items()}


def _kind(value: Any) -> str:
    for kind, word in ((bool, "bool"), ((int, float), "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return word
    return "object"


def query(text: str) -> MultiDict[str]:
    """``url.ParseQuery(text)``: a pair with a semicolon or a broken escape is left out."""
    found: MultiDict[str] = MultiDict()
    for pair in text.split("&"):
        if not pair or ";" in pair or _BAD_ESCAPE.search(pair):
            continue
        key, _, value = pair.partition("=")
        found.add(unescaped(key), unescaped(value))
    return found


def unescaped(text: str) -> str:
    """``url.QueryUnescape(text)``; empty for a broken escape."""
    if _BAD_ESCAPE.search(text):
        return ""
    return unquote_to_bytes(text.replace("+", " ")).decode(errors="replace")
