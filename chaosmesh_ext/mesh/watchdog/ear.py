"""The runner as its watchdog hears it: a process, and the two pipes to it."""

from __future__ import annotations

import os
import select
import time
from typing import Any

from chaosmesh_ext.mesh.watchdog.messages import FromRunner, Lines, line

__all__ = ["Ear"]


class Ear:
    """Hears a process on the pipe READ, and tells it things on the pipe WRITE.

    open: whether its end of the pipe is open, as far as is known. gone_at: when it ended (monotonic), or None.
    """

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._lines = Lines(FromRunner)
        self._process: int | None = None
        self.open = True
        self.gone_at: float | None = None

    def follow(self, pid: int) -> None:
        """Know of the end of PID, our parent while it lives; where the system cannot tell, the pipe's end is its."""
        try:
            self._process = os.pidfd_open(pid)
        except ProcessLookupError:
            self._gone()
        except (AttributeError, OSError):  # not Linux, or forbidden in this container
            return
        if os.getppid() != pid:
            self._gone()

    def messages(self, seconds: float) -> list[Any]:
        """What it says within SECONDS; returns sooner, and perhaps nothing, when it ends."""
        watched = [self._read] if self.open else []
        if self._process is not None and self.gone_at is None:
            watched.append(self._process)
        if not watched:
            time.sleep(seconds)
            return []
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._read in ready:  # first what it had said before it died
            data = os.read(self._read, 65536)
            if not data:
                self.open = False
                if self._process is None:
                    self._gone()
            return list(self._lines.take(data))
        if ready:
            self._gone()
        return []

    def tell(self, message: Any) -> None:
        """Say MESSAGE, if anybody listens."""
        try:
            os.write(self._write, line(message))
        except OSError:
            return

    def _gone(self) -> None:
        if self.gone_at is None:
            self.gone_at = time.monotonic()
