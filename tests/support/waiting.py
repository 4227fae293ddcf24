"""Waiting for what must come: for as long as it may take on a machine that has no time for us."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

__all__ = ["PATIENCE_S", "come", "until"]

PATIENCE_S = 60.0
"""Nobody waits so long where all is well: it only says when to call what never came a failure, seconds."""

_PAUSE_S = 0.005


def until(condition: Callable[[], Any], what: str | Callable[[], str] = "", seconds: float = PATIENCE_S) -> Any:
    """What CONDITION says once that is true. WHAT: what is waited for. Fails after SECONDS."""
    deadline = time.monotonic() + seconds
    while not (said := condition()):
        assert time.monotonic() < deadline, _in_vain(condition, what, seconds)
        time.sleep(_PAUSE_S)
    return said


async def come(condition: Callable[[], Any], what: str | Callable[[], str] = "", seconds: float = PATIENCE_S) -> Any:
    """The same, in an event loop; CONDITION may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        said = condition()
        if inspect.isawaitable(said):
            said = await said
        if said:
            return said
        assert time.monotonic() < deadline, _in_vain(condition, what, seconds)
        await asyncio.sleep(_PAUSE_S)


def _in_vain(condition: Callable[[], Any], what: str | Callable[[], str], seconds: float) -> str:
    return f"waited {seconds:g} s, but not: {(what if isinstance(what, str) else what()) or condition}"
