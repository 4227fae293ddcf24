"""The runner's side of its watchdog."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.mesh.notes import Entry
from chaosmesh_ext.mesh.transport import Access
from chaosmesh_ext.mesh.watchdog import messages as say
from chaosmesh_ext.mesh.watchdog.log import forget_log, log_of

if TYPE_CHECKING:
    import subprocess

__all__ = ["Watchdog"]

LATE_S = 65.0
"""How long after its sender's end a write may still arrive: an API server gives up a request after 60 s."""
PATIENCE_S = 600.0
"""How long after the deadline the watchdog tries to reach an API that does not answer."""
READY_S = 30.0
"""How long its start may take."""
HEARD_S = 5.0
"""How long it may take to hear of an intent."""
END_S = 2.0
"""How long it may take to end."""


class Watchdog:
    """A process that undoes the run RUN when we cannot any more. Safe to use from several threads."""

    def __init__(self, run: str, process: subprocess.Popen[bytes], log: Path | None) -> None:
        self.run = run
        self._process, self._log = process, log
        self._said = threading.Condition()
        self._sending = threading.Lock()
        self._number = 0
        self._heard: set[int] = set()
        self._ready = self._released = self._stays = self._ended = False
        self._over = self._failed = ""
        self._reader = threading.Thread(target=self._read, name="chaosmesh-watchdog", daemon=True)
        self._reader.start()

    @classmethod
    def start(
        cls,
        access: Access,
        *,
        run: str,
        deadline: float,
        heartbeat: float = 1.0,
        silence: float = 10.0,
        late: float | None = None,
        patience: float | None = None,
        ready: Self | None = None,
    ) -> Self:
        """Start it for RUN; returns when it has spoken to the API.

        DEADLINE: seconds from now, after which it undoes the run in any case. HEARTBEAT, SILENCE: seconds between two
        calls of `beat`, and without one, after which we count as dead. LATE, PATIENCE: `LATE_S` and `PATIENCE_S`.
        READY: one of RUN that was made ready, see `make_ready`. Raises Inconclusive with its last words.
        """
        if ready is not None and ready._ended:
            ready.discard()
            ready = None
        watchdog = ready or cls.make_ready(run)
        return watchdog._begun(access, deadline, heartbeat, silence, late, patience)

    @classmethod
    def make_ready(cls, run: str) -> Self:
        """A process for RUN that waits to be started: half a second is spared then. It has nothing to watch over, and
        ends with us. Raises Inconclusive.
        """
        try:
            return cls(run, *cls._process_of(run))
        except BaseException:  # Ctrl-C among them: a process that has begun ends with its pipe
            forget_log(run)
            raise

    def discard(self) -> None:
        """End one that was made ready and never started."""
        self._kill()

    @staticmethod
    def _process_of(run: str) -> tuple[subprocess.Popen[bytes], Path | None]:
        """The process, and where its standard error goes."""
        import subprocess

        log, errors = log_of(run)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "chaosmesh_ext.mesh.watchdog", *([str(log)] if log else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors if errors is not None else subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,  # neither the terminal's end nor a signal to our group reaches it
            )
        except OSError as error:
            raise Inconclusive(f"the run's watchdog could not be started: {error}") from error
        finally:
            if errors is not None:
                errors.close()
        return process, log

    def _begun(
        self,
        access: Access,
        deadline: float,
        heartbeat: float,
        silence: float,
        late: float | None,
        patience: float | None,
    ) -> Self:
        """Ourselves, once it has spoken to the API; see `start`."""
        first = say.Start(
            access,
            self.run,
            os.getpid(),
            deadline,
            heartbeat,
            silence,
            LATE_S if late is None else late,
            PATIENCE_S if patience is None else patience,
            str(self._log or ""),
        )
        try:
            if not (self._send(first) and self._wait(lambda: self._ready, READY_S)):
                words = self._failed or self._last_words()
                raise Inconclusive(f"the run's watchdog could not be started: {words}")
        except BaseException:  # Ctrl-C among them
            self._kill()
            raise
        os.set_blocking(self._input.fileno(), False)  # one that does not read must not hold us up
        return self

    @property
    def took_over(self) -> str:
        """Why it undoes the run, empty while it does not: the run must stop then."""
        return self._over

    @property
    def died(self) -> str:
        """Why it cannot undo anything any more, empty while it can: the run must stop then, and undo by itself."""
        if not self._ended or self._released or self._over:
            return ""
        return f"the run's watchdog died: {self._last_words()}"

    def intent(self, kind: str, namespace: str, name: str, *, version: str = "", created: bool = False) -> int:
        """Tell it that a write is about to be sent: a creation, or a patch of the object at VERSION; its number.

        Raises Inconclusive when it has not heard that: the write must not be sent.
        """
        with self._sending:
            self._number += 1
            number = self._number
        self._send(say.Intent(number, kind, namespace, name, version, created))
        if self._wait(lambda: number in self._heard, HEARD_S):  # where it was not sent, that says why
            self._heard.discard(number)
            return number
        if self._over:
            raise Inconclusive(f"the run's watchdog has taken over, for {self._over}: nothing more is written")
        self._send(say.Answered(number, refused=True))
        why = self.died or "the run's watchdog does not answer"
        raise Inconclusive(f"{why}; without it nothing is written")

    def answered(
        self,
        number: int,
        *,
        uid: str = "",
        version: str = "",
        entries: tuple[Entry, ...] = (),
        refused: bool = False,
    ) -> None:
        """Tell it what the answer to the write NUMBER was; refused: nothing was written. ENTRIES: what the run has in
        the object. Raises nothing.
        """
        self._send(say.Answered(number, uid, version, entries, refused))

    def forget(self, kind: str, namespace: str, name: str, cell: str = "") -> None:
        """Tell it that nothing of CELL, or where that is empty of the run, is in that object any more."""
        self._send(say.Forget(kind, namespace, name, cell))

    def namespaces(self, names: Iterable[str]) -> None:
        """Tell it where to look for what is left, if the account may not look everywhere."""
        self._send(say.Namespaces(tuple(names)))

    def extend(self, deadline: float) -> None:
        """Undo the run DEADLINE seconds from now, no sooner."""
        self._send(say.Extend(deadline))

    def beat(self) -> None:
        """We live. Raises nothing: `took_over` and `died` say what became of it."""
        self._send(say.Beat())

    def close(self) -> None:
        """Nothing is left to undo. Returns when it has ended, or after two seconds.

        Where an answer never came, it stays as long as that write might arrive; where it has taken over, until all is
        undone.
        """
        self._leave(say.Bye())

    def abandon(self) -> None:
        """We could not undo everything: it should, for as long as that takes. Returns when it knows."""
        self._leave(say.Abandon())

    # --- the pipes ----------------------------------------------------------------------------------------------------

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        return self._process.stdin

    def _leave(self, word: say.Bye | say.Abandon) -> None:
        """Say the last WORD, and wait for what follows from it; a watchdog that is slow will read it yet."""
        if self._send(word) and self._wait(lambda: self._released, END_S) and not self._stays:
            self._reader.join(END_S)

    def _send(self, message: Any) -> bool:
        """Whether it was sent."""
        data = say.line(message)
        with self._sending:
            try:
                while data:
                    sent = os.write(self._input.fileno(), data)
                    data = data[sent:]
            except (OSError, ValueError):  # its end is closed, or it has not read for a long time
                return False
        return True

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        lines = say.Lines(say.FromWatchdog)
        while data := os.read(self._process.stdout.fileno(), 65536):
            for message in lines.take(data):
                with self._said:
                    self._take(message)
                    self._said.notify_all()
        self._process.wait()
        with self._said:
            self._ended = True
            self._said.notify_all()
        with self._sending:
            self._input.close()
        self._process.stdout.close()

    def _take(self, message: Any) -> None:
        match message:
            case say.Ready():
                self._ready = True
            case say.Heard():
                self._heard.add(message.number)
            case say.Released():
                self._released, self._stays = True, message.stays
            case say.Over():
                self._over = message.why
            case say.Failed():
                self._failed = message.why

    def _wait(self, condition: Any, seconds: float) -> bool:
        """Whether CONDITION came true within SECONDS; sooner when nothing can come any more."""
        with self._said:
            self._said.wait_for(lambda: condition() or self._ended or self._over or self._failed, seconds)
            return bool(condition())

    def _kill(self) -> None:
        self._process.kill()
        self._reader.join(END_S)
        if self._log is not None:
            self._log.unlink(missing_ok=True)

    def _last_words(self) -> str:
        text = ""
        if self._log is not None and self._log.is_file():
            text = self._log.read_text(errors="replace").strip()
        status = self._process.poll()
        how = "it did not answer" if status is None else f"it exited {status}" if status >= 0 else f"signal {-status}"
        return f"{how}, {text.splitlines()[-1][:300]}" if text else how
