"""A world in which a runner, an owner, a watchdog and janitors are at work at once, as a state machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import yaml
from actors import Actor, Gated
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from overlays import RUN, place, virtual_services
from owners import CELLS, EDITS, Two, bare
from small_mesh import Background, SmallMesh
from wires import RunnersEar, WatchdogsEar, Wires

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ApiError, ChaosMeshError, InvalidInput, LeftBehind, NotFound
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import CARRIERS, Destination, Holding, connect, envoyfilter, ledger, overlay
from chaosmesh_ext.mesh.lease import RunLease
from chaosmesh_ext.mesh.locks import Holder, lock
from chaosmesh_ext.mesh.undoing import end
from chaosmesh_ext.mesh.watchdog import guard as guarding
from chaosmesh_ext.mesh.watchdog import messages as say
from chaosmesh_ext.mesh.witness import Witness
from chaosmesh_ext.run import recover, runs

__all__ = ["STRIKES", "Interleavings"]

HOST = "details.default.svc.cluster.local"
RATINGS = Destination("reviews.default.svc.cluster.local", "reviews", "default", 9080, (9080,))
LATE_S = 60.0
_MEDDLING = ("export", "ours", "older", "recreate", "wipe", "fault of his own", "add a route", "drop", "duplicate")
"""Edits after which something of ours may stay until a person was told, or come back."""

_PLACES = (
    "PATCH VirtualService default/details, on its way",
    "POST EnvoyFilter default/chaos-0badcafe-1, on its way",
    "POST VirtualService default/chaos-0badcafe-1, before its answer",
    "PATCH VirtualService default/details, before its answer",
    "PATCH VirtualService default/details",
    "on its way",
    "before its answer",
    "probes",
)
STRIKES = ("killed, and its write comes late", "stopped", "its connection breaks", "killed", "nothing")


class Interleavings(RuleBasedStateMachine):
    """Each goes on one request at a time, in an order that hypothesis chooses; writes arrive late, or were done though
    nobody heard of it. The writes are the real ones, on the embedded API; so are the watchdog's book, judgement and
    rescue.
    """

    background: Background
    patched: SimpleNamespace

    def __init__(self) -> None:
        super().__init__()
        self.mesh = SmallMesh(self.background)
        self.client = connect({"KUBECONFIG": self._kubeconfig()})
        self.wires = Wires()
        self.patched.now = lambda: self.wires.now
        self.late: list[tuple[float, Callable[[], Any]]] = []
        self.stopped = False
        self.runner_gone_at: float | None = None
        self.meddled = False
        self.janitors: list[Actor] = []
        self.log: list[str] = []

    def _kubeconfig(self) -> str:
        file = self.patched.folder / f"{id(self)}"
        file.write_text(yaml.safe_dump(self.mesh.kubeconfig(direct=True)))
        return str(file)

    @initialize(
        owner=virtual_services(faults=True),
        cells=st.lists(st.sampled_from([0, -2, -1, *range(1, len(CELLS))]), min_size=1, max_size=2, unique=True),
        where=st.sampled_from(_PLACES),
        count=st.sampled_from([1, 2, 0]),
        edit=st.none() | st.sampled_from(sorted(EDITS)),
        strike=st.sampled_from(STRIKES),
        order=st.permutations(["runner", "watchdog", "janitor"]),
    )
    def begin(
        self,
        owner: dict[str, Any],
        cells: list[int],
        where: str,
        count: int,
        edit: str | None,
        strike: str,
        order: list[str],
    ) -> None:
        """An owner has a VirtualService for details; a runner faults calls to it, or to reviews, and has come far when
        something happens. ORDER: who comes to an end first.
        """
        self.mesh.delete("VirtualService", "default", "reviews")
        self.two = Two(owner)
        self.client.create(owner)
        self._look()
        self.two.alone["metadata"]["uid"] = self.two.shared["metadata"]["uid"]
        self.cells, self.order = cells, order
        self.runner = Actor("runner", self._runs)
        self.watchdog = Actor("watchdog", self._watches)
        self.the_runner_comes_to(where, count)
        if edit:
            self.the_owner(edit, count)
        if strike.startswith("killed") and not self.runner.over:
            self.the_runner_is_killed(arrives="late" in strike)
        self.stopped = strike == "stopped" and not self.runner.over
        if "breaks" in strike:
            self.the_connection_breaks()

    # --- programs -----------------------------------------------------------------------------------------------------

    def _runs(self, actor: Actor) -> None:
        """As a run: Lease, lock, faults, probes, undo, end."""
        client = Gated(self.client.access, actor)
        witness = Witness(RunnersEar(self.wires, actor, lambda: self.watchdog))
        memory: list[tuple[Holding, str]] = []
        with suppress(ChaosMeshError):
            witness.create(client, RunLease(RUN, "default", "sre@laptop:1", 15, 1.8e9, 1.8e9 + 3600).object())
            for number, which in enumerate(self.cells, 1):
                memory += self._injects(client, witness, str(number), which)
            actor.pause("probes")
            for holding, cell in memory:
                mesh.take_out(client, holding, cell)
                witness.forget(holding.kind, holding.namespace, holding.name, cell)
        ended = end(client, RUN)
        self.wires.to_watchdog.append(say.Abandon() if ended.left else say.Bye())
        while not (self.wires.released or self.watchdog.over):
            actor.pause("its watchdog's end")
        self.runner_gone_at = self.wires.now

    def _injects(self, client: Gated, witness: Witness, cell: str, which: int) -> list[tuple[Holding, str]]:
        if which < 0:
            where = place(cell, destination=RATINGS)
            fault, carrier = Abort(507), (envoyfilter, overlay)[which]
        else:
            fault, scope = CELLS[which]
            where, carrier = place(cell, **scope), overlay
        lock(client, "default", where.destination.host, Holder(RUN, where.marker is not None), witness=witness)
        try:
            plan = CARRIERS[carrier.NAME](fault, where, mesh.view(client, where))
            for change in plan:
                obj = mesh.put(client, change, witness=witness)
        except InvalidInput:
            return []  # this owner's object takes no such fault
        entries = tuple(one for one in ledger.entries(obj, RUN) if one.cell == cell)
        return [(Holding(RUN, *change.target, isinstance(change, mesh.Create), entries), cell) for change in plan]

    def _watches(self, actor: Actor) -> None:
        start = say.Start(self.client.access, RUN, 1, 3600.0, 1.0, 3.0, 65.0, 600.0)
        watchdog = guarding.Guard(WatchdogsEar(self, actor), start, Gated(self.client.access, actor), self.log.append)
        assert watchdog.watch(), self.log

    def _recovers(self, actor: Actor) -> None:
        end(Gated(self.client.access, actor), RUN)

    # --- who goes on --------------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Nothing is on its way for longer than a minute."""
        self.wires.now += seconds
        due = [one for one in self.late if one[0] <= self.wires.now]
        self.late = [one for one in self.late if one not in due]
        for _, arrive in due:
            self._arrives(arrive)

    @staticmethod
    def _arrives(arrive: Callable[[], Any]) -> None:
        with suppress(ApiError, NotFound):  # refused, for somebody was faster
            arrive()

    @rule(where=st.sampled_from(_PLACES), count=st.integers(1, 3))
    @precondition(lambda self: not (self.runner.over or self.watchdog.over or self.stopped))
    def the_runner_comes_to(self, where: str, count: int) -> None:
        """Undisturbed, to where it stands before or in the middle of what matters."""
        for _ in range(count):
            for _ in range(120):
                self.runner.step()
                if self.runner.over or where in self.runner.at:
                    break
                self.watchdog.step()

    @rule(steps=st.integers(1, 12))
    @precondition(lambda self: not self.runner.over and not self.stopped)
    def the_runner_goes_on(self, steps: int) -> None:
        for _ in range(steps):
            self.runner.step()
            if self.runner.at.startswith("an intent"):
                break

    @rule(steps=st.integers(1, 12))
    @precondition(lambda self: not self.watchdog.over)
    def the_watchdog_goes_on(self, steps: int) -> None:
        for _ in range(steps):
            self.watchdog.step()

    @rule(steps=st.integers(2, 12))
    @precondition(lambda self: not (self.runner.over or self.watchdog.over or self.stopped))
    def both_go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.runner.step()
            self.watchdog.step()

    @rule(arrives=st.booleans())
    @precondition(lambda self: not self.runner.over)
    def the_runner_is_killed(self, arrives: bool) -> None:
        flight = self.runner.kill()
        self.runner_gone_at = self.wires.now
        self.stopped = False
        if flight and arrives:
            self.late.append((self.wires.now + LATE_S, flight))

    @rule()
    @precondition(lambda self: not self.runner.over)
    def the_connection_breaks(self) -> None:
        """The runner hears no answer; a write that it sent comes late."""
        if flight := self.runner.breaks():
            self.late.append((self.wires.now + LATE_S, flight))

    @rule()
    @precondition(lambda self: not self.runner.over)
    def the_runner_is_stopped_or_goes_on_again(self) -> None:
        self.stopped = not self.stopped

    @rule()
    @precondition(lambda self: not self.watchdog.over and self.runner_gone_at is not None)
    def the_watchdog_is_killed_too(self) -> None:
        flight = self.watchdog.kill()
        if flight:
            self.late.append((self.wires.now + LATE_S, flight))

    @rule()
    @precondition(lambda self: self.late)
    def a_late_write_arrives(self) -> None:
        self._arrives(self.late.pop(0)[1])

    @rule(steps=st.integers(1, 12))
    @precondition(lambda self: self.runner_gone_at is not None or self.stopped)
    def somebody_else_recovers(self, steps: int) -> None:
        if not self.janitors or self.janitors[-1].over:
            self.janitors.append(Actor("janitor", self._recovers))
        for _ in range(steps):
            self.janitors[-1].step()

    # --- the owner ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        obj = self.client.get("VirtualService", "default", "details")
        for key in ("managedFields", "generation", "creationTimestamp"):
            obj["metadata"].pop(key, None)
        self.two.shared = obj

    @rule(what=st.sampled_from(sorted(EDITS)), at=st.integers(0, 5))
    def the_owner(self, what: str, at: int) -> None:
        """He edits the object as it is; in between nobody writes."""
        self.meddled = self.meddled or any(word in what for word in _MEDDLING)
        self._look()
        old = deepcopy(self.two.shared)
        EDITS[what](self.two, at)
        new = deepcopy(self.two.shared)
        if new == old:
            return
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if "recreate" in what:
            self.client.delete("VirtualService", "default", "details", uid=old["metadata"]["uid"])
            for key in ("resourceVersion", "uid"):
                new["metadata"].pop(key, None)
            uid = self.client.create(new)["metadata"]["uid"]
            self.two.alone["metadata"]["uid"] = uid
        else:
            new["metadata"]["uid"] = old["metadata"]["uid"]
            self.client.replace(new)

    # --- at the end ---------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if hasattr(self, "runner"):
                self._finish()
        finally:
            for actor in (getattr(self, "runner", None), getattr(self, "watchdog", None), *self.janitors):
                if actor is not None and not actor.over:
                    actor.kill()
            self.client.close()
            self.mesh.close()

    @staticmethod
    def _goes_far(actor: Actor) -> None:
        """As far as it comes alone."""
        for _ in range(60):
            actor.step()

    def _finish(self) -> None:
        actors = sorted([self.runner, self.watchdog, *self.janitors], key=lambda one: self.order.index(one.name))
        for actor in actors:
            if actor is not self.runner or not self.stopped:
                self._goes_far(actor)
        self.stopped = False
        for _ in range(20_000):
            alive = [one for one in actors if not one.over]
            if not alive:
                break
            for actor in alive:
                actor.step()
        else:
            raise AssertionError(f"they do not come to an end: {alive}, {self.log}")
        for _, arrive in self.late:  # the watchdog was killed, or nothing of it matters any more
            self._arrives(arrive)
        if not self.meddled and not self.watchdog.killed:
            assert runs(self.client) == [], self.log
        with suppress(LeftBehind):  # conflicts, told to a person
            recover(self.client)
        assert runs(self.client) == []
        self._look()
        now, alone = deepcopy(self.two.shared), deepcopy(self.two.alone)
        for obj in (now, alone):
            for key in ("uid", "resourceVersion"):
                obj["metadata"].pop(key, None)
        assert bare(now) == bare(alone), self.log
        left = [obj["metadata"]["name"] for kind in ("EnvoyFilter", "Lease") for obj in self.mesh.objects(kind)]
        assert left == [], (left, self.log)
        assert len(self.mesh.objects("VirtualService")) == 1
