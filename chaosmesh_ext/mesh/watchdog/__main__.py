"""The watchdog process: `python -m chaosmesh_ext.mesh.watchdog [LOG]`, started by a runner, spoken to by its pipe."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.watchdog.ear import Ear
from chaosmesh_ext.mesh.watchdog.guard import Guard
from chaosmesh_ext.mesh.watchdog.messages import Failed, Ready, Start

_TIMEOUT = (3.0, 5.0)
"""Seconds to connect and to read: whoever undoes asks again sooner than a runner would."""


def main() -> int:
    """Watch over the run that the first message on standard input names."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ear = Ear(0, 1)
    start = _first(ear)
    if start is None:
        for log in sys.argv[1:]:  # it was made ready for a run that never began
            Path(log).unlink(missing_ok=True)
        return 2
    ear.follow(start.pid)
    sys.path[:] = [str(Path(entry).absolute()) for entry in sys.path]
    os.chdir("/")
    try:
        client = Client(start.access, timeout=_TIMEOUT)
        client.version()
    except ChaosMeshError as error:
        ear.tell(Failed(str(error)))
        return 1
    guard = Guard(ear, start, client, _log)
    ear.tell(Ready())
    if not guard.watch():
        return 1
    if start.log:
        Path(start.log).unlink(missing_ok=True)
    return 0


def _first(ear: Ear) -> Start | None:
    while ear.open:
        for message in ear.messages(10.0):
            if isinstance(message, Start):
                return message
    return None


def _log(words: str) -> None:
    now = time.time()
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
    try:
        sys.stderr.write(f"{text} {words}\n")
        sys.stderr.flush()
    except OSError:  # a full disk must not keep us from undoing
        return


if __name__ == "__main__":
    sys.exit(main())
