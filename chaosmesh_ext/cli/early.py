"""Ctrl-C before a command has begun: one line and exit code 4, as later.

From when `chaos` loads this package until a command takes over. What comes before belongs to Python and Chaos Toolkit,
whose program `chaos` is: a third of a second of their imports, in which nothing of ours runs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

__all__ = ["give_back", "take"]


def take() -> None:
    """End `chaos mesh …` at a Ctrl-C, for nothing has been done. Other commands, and who ignores it, are left alone."""
    if (
        Path(sys.argv[0]).name == "chaos"
        and "mesh" in sys.argv[1:]
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, _end)


def give_back() -> None:
    """From here on a Ctrl-C is Python's KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"Interrupted.\n")
    os._exit(4)  # an exception out of an import would be somebody's to catch
