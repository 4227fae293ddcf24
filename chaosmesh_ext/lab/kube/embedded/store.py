"""The objects, their one counter of versions, a bounded memory of changes, and those who want to hear of them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import Kind

__all__ = ["HISTORY", "Change", "Listener", "Store"]

HISTORY = 4096
"""Changes remembered for watches; one that asks for older ones is told 410 and lists again."""

_log = logging.getLogger(__name__)


class Change(msgspec.Struct, frozen=True):
    """One write: `type` is ADDED, MODIFIED or DELETED; `old` is what was there before, None for ADDED.

    version: the counter's value, which is the object's resourceVersion too. Each write makes exactly one change, so
    versions have no gaps.
    """

    version: int
    type: str
    kind: Kind
    obj: Obj
    old: Obj | None = None


Listener = Callable[[Change], None]
"""Called inside the write, in the order of versions."""


class Store:
    """Objects by kind, namespace and name. What is in here is never changed, only replaced.

    history: how many changes are remembered.
    """

    def __init__(self, history: int = HISTORY) -> None:
        self.version = 0
        self._objects: dict[Kind, dict[tuple[str, str], Obj]] = {}
        self._changes: deque[Change] = deque(maxlen=history)
        self._listeners: list[Listener] = []
        self._undelivered: deque[Change] = deque()
        self._delivering = False

    def get(self, kind: Kind, namespace: str, name: str) -> Obj | None:
        """The object itself: not to be changed."""
        return self._objects.get(kind, {}).get((namespace, name))

    def list(self, kind: Kind, namespace: str = "") -> list[Obj]:
        """The objects themselves, of one namespace or of all, sorted by namespace and name as etcd's keys are."""
        found = self._objects.get(kind, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def all(self) -> Iterator[tuple[Kind, Obj]]:
        """Every object; the store may change meanwhile."""
        for kind, objects in list(self._objects.items()):
            for obj in list(objects.values()):
                yield kind, obj

    def put(self, kind: Kind, obj: Obj) -> Obj:
        """Store OBJ, which from now on belongs to the store, under the next version."""
        metadata = obj["metadata"]
        objects = self._objects.setdefault(kind, {})
        key = (metadata.get("namespace", ""), metadata["name"])
        old = objects.get(key)
        self._stamp(obj)
        objects[key] = obj
        self._tell(Change(self.version, "ADDED" if old is None else "MODIFIED", kind, obj, old))
        return obj

    def remove(self, kind: Kind, namespace: str, name: str) -> Obj:
        """Take the object out; the answer is its last state, under the version of the removal.

        Raises KeyError when it is not there.
        """
        old = self._objects[kind].pop((namespace, name))
        last = {**old, "metadata": dict(old["metadata"])}
        self._stamp(last)
        self._tell(Change(self.version, "DELETED", kind, last, old))
        return last

    def forget(self) -> None:
        """Remember changes from now on only."""
        self._changes.clear()

    def oldest(self) -> int:
        """The oldest version from which `since` can tell everything."""
        return self._changes[0].version - 1 if self._changes else self.version

    def since(self, version: int) -> Sequence[Change]:
        """The changes after VERSION, which must be `oldest()` or newer."""
        count = self.version - version
        if count > len(self._changes):
            raise LookupError(version)
        return [self._changes[index] for index in range(len(self._changes) - count, len(self._changes))]

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call LISTENER with every change from now on; the answer ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _stamp(self, obj: Obj) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)

    def _tell(self, change: Change) -> None:
        """Deliver in order, also when a listener writes: its change waits until all have heard of the present one."""
        self._changes.append(change)
        self._undelivered.append(change)
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._undelivered:
                told = self._undelivered.popleft()
                for listener in list(self._listeners):
                    try:
                        listener(told)
                    except Exception:
                        # the write is done; who cannot bear to hear of it must not fail the writer
                        _log.exception("a subscriber failed on %s of %s", told.type, told.kind.resource)
        finally:
            self._delivering = False
