"""The watchdog undoes a run: what it knows of at once, then what can be found, then locks and Lease."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from chaosmesh_ext.errors import ChaosMeshError, Conflict, Forbidden, NotFound, Unreachable
from chaosmesh_ext.mesh import ledger, locks
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.lease import RunLease
from chaosmesh_ext.mesh.pointer import Op, join
from chaosmesh_ext.mesh.undoing import let_go
from chaosmesh_ext.mesh.watchdog.book import Book
from chaosmesh_ext.mesh.watchdog.messages import Intent
from chaosmesh_ext.mesh.writes import CARRIED_BY, ROUTED_BY, Holding, holdings, take_out
from chaosmesh_ext.redaction import words

__all__ = ["Rescue"]

_AT_ONCE: Final = 4
"""Requests at the same time: as many as the API server will bear from one account."""
_FENCE: Final = "chaosmesh-ext/fence"
_ATTEMPTS: Final = 20


class Rescue:
    """Takes RUN out of the cluster, by what is in BOOK and what it finds. Each step may be done again.

    Its methods return what could not be done, and why; nothing when all was. They raise Unreachable.
    """

    def __init__(self, client: Client, run: str, book: Book, log: Callable[[str], None]) -> None:
        self._client, self._run, self._book, self._log = client, run, book, log

    def known(self) -> list[str]:
        """Undo the writes that are known; fence patches that were not answered, undo creations that came by now."""
        jobs = [partial(self._out, target, uid) for target, uid in self._book.known.items()]
        return _all([*jobs, *(partial(self._settle, intent) for intent in self._book.unanswered.values())])

    def found(self) -> list[str]:
        """Undo what is not known: by label, note, route names and markers."""
        problems: list[str] = []
        for kind in (*ROUTED_BY, *sorted(self._book.kinds.intersection(CARRIED_BY).difference(ROUTED_BY))):
            try:
                there = holdings(self._client, self._book.namespaces, run=self._run, kinds=(kind,))
            except Forbidden as error:
                if kind in self._book.kinds:
                    problems.append(str(error))
                else:
                    self._log(f"{kind}s are not looked for, the run wrote none: {error}")
                continue
            except Unreachable:
                raise
            except ChaosMeshError as error:
                problems.append(str(error))
                continue
            problems += _all([partial(self._take_out, holding) for holding in there])
        return problems

    def let_go(self) -> list[str]:
        """Release the locks and delete the run's Lease."""
        return let_go(self._client, self._run, self._book.namespaces)

    # --- one object ---------------------------------------------------------------------------------------------------

    def _out(self, target: tuple[str, str, str], uid: str) -> None:
        kind, namespace, name = target
        try:
            if uid:
                self._client.delete(kind, namespace, name, uid=uid)
                self._log(f"deleted {kind} {namespace}/{name}")
        except Conflict:  # somebody made it again: what of ours is in it?
            uid = ""
        if not uid:
            self._take_out(Holding(self._run, kind, namespace, name, entries=self._book.memory.get(target, ())))
        self._book.undone(target)

    def _take_out(self, holding: Holding) -> None:
        for conflict in take_out(self._client, holding):
            self._log(f"left: {conflict}")
        self._log(f"undid {holding}")

    def _settle(self, intent: Intent) -> None:
        """Undo what INTENT wrote, if it did; see to it that a patch cannot be written any more."""
        if intent.created:
            obj = self._client.find(*intent.target)
            if obj is None or not self._ours(obj):
                return
            self._log(f"{intent} was written, though it was not answered")
        else:
            obj = self._fenced(intent)
        if obj is not None and intent.kind != "Lease" and self._ours(obj):
            self._take_out(Holding(self._run, *intent.target))
        self._book.settled(intent.number)

    def _fenced(self, intent: Intent) -> Obj | None:
        """The object of INTENT, a patch, at another version than the patch asks for: it is in by now, or never will be.

        An object changes its version only when its content changes: an empty entry of ours goes in, and out again.
        """
        for _ in range(_ATTEMPTS):
            obj = self._client.find(*intent.target)
            if obj is None or obj["metadata"]["resourceVersion"] != intent.version:
                return obj
            kind, namespace, name = intent.target
            try:
                moved = self._client.json_patch(kind, namespace, name, self._fence(obj), version=intent.version)
            except (Conflict, NotFound):
                continue
            self._log(f"fenced {intent}")
            return self._unfenced(moved)
        raise Conflict(f"{intent} changes faster than it can be read", status=409, reason="Conflict")

    def _fence(self, obj: Obj) -> list[Op]:
        """Into an owner's object as an entry of ours, so that it is found again if we end here."""
        if obj["kind"] != "Lease" and not ledger.runs_in(obj) - {self._run}:
            return ledger.enter(obj, self._run, ledger.Entry("fence"))
        notes = obj["metadata"].get("annotations") or {}
        return [{"op": "add", "path": join("metadata", "annotations"), "value": {**notes, _FENCE: self._run}}]

    def _unfenced(self, obj: Obj) -> Obj | None:
        """OBJ without the fence, unless that is an entry: then it goes with all that is ours."""
        kind, meta = obj["kind"], obj["metadata"]
        ops: list[Op] = [{"op": "remove", "path": join("metadata", "annotations", _FENCE)}]
        fresh: Obj | None = obj
        for _ in range(_ATTEMPTS):
            if fresh is None or (fresh["metadata"].get("annotations") or {}).get(_FENCE) != self._run:
                break
            version = fresh["metadata"]["resourceVersion"]
            try:
                return self._client.json_patch(kind, meta["namespace"], meta["name"], ops, version=version)
            except (Conflict, NotFound):
                fresh = self._client.find(kind, meta["namespace"], meta["name"])
        return fresh

    def _ours(self, obj: Obj) -> bool:
        if obj["kind"] != "Lease":
            return self._run in ledger.runs_in(obj)
        lease = RunLease.read(obj)
        return lease.run == self._run if lease else self._run in locks.runs_of(obj)


def _all(jobs: Sequence[Callable[[], None]]) -> list[str]:
    """Do all of JOBS, some at once; what went wrong. Raises Unreachable."""
    waiting, problems, lost = deque(jobs), list[str](), list[Unreachable]()

    def work() -> None:
        while not lost:
            try:
                job = waiting.popleft()
            except IndexError:
                return
            try:
                job()
            except Unreachable as error:
                lost.append(error)
            except ChaosMeshError as error:
                problems.append(str(error))
            except Exception as error:  # one object that makes no sense must not keep the others
                problems.append(words(error))

    threads = [threading.Thread(target=work) for _ in range(min(_AT_ONCE, len(jobs)) - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if lost:
        raise lost[0]
    return problems
