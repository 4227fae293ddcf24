"""The parent of the lab's applications: imports everything once, then forks a process for each.

Started by `AppHost` as ``python -m chaosmesh_ext.lab.apps.forker``; takes orders on standard input and tells events
on standard output (see `wire`). One thread and no event loop, so that a fork copies nothing half-done. Ends, and ends
its applications, when its standard input closes or on SIGTERM; a supervisor that dies does the former.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import subprocess
import sys
import traceback
from typing import NoReturn

import msgspec

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.apps.serving import prepare, serve
from chaosmesh_ext.lab.apps.spec import COMMAND, AppSpec
from chaosmesh_ext.lab.apps.wire import NO_CERTIFICATES, End, Event, Kill, Order, Refused, Run, Started
from chaosmesh_ext.lab.process import die_with_parent

__all__ = ["main"]


_FILLING = 60
"""Objects of each small size that fill the holes in this process's heap before it forks.

A new object of a child's then goes to fresh memory, not into a page shared with its siblings, which would be copied
for it: 4 of 66 MB for six applications (measured; 30 and 200 save less).
"""


class _Forker:
    def __init__(self) -> None:
        self._pids: set[int] = set()
        self._wake, self._alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._ending = False

    def loop(self) -> None:
        """Obey until the orders end, then end every application."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(0, selectors.EVENT_READ)
        selector.register(self._wake, selectors.EVENT_READ)
        unread = b""
        while not self._ending:
            for key, _ in selector.select():
                if key.fd == self._wake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                    continue
                chunk = os.read(0, 65536)
                if not chunk:
                    self._ending = True
                *lines, unread = (unread + chunk).split(b"\n")
                for line in lines:
                    self._obey(msgspec.json.decode(line, type=Order))
            self._reap()
        for pid in self._pids:
            self._signal(pid, signal.SIGKILL)
        while self._pids:
            self._reap(wait=True)

    def _end(self, *_: object) -> None:
        self._ending = True

    def _obey(self, order: Order) -> None:
        match order:
            case Run(id=number, spec=spec, log=log):
                try:
                    pid = _execute(spec, log) if spec.app == COMMAND else self._fork(spec, log)
                except (OSError, LabError) as error:
                    self._tell(Refused(number, str(error)))
                else:
                    self._pids.add(pid)
                    self._tell(Started(number, pid))
            case Kill(pid=pid, number=number):
                if pid in self._pids:  # ours, and not reaped: the id cannot be another's
                    self._signal(pid, number)

    def _fork(self, spec: AppSpec, log: str) -> int:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        parent = os.getpid()
        try:
            pid = os.fork()
            if pid == 0:
                self._become(spec, output, parent)
        finally:
            os.close(output)
        return pid

    def _become(self, spec: AppSpec, output: int, parent: int) -> NoReturn:
        """In the child: leave everything of the parent's, be the application, and never return."""
        try:
            die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.closerange(3, 256)
            gc.enable()
            serve(spec)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)

    def _signal(self, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
        with contextlib.suppress(ProcessLookupError):  # it may not lead its group yet
            os.kill(pid, number)

    def _reap(self, *, wait: bool = False) -> None:
        while self._pids:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG))
            if ended is None:
                return
            pid = ended.si_pid
            # what a foreign program started and left behind goes with it, while its id cannot be another's
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if pid in self._pids:
                self._pids.discard(pid)
                self._tell(End(pid, os.waitstatus_to_exitcode(status)))

    def _tell(self, event: Event) -> None:
        with contextlib.suppress(BrokenPipeError):
            _write(msgspec.json.encode(event) + b"\n")


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _execute(spec: AppSpec, log: str) -> int:
    """Start a foreign program, told where to listen and where its sidecar is."""
    proxy = f"http://{spec.proxy_host}:15001"
    own = {"HOST": spec.host, "PORT": str(spec.port), "HTTP_PROXY": proxy, "http_proxy": proxy}
    ours = {*NO_CERTIFICATES.items(), *((name, os.environ.get(name, "")) for name in ("NO_PROXY", "no_proxy"))}
    inherited = dict(os.environ.items() - ours)
    command = spec.command()
    with open(log, "ab") as output:  # noqa: PTH123 the path came as text and is only passed on
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, **spec.env, **own},
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 one thread, and the child only calls prctl
            )
        except OSError as error:
            raise LabError(f"{command[0]} could not be started: {error.strerror}") from error
    process.returncode = 0  # reaped in `_reap`, not by Popen
    return process.pid


def main() -> None:
    """Do all that applications have in common, then obey."""
    gc.disable()
    prepare()
    gc.collect()
    filling = [bytes(size) for size in range(15, 480, 16) for _ in range(_FILLING)]
    gc.freeze()
    _Forker().loop()
    del filling


if __name__ == "__main__":
    main()
