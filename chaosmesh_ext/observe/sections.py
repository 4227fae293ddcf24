"""The sections of an answer, so that two answers can be compared by what the user sees.

A section is a name and a short digest of its content without what changes from one healthy answer to the next: ids,
times, versions, names of pods.
"""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from typing import Any, Final

import msgspec

__all__ = ["DEEPEST", "normalised", "sections"]

DEEPEST: Final = 12
"""Levels of JSON that get sections of their own; what is below belongs to its ancestor's. An answer that is put
together from the answers of five callees in a row has eleven."""

_MOST_ITEMS = 50
_SKIPPED = frozenset({"script", "style", "template", "noscript"})
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})

# The order matters: the longer pattern first. A pod is its Deployment, the template's hash, and five more
# characters.
_VOLATILE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), word)
    for pattern, word in (
        (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<id>"),
        (
            r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)\b)?)?",
            "<time>",
        ),
        (
            r"\b\d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* \d{4}\b",
            "<time>",
        ),
        (r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:[AP]M|Z|UTC|GMT)\b)?", "<time>"),
        (r"\b([a-z0-9][a-z0-9-]*?)-(?=[a-z]*\d)[a-z0-9]{6,10}-[a-z0-9]{5}\b", r"\1-<pod>"),
        (r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", "<id>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<address>"),
        (r"\bv?\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.-]+)?\b", "<version>"),
        (r"\b\d+(?:\.\d+)? ?(?:ms|µs|us|ns)\b", "<duration>"),
    )
)

_VOLATILE_KEY = re.compile(
    r"(request|trace|span|correlation|session)[-_]?id|.*timestamp|time|date|now|uptime|elapsed|latency|duration"
    r"|pod[-_]?name|host[-_]?name|pod",
    re.IGNORECASE,
)
_EPOCH = (1_000_000_000, 4_000_000_000)


def sections(body: bytes, content_type: str) -> dict[str, str]:
    """The sections of BODY: name → digest of twelve hex digits.

    HTML is cut by its headings: a section is named by the heading's text and holds the text up to the next one, of
    whatever level; what stands before the first heading is ``(top)``. JSON is cut by path, ``sections.cart``,
    ``reviews[0].rating``, down to `DEEPEST` levels: an object above that depth says only that it is one, so that a
    changed leaf changes its own section and no other. Everything else, JSON and HTML that are none included, is one
    section, ``body``.
    """
    kind = content_type.split(";", 1)[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            value = msgspec.json.decode(body)
        except msgspec.MsgspecError:
            return {"body": _digest(normalised(_text(body, content_type)))}
        found: dict[str, str] = {}
        _walk(value, "", 0, found)
        return found
    if kind in ("text/html", "application/xhtml+xml"):
        return _html(_text(body, content_type))
    if kind.startswith("text/") or not kind:
        return {"body": _digest(normalised(_text(body, content_type)))}
    return {"body": hashlib.sha256(body).hexdigest()[:12]}


def normalised(text: str) -> str:
    """TEXT with single spaces, and a word such as ``<id>`` or ``<time>`` in place of what no two answers share."""
    for pattern, word in _VOLATILE:
        text = pattern.sub(word, text)
    return " ".join(text.split())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _text(body: bytes, content_type: str) -> str:
    charset = re.search(r"charset=\"?([\w.-]+)", content_type, re.IGNORECASE)
    try:
        return body.decode(charset[1] if charset else "utf-8", errors="replace")
    except LookupError:
        return body.decode(errors="replace")


def _walk(value: Any, path: str, depth: int, found: dict[str, str]) -> None:
    if depth < DEEPEST and isinstance(value, dict):
        if path or not value:
            found[path or "body"] = _digest("object")
        for key, item in value.items():
            name = str(key)
            inner = f"{path}.{name}" if path else name
            _walk(_kind(item) if _VOLATILE_KEY.fullmatch(name) else item, inner, depth + 1, found)
    elif depth < DEEPEST and isinstance(value, list):
        if path or not value:
            found[path or "body"] = _digest("list")
        for index, item in enumerate(value[:_MOST_ITEMS]):
            _walk(item, f"{path}[{index}]", depth + 1, found)
        if len(value) > _MOST_ITEMS:
            found[f"{path}[…]"] = _digest(_canonical(value[_MOST_ITEMS:]))
    else:
        found[path or "body"] = _digest(_canonical(value))


def _kind(value: Any) -> Any:
    """A scalar under a volatile key as no more than its type; null and containers stay."""
    return value if value is None or isinstance(value, dict | list | bool) else f"<{type(value).__name__}>"


def _canonical(value: Any) -> str:
    return msgspec.json.encode(_calm(value), order="sorted").decode()


def _calm(value: Any) -> Any:
    if isinstance(value, str):
        return normalised(value)
    if isinstance(value, dict):
        return {
            str(key): _calm(_kind(item) if _VOLATILE_KEY.fullmatch(str(key)) else item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_calm(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and _is_epoch(value):
        return "<time>"
    return value


def _is_epoch(number: float) -> bool:
    """Seconds, milliseconds, microseconds or nanoseconds since the epoch, in 2001–2096."""
    return any(_EPOCH[0] * unit <= number < _EPOCH[1] * unit for unit in (1, 10**3, 10**6, 10**9))


def _html(text: str) -> dict[str, str]:
    parser = _Cutter()
    parser.feed(text)
    parser.close()
    found: dict[str, str] = {}
    for heading, words in parser.parts:
        content = normalised(" ".join(words))
        name = normalised(" ".join(heading)) if heading is not None else "(top)"
        if heading is None and not content:
            continue
        unique, number = name or "(empty)", 2
        while unique in found:
            unique = f"{name} ({number})"
            number += 1
        found[unique] = _digest(content)
    return found or {"body": _digest("")}


class _Cutter(HTMLParser):
    """Text by heading: `parts` is a list of (words of the heading or None, words that follow)."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[tuple[list[str] | None, list[str]]] = [(None, [])]
        self._heading = ""
        self._skipped = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipped:
            return
        if tag in _SKIPPED:
            self._skipped = tag
        elif tag in _HEADINGS:
            self._heading = tag
            self.parts.append(([], []))
        elif tag == "img":
            self._put(dict(attrs).get("alt") or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._skipped:
            self._skipped = ""
        elif tag in _HEADINGS:
            self._heading = ""

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self._put(data)

    def _put(self, text: str) -> None:
        heading, words = self.parts[-1]
        (heading if self._heading and heading is not None else words).append(text)
