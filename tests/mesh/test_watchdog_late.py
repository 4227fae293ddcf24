"""Writes that arrive after their sender is dead, or that a stopped runner sends when it wakes, change nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from numbered_api import Exchange, half, hanging, late, reset
from waiting import until
from watched import RUN, Ground, lives

from chaosmesh_ext.mesh import Client, locks
from chaosmesh_ext.mesh.connect import load
from chaosmesh_ext.mesh.transport import Kubeconfig

NAME = f"chaos-{RUN}-1"
SILENT = 2.5
"""Seconds: a runner on a busy machine beats more often than that."""


@pytest.fixture
def client_of_ground(ground: Ground) -> Client:
    """Somebody else's."""
    return Client(load(Kubeconfig((ground.environ["KUBECONFIG"],))))


def unheard(seconds: float = 60.0):
    """The API does it; its answer is on its way for SECONDS."""

    async def treat(exchange: Exchange) -> None:
        reply = await exchange.forward()
        await asyncio.sleep(seconds)
        await exchange.answer(reply)

    return treat


def fates(ground: Ground, method: str, of: str) -> list[str]:
    """What the API said to such requests."""
    return [one.fate for one in ground.seen(method, of)]


class TestKilled:
    def test_a_creation_that_arrives_after_death_is_deleted_again(self, ground):
        runner = ground.runner()
        runner.do("open")
        ground.treats("POST", late(1.0))
        runner.do("intend_create", "1")
        runner.tell("send", "1")
        until(lambda: ground.seen("POST", "envoyfilters"))
        runner.signal()
        until(lambda: fates(ground, "POST", "envoyfilters") == ["→ 201"])
        until(lambda: ground.names() == [])
        until(ground.clean)
        until(lambda: not lives(runner.watchdog))
        assert "was written, though it was not answered" not in ground.logs()

    def test_the_lease_and_the_locks_stay_as_long_as_a_write_may_arrive(self, ground):
        """They keep other runs away, and tell the janitor whose it is."""
        runner = ground.runner(late=1.0)
        runner.do("open")
        runner.do("intend_create", "1")
        killed = time.monotonic()
        runner.signal()
        while True:
            names = [name for name in ground.names("Lease") if name.startswith("chaosmesh-")]
            if time.monotonic() > killed + 0.8:
                break  # what was seen so late says nothing
            assert len(names) == 2
            time.sleep(0.05)
        until(ground.clean)

    def test_a_patch_that_arrives_after_death_is_refused_by_the_api(self, ground):
        runner = ground.runner()
        ground.treats("PATCH", late(1.5))
        runner.do("intend_edit", "details")
        runner.tell("send", "details")
        until(lambda: ground.seen("PATCH"))
        ground.plainly()
        before = ground.version()
        runner.signal()
        until(lambda: ground.version() != before, what="fenced")
        until(lambda: ground.seen("PATCH")[0].fate)
        assert ground.seen("PATCH")[0].fate in ("→ 409", "→ 422")
        until(ground.clean)
        until(lambda: not lives(runner.watchdog))

    def test_another_runs_lock_that_was_to_be_shared_is_fenced_and_stays_his(self, ground, client_of_ground):
        other = locks.Holder("deadbeef", exact=True)
        locks.lock(client_of_ground, "default", "details", other)
        name = locks.lock_name("default", "details")
        before = ground.api.get("Lease", "default", name)
        runner = ground.runner()
        runner.do("intend_share")
        runner.signal()
        until(lambda: not lives(runner.watchdog))
        after = ground.api.get("Lease", "default", name)
        assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        assert locks.holders(after) == (other,)
        for key in ("labels", "annotations"):
            assert after["metadata"][key] == before["metadata"][key]

    @pytest.mark.parametrize(("method", "steps"), [("POST", ["intend_create 1"]), ("PATCH", ["intend_edit details"])])
    def test_a_write_whose_answer_was_on_its_way_is_undone_at_once(self, ground, method, steps):
        """Long before a write could no longer arrive."""
        runner = ground.runner(late=100.0)
        ground.treats(method, unheard())
        runner.do(*steps[0].split())
        runner.tell("send", steps[0].split()[1])
        until(lambda: not ground.clean())
        ground.plainly()
        runner.signal()
        until(ground.clean)

    def test_many_at_once_are_all_found(self, ground):
        runner = ground.runner()
        for number in range(1, 6):
            runner.do("intend_create", str(number))
        runner.do("create", "9")
        runner.do("intend_edit", "details")
        for name in ("2", "4", "details"):
            runner.do("send", name)
        runner.signal()
        until(ground.clean)
        until(lambda: not lives(runner.watchdog))

    def test_an_owner_who_writes_while_a_patch_is_fenced_loses_nothing(self, ground):
        runner = ground.runner()
        runner.do("intend_edit", "details")
        edits = 0

        async def owner_first(exchange: Exchange) -> None:
            nonlocal edits
            if edits < 3:
                edits += 1
                obj = await ground.api.kube.get("VirtualService", "default", "details")
                obj["spec"]["hosts"] = ["details", f"edit-{edits}"]
                await ground.api.kube.apply(obj)
            await exchange.answer(await exchange.forward())

        ground.treats("PATCH", owner_first)
        runner.signal()
        until(lambda: not lives(runner.watchdog))
        ground.before["spec"]["hosts"] = ["details", f"edit-{edits}"]
        assert edits
        assert ground.clean()

    def test_a_late_creation_is_awaited_once_the_api_is_back(self, ground):
        """The window may pass while nobody answers: it is looked for once more all the same."""
        runner = ground.runner(late=0.5)
        runner.do("intend_create", "1")
        runner.do("send", "1")
        ground.treats("", reset)
        runner.signal()
        time.sleep(1.2)
        assert lives(runner.watchdog)
        ground.plainly()
        until(ground.clean)


