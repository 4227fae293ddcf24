"""Standard output that cannot be written: a full disk, a closed descriptor, a reader that has gone.

What a command does to the mesh must not depend on it: a run that ends half-way because a disk is full would be worse
than a run that nobody can read of.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from chaosmesh_ext.errors import ChaosMeshError

__all__ = ["watched"]


@contextmanager
def watched() -> Iterator[None]:
    """Let what is inside go on where standard output takes nothing, and say so when it ends.

    Its exit code stays, but 0 becomes 3. A reader that has gone (``| head``) wanted no more: then nothing is said, and
    the code is what it is.
    """
    before = sys.stdout
    out = _Watched(before if before is not None else _Closed())
    sys.stdout = out
    try:
        yield
    except (SystemExit, click.exceptions.Exit) as end:
        code = end.code if isinstance(end, SystemExit) else end.exit_code
        out.flush()
        _say(out.lost, code)
        raise
    else:
        out.flush()
        _say(out.lost, None)
    finally:
        sys.stdout = before


def _say(lost: OSError | None, code: Any) -> None:
    """Say that the output was LOST, if it was, and leave with another CODE where that would be 0."""
    if lost is None or lost.errno == errno.EPIPE:
        return
    with suppress(OSError):
        click.echo(
            f"Error: standard output could not be written: {lost.strerror}; what the command did stands, only its "
            "words are missing",
            err=True,
        )
    if not code:
        sys.exit(ChaosMeshError.exit_code)


class _Watched(io.TextIOBase):
    """STREAM; from its first failure on, nothing. lost: that failure."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        if self.lost is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        if self.lost is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.lost = error
        with suppress(OSError, ValueError):  # what it still holds must not fail once more when Python ends
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def writable(self) -> bool:
        return True

    def __getattribute__(self, name: str) -> Any:
        if name in ("encoding", "errors", "newlines", "buffer"):
            return getattr(self._stream, name, None)
        return super().__getattribute__(name)


class _Closed(io.TextIOBase):
    """What stands for a descriptor that was closed before Python began."""

    def write(self, _text: str) -> int:
        raise OSError(errno.EBADF, "it is closed")
