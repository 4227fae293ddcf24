"""What runner and watchdog say to each other: JSON, a message a line, over the watchdog's standard input and output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from chaosmesh_ext.mesh.notes import Entry
from chaosmesh_ext.mesh.transport import Access

__all__ = [
    "Abandon",
    "Answered",
    "Beat",
    "Bye",
    "Extend",
    "Failed",
    "Forget",
    "FromRunner",
    "FromWatchdog",
    "Heard",
    "Intent",
    "Lines",
    "Namespaces",
    "Over",
    "Ready",
    "Released",
    "Start",
    "line",
]


class _Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """One line."""


# --- the runner says ------------------------------------------------------------------------------------------------


class Start(_Message, frozen=True):
    """The first message. Times are seconds.

    pid: of the runner. deadline: from now. heartbeat: between two beats. silence: without a message, after which the
    runner counts as dead. late: after the runner's end, within which a write that it sent may still arrive. patience:
    after the deadline, for which an API that does not answer is tried again. log: the file of standard error.
    """

    access: Access
    run: str
    pid: int
    deadline: float
    heartbeat: float
    silence: float
    late: float
    patience: float
    log: str = ""


class Intent(_Message, frozen=True):
    """A write is about to be sent: a creation, or a patch of the object at VERSION. It is answered with `Heard`."""

    number: int
    kind: str
    namespace: str
    name: str
    version: str = ""
    created: bool = False

    @property
    def target(self) -> tuple[str, str, str]:
        """Kind, namespace and name."""
        return self.kind, self.namespace, self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Answered(_Message, frozen=True):
    """The answer to the write NUMBER came; refused: nothing was written. entries: what the run has in the object, for
    the case that an owner wipes the note of it.
    """

    number: int
    uid: str = ""
    version: str = ""
    entries: tuple[Entry, ...] = ()
    refused: bool = False


class Forget(_Message, frozen=True):
    """Nothing of CELL, or where that is empty of the run, is in that object any more."""

    kind: str
    namespace: str
    name: str
    cell: str = ""


class Namespaces(_Message, frozen=True):
    """Where to look for what is left, if the account may not look everywhere."""

    names: tuple[str, ...]


class Extend(_Message, frozen=True):
    """The deadline is so many seconds from now."""

    deadline: float


class Beat(_Message, frozen=True):
    """The runner lives."""


class Bye(_Message, frozen=True):
    """The run has ended, nothing is left. It is answered with `Released`."""


class Abandon(_Message, frozen=True):
    """The runner could not undo all: the watchdog should."""


FromRunner = Start | Intent | Answered | Forget | Namespaces | Extend | Beat | Bye | Abandon


# --- the watchdog says ----------------------------------------------------------------------------------------------


class Ready(_Message, frozen=True):
    """It has spoken to the API."""


class Failed(_Message, frozen=True):
    """It cannot start."""

    why: str


class Heard(_Message, frozen=True):
    """It knows of the intent NUMBER: the write may be sent."""

    number: int


class Over(_Message, frozen=True):
    """It undoes the run; no write may be sent any more."""

    why: str


class Released(_Message, frozen=True):
    """It ends; where it STAYS, when nothing is left and the writes without an answer cannot arrive any more."""

    stays: bool = False


FromWatchdog = Ready | Failed | Heard | Over | Released


def line(message: Any) -> bytes:
    """MESSAGE as it is sent."""
    return msgspec.json.encode(message) + b"\n"


class Lines:
    """Messages of a type out of bytes as they come."""

    def __init__(self, kind: Any) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._rest = b""

    def take(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete with DATA."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for one in whole:
            yield self._decoder.decode(one)