class TestStopped:
    def test_a_stopped_runner_is_silent_and_its_faults_go(self, ground):
        runner = ground.runner(silence=SILENT)
        for step in ("open", "create 1", "edit details"):
            runner.do(*step.split())
        runner.stop()
        until(ground.clean)
        until(lambda: not lives(runner.watchdog))

    def test_one_that_beats_is_not_silent(self, ground):
        runner = ground.runner(silence=SILENT)
        runner.do("create", "1")
        time.sleep(2 * SILENT)
        assert ground.names() == [NAME]
        runner.do("still")
        until(ground.clean)
        until(lambda: f"silent for {SILENT:g} s" in runner.do("state")["took_over"])

    def test_when_it_wakes_its_late_patch_is_refused(self, ground):
        runner = ground.runner(silence=SILENT)
        runner.do("intend_edit", "details")
        before = ground.version()
        runner.stop()
        until(lambda: ground.version() != before, what="fenced")
        until(ground.clean)
        runner.tell("send", "details")
        os.kill(runner.pid, signal.SIGCONT)
        assert runner.hear()["error"] == "Conflict"
        assert ground.clean()
        until(lambda: "silent" in runner.do("state")["took_over"])

    def test_when_it_wakes_its_late_creation_is_deleted_again(self, ground):
        runner = ground.runner(silence=SILENT, late=0.5)
        runner.do("open")
        runner.do("intend_create", "1")
        runner.stop()
        until(lambda: "takes over" in ground.logs())
        time.sleep(1.0)  # much longer than `late`: a runner that is stopped is not gone
        assert lives(runner.watchdog)
        runner.tell("send", "1")
        os.kill(runner.pid, signal.SIGCONT)
        assert "done" in runner.hear()
        until(lambda: ground.names() == [])
        until(ground.clean)
        until(lambda: not lives(runner.watchdog))

    def test_when_it_wakes_and_tells_of_its_answer_that_is_heard(self, ground):
        runner = ground.runner(silence=SILENT)
        runner.do("intend_create", "1")
        runner.do("intend_create", "2")
        runner.stop()
        until(lambda: "takes over" in ground.logs())
        runner.tell("send", "1")
        runner.tell("answer", "1")
        runner.tell("refused", "2")
        os.kill(runner.pid, signal.SIGCONT)
        for _ in range(3):
            assert "done" in runner.hear()
        until(ground.clean)
        until(lambda: not lives(runner.watchdog))
        assert lives(runner.pid)

    def test_when_it_wakes_it_may_write_nothing_else(self, ground):
        runner = ground.runner(silence=SILENT)
        runner.do("create", "1")
        runner.stop()
        until(ground.clean)
        runner.tell("create", "2")
        runner.tell("edit", "details")
        os.kill(runner.pid, signal.SIGCONT)
        for _ in range(2):
            said = runner.hear()
            assert said["error"] == "Inconclusive"
            assert f"silent for {SILENT:g} s: nothing more is written" in said["words"]
        assert ground.clean()

    def test_one_that_is_killed_while_it_is_stopped_is_gone(self, ground):
        runner = ground.runner(silence=SILENT, late=0.5)
        runner.do("intend_create", "1")
        runner.stop()
        until(lambda: "takes over" in ground.logs())
        assert lives(runner.watchdog)
        runner.signal()
        until(lambda: not lives(runner.watchdog))

    def test_a_machine_that_was_asleep_does_not_make_a_runner_silent(self, ground):
        """Both stand still, as in a virtual machine that is paused: nobody is dead."""
        runner = ground.runner(silence=SILENT)
        runner.do("create", "1")
        for pid in (runner.pid, runner.watchdog):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2 * SILENT)
        os.kill(runner.watchdog, signal.SIGCONT)
        time.sleep(0.4)
        os.kill(runner.pid, signal.SIGCONT)
        time.sleep(0.5)
        runner.do("create", "2")
        assert ground.names() == [NAME, f"chaos-{RUN}-2"]


