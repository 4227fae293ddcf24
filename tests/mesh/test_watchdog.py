"""However a runner dies, its watchdog takes everything out again, and leaves what is the owner's."""

from __future__ import annotations

import fcntl
import os
import signal
import termios

import pytest
from waiting import until
from watched import Ground, lives
from watched_runner import FAULT

STEPS = {
    "before the first write": [],
    "after the intent to create": ["intend_create 1"],
    "after a creation, unanswered": ["intend_create 1", "send 1"],
    "after a creation": ["create 1"],
    "after the intent to edit": ["intend_edit details"],
    "after an edit, unanswered": ["intend_edit details", "send details"],
    "after an edit": ["edit details"],
    "after all": ["open", "create 1", "edit details", "create 2"],
    "between two": ["create 1", "intend_edit details"],
    "after the second, unanswered": ["edit details", "intend_create 2", "send 2"],
    "after a refused one": ["edit details", "intend_create 2", "refused 2"],
    "after something that was not announced": ["unannounced 7"],
}


class TestDeath:
    @pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
    def test_a_runner_that_is_killed_leaves_nothing(self, ground, steps):
        runner = ground.runner()
        for step in steps:
            runner.do(*step.split())
        runner.signal(signal.SIGKILL)
        until(ground.clean, what="clean")
        until(lambda: not lives(runner.watchdog), what="the watchdog ends")
        assert ground.clean()
        assert ground.logs() == ""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
    def test_a_signal_to_the_whole_process_group_is_the_runners_alone(self, ground, number):
        runner = ground.runner()
        runner.do("create", "1")
        os.killpg(runner.pid, number)
        until(ground.clean)
        until(lambda: not lives(runner.watchdog))

    def test_a_terminal_that_closes_takes_the_runner_and_not_the_watchdog(self, ground):
        master, slave = os.openpty()

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        more = {
            "start_new_session": False,
            "preexec_fn": own_terminal,
            "stdin": slave,
            "stdout": slave,
            "stderr": slave,
        }
        runner = ground.runner(more=more)
        os.close(slave)
        runner.do("edit", "details")
        assert not ground.clean()
        os.close(master)
        until(ground.clean)
        assert runner.process.wait(10) == -signal.SIGHUP

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_signals_to_the_watchdog_itself_are_not_obeyed(self, ground, number):
        runner = ground.runner()
        runner.do("create", "1")
        os.kill(runner.watchdog, number)
        runner.do("create", "2")
        runner.signal()
        until(ground.clean)

    def test_a_child_that_outlives_the_runner_does_not_keep_it_alive(self, ground):
        """It has copies of the runner's pipes, so that their end does not come."""
        runner = ground.runner(silence=60.0)
        runner.do("create", "1")
        child = runner.do("forks")
        try:
            runner.signal()
            until(ground.clean)
            assert lives(child)
        finally:
            os.kill(child, signal.SIGKILL)

    def test_a_runner_that_ends_without_a_word_is_undone_too(self, ground):
        runner = ground.runner()
        runner.do("create", "1")
        os.close(runner._tell)
        runner._tell = os.open(os.devnull, os.O_WRONLY)
        assert runner.process.wait(10) == 0
        until(ground.clean)

    def test_objects_go_first_then_locks_then_the_lease(self, ground):
        """Who finds a Lease of a run that is over knows that there is still something to do."""
        runner = ground.runner()
        for step in ("open", "edit details", "create 1"):
            runner.do(*step.split())
        ground.proxy.log.clear()
        runner.signal()
        until(lambda: not lives(runner.watchdog))
        done = [one.target for one in ground.proxy.log if one.writes]
        assert [one.rpartition("/")[2].rpartition("-")[0] for one in done[-2:]] == ["chaosmesh-host", "chaosmesh-run"]
        assert sorted(one.split("/")[-2] for one in done[:-2]) == ["envoyfilters", "virtualservices"]


class TestOwner:
    def edit(self, ground: Ground, **changes) -> None:
        obj = ground.api.get("VirtualService", "default", "details")
        obj["spec"].update(changes)
        ground.api.apply(obj)

    def test_an_owners_edit_between_injection_and_death_stays(self, ground):
        runner = ground.runner()
        runner.do("edit", "details")
        self.edit(ground, hosts=["details", "details.example"])
        ground.before["spec"]["hosts"] = ["details", "details.example"]
        runner.signal()
        until(ground.clean)

    def test_a_fault_comes_out_though_its_owner_wiped_the_note_of_it(self, ground):
        runner = ground.runner()
        runner.do("edit", "details")
        obj = ground.api.get("VirtualService", "default", "details")
        del obj["metadata"]["annotations"], obj["metadata"]["labels"]
        ground.api.apply(obj)
        runner.signal()
        until(lambda: "fault" not in ground.details()["spec"]["http"][0])

    def test_a_value_like_ours_that_an_owner_sets_after_the_undo_is_his(self, ground):
        runner = ground.runner()
        runner.do("edit", "details")
        runner.do("undo", "details")
        routes = ground.details()["spec"]["http"]
        self.edit(ground, http=[{**routes[0], "fault": FAULT}])
        runner.signal()
        until(lambda: not lives(runner.watchdog))
        assert ground.details()["spec"]["http"][0]["fault"] == FAULT

    def test_an_owners_own_fault_in_the_place_of_ours_stays(self, ground):
        runner = ground.runner()
        runner.do("edit", "details")
        theirs = {"delay": {"fixedDelay": "1s", "percentage": {"value": 1}}}
        routes = ground.api.get("VirtualService", "default", "details")["spec"]["http"]
        self.edit(ground, http=[{**routes[0], "fault": theirs}])
        runner.signal()
        until(lambda: not lives(runner.watchdog))
        assert ground.details()["spec"]["http"][0]["fault"] == theirs

    def test_an_object_that_its_owner_deleted_is_left_so(self, ground):
        runner = ground.runner()
        runner.do("edit", "details")
        runner.do("create", "1")
        ground.api.call(ground.api.kube.delete("VirtualService", "default", "details"))
        runner.signal()
        until(lambda: not lives(runner.watchdog))
        assert ground.names("VirtualService") == ground.names() == []

    def test_another_runs_objects_are_not_touched(self, ground):
        other = ground.api.get("VirtualService", "default", "details")
        theirs = {**other, "metadata": {"name": "chaos-deadbeef-1", "namespace": "default"}}
        theirs["metadata"]["labels"] = {"chaosmesh-ext/run": "deadbeef"}
        ground.api.apply(theirs)
        runner = ground.runner()
        runner.do("create", "1")
        runner.signal()
        until(lambda: not lives(runner.watchdog))
        assert sorted(ground.names("VirtualService")) == ["chaos-deadbeef-1", "details"]
