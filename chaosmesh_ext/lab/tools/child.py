"""A program that works for a while: niced, in a process group that does not outlive us, with a log to quote from."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.process import die_with_parent

__all__ = ["last_words", "run", "says"]

_CHATTER = re.compile(r"go: (downloading|finding|found) |\S+$|warning:|\[notice\]", re.IGNORECASE)
"""Lines that say how far a build is, not why it failed: a module, a package that was compiled, pip's notices."""

_LONGEST = 400
"""Characters of a program's last words: one line of a terminal or three."""


def run(
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    tick: Callable[[float], None] = lambda _: None,
    every: float = 1.0,
) -> bool:
    """Run COMMAND with its output in LOG; whether it succeeded.

    tick: called every EVERY seconds with the seconds gone. Whatever ends us meanwhile, Ctrl-C too, first ends the
    command with all its children. Raises LabError when it cannot be started.
    """
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("wb") as file, _undisturbed() as mask:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=cwd,
                    start_new_session=True,
                    preexec_fn=partial(_politely, mask),  # noqa: PLW1509 - there are no threads here
                )
            except OSError as error:
                raise LabError(f"{command[0]} could not be started: {error.strerror}") from error
        while True:
            try:
                return process.wait(timeout=every) == 0
            except subprocess.TimeoutExpired:
                tick(time.monotonic() - started)
    except BaseException:
        if process is not None:
            _end(process)
        raise


@contextlib.contextmanager
def _undisturbed() -> Iterator[set[signal.Signals]]:
    """Let signals wait while a program is started: one that came before we know its number would leave its children.

    Gives the signals that were blocked before.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield {one for one in before if isinstance(one, signal.Signals)}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _politely(mask: set[signal.Signals]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    die_with_parent()
    os.nice(19)


def _end(process: subprocess.Popen[bytes], grace: float = 2.0) -> None:
    """End the process group: SIGTERM, up to GRACE seconds, SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_words(log: Path, lines: int = 3) -> str:
    """The last LINES lines of LOG that say something, in one line; says so when there are none."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        text = ""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    words = [line for line in said if not _CHATTER.match(line)] or said
    joined = " | ".join(" ".join(line.split()) for line in words[-lines:])
    return f"…{joined[-_LONGEST:]}" if len(joined) > _LONGEST else joined or "it did not say why"


def says(program: Path, asked: tuple[str, ...]) -> str:
    """The first line that PROGRAM says of its version, empty when it does not say one."""
    try:
        done = subprocess.run(
            [str(program), *asked],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), "")
