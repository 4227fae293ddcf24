"""A server written in Go: none of the user's settings reach it, and what it says when it dies is understood."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from chaosmesh_ext.lab.process import Process, size_of, tail
from chaosmesh_ext.lab.state import LAB_VARIABLE

__all__ = ["GoProgram", "Said", "said"]

_TAIL = 1024 * 1024
"""Bytes of a log in which last words are looked for: Go writes the stacks of all goroutines after them."""

_LONGEST = 400
"""Characters of last words: one of a terminal's lines, or four."""

_KLOG = re.compile(r"(?P<level>[IWEF])\d{4} [\d:.]+ +\d+ [^ \]]+\] (?P<words>.+)")
_ISTIO = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z\t(?P<level>[a-z]+)\t(?P<words>.+)")
_GO_LOG = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?P<level>DEBUG |INFO |WARN )?(?P<words>.+)")
_OTHER = re.compile(r"(panic|fatal error|runtime|SIG[A-Z]+|[Ee]rror): .+")
_BAD = frozenset({"E", "F", "error", "dpanic", "panic", "fatal"})


class Said(NamedTuple):
    """What a line of a log says. wrong: it complains of something."""

    words: str
    wrong: bool


def said(line: str) -> Said:
    """What LINE says, in JSON as zap writes it, in klog's, Istio's or Go's own layout, or as it stands.

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
    for layout in (_KLOG, _ISTIO):
        if found := layout.fullmatch(line):
            return Said(found["words"].replace("\t", ": "), found["level"] in _BAD)
    if found := _GO_LOG.fullmatch(line):
        # Go's log package has no levels: what is written by it is usually log.Fatal's
        return Said(found["words"], not found["level"])
    return Said(line, bool(_OTHER.fullmatch(line)))


class GoProgram(Process):
    """A `Process` whose last words are what it said was wrong, in one line, without stack traces.

    Nothing of the user's environment reaches it: etcd reads ETCD_…, Jaeger LOG_LEVEL and CONFIG_FILE, istiod PILOT_…,
    and all of them would call the lab's own addresses through a proxy.

    env: its variables. harmless: how lines begin that it writes in any case.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        *,
        harmless: Sequence[str] = (),
    ) -> None:
        ours = {key: os.environ[key] for key in (LAB_VARIABLE,) if key in os.environ}
        super().__init__(name, command, log, {**ours, **(env or {})})
        self._harmless = tuple(harmless)

    async def ready(self, check: Callable[[], Awaitable[bool]], timeout: float = 10.0) -> None:
        """As of `Process`; what it complained of until it was ready is none of its last words later."""
        await super().ready(check, timeout)
        self._began = size_of(self._log)

    def last_words(self, lines: int = 1) -> str:
        """The last LINES complaints since it was ready, or started; its last line when it complains of nothing."""
        every = [one for line in tail(self._log, _TAIL, self._began) if (one := said(line)).words]
        every = [one for one in every if not one.words.startswith(self._harmless)]
        found = [one.words for one in every if one.wrong][-lines:] or [one.words for one in every[-1:]]
        words = " | ".join(found) or "none"
        return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} …"
