"""The file that takes the watchdog's words: there is one as long as it has something to undo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

__all__ = ["forget_log", "log_of"]


def _folders() -> tuple[Path, ...]:
    """Where its log may be, the first that can be written to."""
    import tempfile

    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state) / "chaosmesh-ext", Path(tempfile.gettempdir())


def _log_in(folder: Path, run: str) -> Path:
    return folder.expanduser() / f"watchdog-{run}.log"


def log_of(run: str) -> tuple[Path | None, IO[bytes] | None]:
    """A file for its standard error that nobody else reads; none where there is no place for one."""
    for folder in _folders():
        try:
            file = _log_in(folder, run)
            file.parent.mkdir(parents=True, exist_ok=True)
            number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            continue
        return file, os.fdopen(number, "wb")
    return None, None


def forget_log(run: str) -> None:
    """There is none any more."""
    for folder in _folders():
        try:
            _log_in(folder, run).unlink(missing_ok=True)
        except OSError:
            continue
