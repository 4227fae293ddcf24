"""The watchdog's life: it listens to the runner until that ends, dies or falls silent; then it undoes the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from chaosmesh_ext.errors import ChaosMeshError, Unreachable
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.watchdog import messages as say
from chaosmesh_ext.mesh.watchdog.book import Book
from chaosmesh_ext.mesh.watchdog.ear import Ear
from chaosmesh_ext.mesh.watchdog.rescue import Rescue
from chaosmesh_ext.redaction import words

__all__ = ["Guard"]

_WARM_S: Final = 10.0
"""Between two questions that keep the connection open and the credentials new."""
_POLL_S: Final = 0.25
"""Between two looks for a creation that may come late."""
_RARELY_S: Final = 1.0
"""The same, as long as a runner that is stopped may still send it."""
_PAUSES_S: Final = (0.1, 5.0)
"""Between two tries on an API that fails: at first, and at most."""


class Guard:
    """Watches over one run, as START says; LOG takes a line for people."""

    def __init__(self, ear: Ear, start: say.Start, client: Client, log: Callable[[str], None]) -> None:
        self._ear, self._start, self._client, self._log = ear, start, client, log
        self._book = Book()
        self._rescue = Rescue(client, start.run, self._book, log)
        self._deadline = time.monotonic() + start.deadline
        self._quiet = 0.0
        self._over = ""
        self._released_at: float | None = None

    def watch(self) -> bool:
        """Watch until nothing of the run can be left; False when something may be, and nobody can be asked any more."""
        threading.Thread(target=self._keep_warm, daemon=True).start()
        while not self._over and self._released_at is None:
            self._listen(self._start.heartbeat)
            self._judge()
        if self._over:
            self._log(f"takes over: {self._over}")
            self._ear.tell(say.Over(self._over))
        elif not self._book.unanswered:
            return True
        return self._settle() and self._insist(self._rescue.found) and self._insist(self._rescue.let_go)

    # --- listening ----------------------------------------------------------------------------------------------------

    def _listen(self, seconds: float) -> None:
        """Hear what the runner says within SECONDS, or until it ends."""
        asked = time.monotonic()
        if not self._over and self._released_at is None:
            seconds = max(0.0, min(seconds, self._deadline - asked))
        heard = self._ear.messages(seconds)
        if heard:
            self._quiet = 0.0
        else:
            # counted in own turns: when the whole machine was asleep, or too busy for us, the runner was not silent
            self._quiet += min(time.monotonic() - asked, self._start.heartbeat)
        self._take(heard)

    def _take(self, heard: Iterable[Any]) -> None:
        for message in heard:
            match message:
                case say.Intent():
                    if self._over:
                        self._ear.tell(say.Over(self._over))
                    else:
                        self._book.intend(message)
                        self._ear.tell(say.Heard(message.number))
                case say.Answered():
                    self._book.answered(message)
                case say.Forget():
                    self._book.forget(message)
                case say.Namespaces():
                    self._book.namespaces.update(message.names)
                case say.Extend():
                    self._deadline = time.monotonic() + message.deadline
                case say.Bye() | say.Abandon():
                    self._released_at = time.monotonic()
                    if isinstance(message, say.Bye):
                        self._deadline = min(self._deadline, self._released_at)  # the run is over: patience begins
                    elif not self._over:
                        self._over = "the runner could not undo all of it"
                    self._ear.tell(say.Released(stays=bool(self._over or self._book.unanswered)))

    def _judge(self) -> None:
        """Whether it is time to take over, and why."""
        if self._over or self._released_at is not None:
            return
        if self._ear.gone_at is not None or not self._ear.open:
            self._over = "the runner is gone"
        elif time.monotonic() >= self._deadline:
            self._over = "the run's deadline passed"
        elif self._quiet >= self._start.silence:
            self._over = f"the runner was silent for {self._start.silence:g} s"

    # --- undoing ------------------------------------------------------------------------------------------------------

    def _settle(self) -> bool:
        """Undo what is known until nothing can come any more; False when the API did not let us."""
        while True:
            end = self._end_of_late_writes()
            last_look = end is not None and time.monotonic() >= end
            if not self._insist(self._rescue.known):
                return False
            if not self._book.unanswered and not self._book.known:
                return True
            if last_look and not self._book.known:
                names = ", ".join(map(str, self._book.unanswered.values()))
                self._log(f"never came: {names}")
                return True
            self._listen(_POLL_S if end is not None else _RARELY_S)

    def _end_of_late_writes(self) -> float | None:
        """When nothing that the runner sent can arrive any more; None while it may still send."""
        ends = [at for at in (self._ear.gone_at, self._released_at) if at is not None]
        return min(ends) + self._start.late if ends else None

    def _insist(self, work: Callable[[], list[str]]) -> bool:
        """Do WORK until it leaves no problem; False when the time for that is over."""
        pause, most = _PAUSES_S
        said: list[str] = []
        while True:
            try:
                problems = work()
            except Unreachable as error:
                problems = [str(error)]
            except Exception as error:  # whatever it is, nobody else is left to try again
                problems = [words(error)]
            if not problems:
                return True
            if problems != said:
                said = problems
                self._log(f"not yet: {'; '.join(problems)}")
            if time.monotonic() > self._deadline + self._start.patience:
                self._log(f"gives up; undo it by hand: chaos mesh recover --run {self._start.run}")
                return False
            until = time.monotonic() + pause
            while (left := until - time.monotonic()) > 0:
                self._listen(left)
            pause = min(pause * 2, most)

    def _keep_warm(self) -> None:
        said = ""
        while True:
            time.sleep(_WARM_S)
            now = ""
            try:
                self._client.version()
            except ChaosMeshError as error:
                now = str(error)
            if now != said:
                said = now
                self._log(now or "the Kubernetes API answers again")
