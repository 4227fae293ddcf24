"""What a program said was wrong, out of the log that it left: without its stack traces, and whichever way it writes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

__all__ = ["Said", "last_lines", "last_words", "said", "size_of"]

_TAIL = 8 * 1024 * 1024
"""Bytes of a log that are searched: after its words Go writes all stacks, 4 MB for an API server (measured)."""

_LONGEST = 400
"""Characters of last words: a terminal's line, or four."""

_LAYOUTS = [
    re.compile(layout)
    for layout in (
        # klog: the API server
        r"(?P<level>[IWEF])\d{4} [\d:.]+ +\d+ [^ \]]+\] (?P<words>.+)",
        # Istio
        r"\d{4}-\d\d-\d\dT[\d:.]+Z\t(?P<level>[a-z]+)\t(?P<words>.+)",
        # Envoy
        r"\[\d{4}-\d\d-\d\d [\d:.]+\]\[\d+\]\[(?P<level>[a-z]+)\]\[\w+\] (\[[^\]]+:\d+\] )?(?P<words>.+)",
        # Prometheus
        r"time=\S+ level=(?P<level>[A-Z]+) (?P<words>.+)",
        # Go's own, and its levels where it has one
        r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?P<level>DEBUG|INFO|WARN|ERROR) (?P<words>.+)",
    )
]
_GO_LOG = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (.+)")
_OTHER = re.compile(r"(panic|fatal error|runtime|SIG[A-Z]+|[Ee]rror): .+")
_BAD = frozenset({"e", "f", "error", "dpanic", "panic", "critical", "fatal"})


class Said(NamedTuple):
    """What a line of a log says. wrong: it complains of something."""

    words: str
    wrong: bool


def said(line: str) -> Said:
    """What LINE says, in any of the layouts above, in JSON as zap writes it, or as it stands.

    >>> said('E1121 16:19:00.170328   13186 options.go:205] no such file')
    Said(words='no such file', wrong=True)
    """
    if line.startswith("{"):
        try:
            record = json.loads(line)
        except ValueError:
            return Said("", wrong=False)
        words = ": ".join(str(record[key]) for key in ("msg", "error") if record.get(key))
        return Said(words, record.get("level") in _BAD)
    for layout in _LAYOUTS:
        if found := layout.fullmatch(line):
            return Said(found["words"].replace("\t", ": "), found["level"].lower() in _BAD)
    if found := _GO_LOG.fullmatch(line):
        return Said(found[1], wrong=True)  # what has no level is usually log.Fatal's
    return Said(line, bool(_OTHER.fullmatch(line)))


def last_words(log: Path, since: int = 0, harmless: Sequence[str] = ()) -> str:
    """The last complaint in LOG after its first SINCE bytes, its last line where it complains of nothing, or ``none``.

    harmless: how words begin that are written in any case.
    """
    last = panic = ""
    for line in _backwards(log, _TAIL, since):
        words, wrong = said(line)
        if not words or words.startswith(tuple(harmless)):
            continue
        if panic:  # zap tells what it is about to panic for, and why
            last = words if wrong and panic in words else last
            break
        if wrong:
            last, panic = words, words.partition("panic: ")[2]
            if panic:
                continue
            break
        last = last or words
    return f"{last[:_LONGEST]} …" if len(last) > _LONGEST else last or "none"


def last_lines(log: Path, lines: int = 3) -> str:
    """The last LINES lines of LOG as they stand, joined by `` | ``; ``none`` when there are none."""
    return " | ".join(reversed(list(islice(_backwards(log, 8192, 0), lines)))) or "none"


def size_of(log: Path) -> int:
    """The bytes that LOG has; 0 when it is not there."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


def _backwards(log: Path, size: int, since: int) -> Iterator[str]:
    """The lines of LOG that are not blank, last first: within its last SIZE bytes, and after its first SINCE."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, os.fstat(file.fileno()).st_size - size))
            text = file.read().decode(errors="replace")
    except OSError:
        return
    for line in reversed(text.splitlines()):
        if stripped := line.strip():
            yield stripped
