"""What the watchdog knows of a run's writes: which were answered, which were not. Pure."""

from __future__ import annotations

from chaosmesh_ext.mesh.notes import Entry
from chaosmesh_ext.mesh.watchdog.messages import Answered, Forget, Intent

__all__ = ["Book"]

Target = tuple[str, str, str]


class Book:
    """unanswered: by number, what may have been written, or may be written yet. known: the objects that hold something
    of the run: the uid where it made the object, else empty; not its Lease and its locks, which go last and are found
    by their label. memory: what it has in an object of somebody else's, should the note there be wiped. namespaces:
    where it wrote, and where else to look. kinds: that it wrote, or may have.
    """

    def __init__(self) -> None:
        self.unanswered: dict[int, Intent] = {}
        self.known: dict[Target, str] = {}
        self.memory: dict[Target, tuple[Entry, ...]] = {}
        self.namespaces: set[str] = set()
        self.kinds: set[str] = set()

    def intend(self, intent: Intent) -> None:
        """A write is about to be sent."""
        self.unanswered[intent.number] = intent
        self.namespaces.add(intent.namespace)
        self.kinds.add(intent.kind)

    def answered(self, answer: Answered) -> None:
        """What became of it; an answer to what is no question says nothing."""
        intent = self.unanswered.pop(answer.number, None)
        if intent is None or answer.refused or intent.kind == "Lease":
            return
        if intent.created:
            self.known[intent.target] = answer.uid
        else:
            self.known.setdefault(intent.target, "")
            self.memory[intent.target] = answer.entries

    def forget(self, what: Forget) -> None:
        """It is out of it; a write that was not answered may still arrive."""
        target = (what.kind, what.namespace, what.name)
        rest = tuple(entry for entry in self.memory.pop(target, ()) if what.cell not in ("", entry.cell))
        if rest:
            self.memory[target] = rest
        if not what.cell:
            self.known.pop(target, None)

    def undone(self, target: Target) -> None:
        """What is known of TARGET is out of it."""
        self.known.pop(target, None)

    def settled(self, number: int) -> None:
        """The write NUMBER is undone, and cannot come any more."""
        self.unanswered.pop(number, None)
