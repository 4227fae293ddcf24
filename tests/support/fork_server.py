"""Processes in 20 ms: a server that has imported everything, has one thread, and forks.

`python fork_server.py` is that server; it reads tasks, one JSON object a line, from standard input, and writes what
became of them to standard output. `ForkServer` is its client.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Child", "ForkServer"]


class Child:
    """A process. status: as `os.waitpid` has it, once it ended."""

    def __init__(self) -> None:
        self.pid = 0
        self.status: int | None = None
        self._started, self._ended = threading.Event(), threading.Event()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    @property
    def code(self) -> int | None:
        """Its exit code, the negative number of the signal that ended it, or None."""
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)

    def wait(self, timeout: float) -> bool:
        """Whether it ended within TIMEOUT seconds."""
        return self._ended.wait(timeout)

    def signal(self, number: int) -> None:
        """Send it a signal; one that ended gets none."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class ForkServer:
    """MODULE's function `main(task)` is called in a process of its own for each task, and its exit code is the process's."""

    def __init__(self, module: str) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__, module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._children: dict[int, Child] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="fork-server", daemon=True)
        self._reader.start()

    def start(self, task: Mapping[str, Any]) -> Child:
        """Begin TASK: `env`, `cwd` and `output` (a file) are the process's, the rest is `main`'s."""
        child = Child()
        with self._lock:
            number = len(self._children)
            self._children[number] = child
            self._server.stdin.write(json.dumps({**task, "number": number}) + "\n")
            self._server.stdin.flush()
        assert child._started.wait(120), "the fork server does not answer"
        return child

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait(20)
        self._reader.join(5)
        self._server.stdout.close()

    def _read(self) -> None:
        for line in self._server.stdout:
            said = json.loads(line)
            child = self._children[said["number"]]
            if "pid" in said:
                child.pid = said["pid"]
                child._started.set()
            else:
                child.status = said["status"]
                child._ended.set()


def _serve(module: str) -> int | None:
    """The server; in a child, the exit code."""
    work = importlib.import_module(module)
    alive: dict[int, int] = {}
    buffer = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.005 if alive else None)
        if readable:
            data = os.read(0, 65536)
            if not data:
                for pid in alive:
                    os.kill(pid, signal.SIGKILL)
                return None
            buffer += data
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                task = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    return _child(work, task)
                alive[pid] = task["number"]
                _say(number=task["number"], pid=pid)
        while alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            _say(number=alive.pop(pid), status=status)


def _child(work: Any, task: dict[str, Any]) -> int:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no runner outlives the tests
    os.setpgid(0, 0)
    devnull = os.open(os.devnull, os.O_RDONLY)
    out = os.open(task["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((devnull, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.close(devnull)
    os.close(out)
    os.environ.update(task["env"])
    os.chdir(task["cwd"])
    return int(work.main(task) or 0)


def _say(**words: Any) -> None:
    os.write(1, (json.dumps(words) + "\n").encode())


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(_serve(sys.argv[1]))
