"""A witness: is told of each write before it is sent and after it was answered, so that it can undo what we cannot.

The run's witness is its watchdog (`mesh.watchdog`). What is never answered may have been written all the same, or be
written yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from chaosmesh_ext.errors import ChaosMeshError, ServerError, Unreachable
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.ledger import Entry, entries
from chaosmesh_ext.mesh.pointer import Op

__all__ = ["NOBODY", "Ear", "Witness"]


class Ear(Protocol):
    """What hears of writes."""

    def intent(self, kind: str, namespace: str, name: str, *, version: str = "", created: bool = False) -> int:
        """A write is about to be sent: a creation, or a patch of the object at VERSION. Its number.

        Raises Inconclusive when the write must not be sent.
        """

    @property
    def run(self) -> str:
        """Whose writes it hears of."""

    def answered(
        self,
        number: int,
        *,
        uid: str = "",
        version: str = "",
        entries: tuple[Entry, ...] = (),
        refused: bool = False,
    ) -> None:
        """The answer to the write NUMBER came; refused: nothing was written. ENTRIES: what the run has in the object
        now.
        """

    def forget(self, kind: str, namespace: str, name: str, cell: str) -> None:
        """Nothing of CELL is in that object any more."""


class Witness:
    """Writes that an EAR hears of."""

    def __init__(self, ear: Ear | None = None) -> None:
        self._ear = ear

    def create(self, client: Client, obj: Obj) -> Obj:
        """As `Client.create`."""
        meta = obj["metadata"]
        number = self._intent(obj["kind"], meta.get("namespace", ""), meta["name"], created=True)
        return self._answered(number, lambda: client.create(obj))

    def json_patch(
        self, client: Client, kind: str, namespace: str, name: str, ops: Sequence[Op], *, version: str
    ) -> Obj:
        """As `Client.json_patch`."""
        number = self._intent(kind, namespace, name, version=version)
        return self._answered(number, lambda: client.json_patch(kind, namespace, name, ops, version=version))

    def forget(self, kind: str, namespace: str, name: str, cell: str) -> None:
        """Nothing of CELL is in that object any more: what its owner puts there from now on is his."""
        if self._ear:
            self._ear.forget(kind, namespace, name, cell)

    def _intent(self, kind: str, namespace: str, name: str, *, version: str = "", created: bool = False) -> int:
        return self._ear.intent(kind, namespace, name, version=version, created=created) if self._ear else 0

    def _answered(self, number: int, write: Callable[[], Obj]) -> Obj:
        try:
            obj = write()
        except (Unreachable, ServerError):
            raise  # it may have been written all the same, or be written yet
        except ChaosMeshError:
            if self._ear:
                self._ear.answered(number, refused=True)
            raise
        if self._ear:
            meta = obj["metadata"]
            ours = entries(obj, self._ear.run)
            self._ear.answered(number, uid=meta.get("uid", ""), version=meta.get("resourceVersion", ""), entries=ours)
        return obj


NOBODY = Witness()
"""Nobody is told: for writes that undo."""