class TestClosed:
    @pytest.mark.parametrize("trouble", [reset, hanging, half], ids=["reset", "hang", "half"])
    def test_a_run_that_ends_with_a_write_unanswered_is_watched_until_that_cannot_come(self, ground, trouble):
        runner = ground.runner(late=3.0)
        runner.do("intend_create", "1")
        if trouble is not hanging:
            ground.treats("POST", trouble)
            assert runner.fails("send", "1").startswith("Unreachable")
        began = time.monotonic()
        runner.do("close")
        assert time.monotonic() - began < 3
        until(ground.clean)
        assert lives(runner.watchdog)
        until(lambda: not lives(runner.watchdog))
        assert runner.do("state") == {"took_over": "", "died": ""}
        assert ground.logs() == ""

    def test_a_creation_that_arrives_after_the_end_is_deleted_again(self, ground):
        runner = ground.runner(late=3.0)
        runner.do("intend_create", "1")
        runner.do("close")
        runner.do("send", "1")
        until(lambda: ground.names() == [])
        until(lambda: not lives(runner.watchdog))
        assert ground.clean()

    def test_waiting_costs_nothing(self, ground):
        runner = ground.runner(late=60.0)
        runner.do("intend_create", "1")
        runner.do("close")
        before = len(ground.seen("GET", NAME))
        time.sleep(2.0)
        assert len(ground.seen("GET", NAME)) - before <= 20  # four a second

    def test_one_whose_api_is_gone_for_good_does_not_wait_for_the_deadline(self, ground):
        """As when a lab is taken down after a run of which one answer was missing."""
        runner = ground.runner(late=0.3, patience=0.5, deadline=3600.0)
        runner.do("intend_create", "1")
        runner.do("close")
        ground.treats("", reset)
        until(lambda: not lives(runner.watchdog))
        assert "gives up" in ground.logs()
