"""How long a machine kept an event loop from what was due, so that what it measured meanwhile can be judged."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

__all__ = ["Stalls"]

_TICK_S = 0.02
_USUAL_S = 0.01


class Stalls:
    """While it is entered; `seconds`: how long, so far."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching

    async def _watch(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            due = now() + _TICK_S
            await asyncio.sleep(_TICK_S)
            late = now() - due
            if late > _USUAL_S:
                self.seconds += late
