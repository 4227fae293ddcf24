"""Telemetry's words in Markdown: whatever stands in a URL or an operation, it stays text."""

from __future__ import annotations

import re

__all__ = ["cell", "code", "text"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~])")
_LONGEST = 300


def text(value: object) -> str:
    """VALUE as plain text: neither markup nor HTML, nor a link that somebody else wrote."""
    escaped = _SPECIAL.sub(r"\\\1", _line(value)).replace("&", "&amp;")
    return re.sub(r"(?i)\bwww\.", r"\g<0>\\", escaped.replace("://", r"\://")).replace("www.\\", r"www\.")


def code(value: object) -> str:
    """VALUE as a code span; backticks, which would end it, become apostrophes."""
    return f"`{_line(value).replace('`', chr(39)).strip() or ' '}`"


def cell(value: object) -> str:
    """VALUE as a code span in a table, where a bar would end the cell even there."""
    return code(value).replace("|", r"\|")


def _line(value: object) -> str:
    """One printable line, of at most 300 characters."""
    line = "".join(c if c.isprintable() else " " for c in str(value))
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
