"""However a runner dies, its watchdog takes everything out again, and leaves what is the owner's."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from numbered_api import answering, hanging, reset
from watched import RUN, Ground, lives, until
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


class TestApiTrouble:
    @pytest.mark.parametrize("trouble", [reset, answering(503), answering(500), answering(429), answering(403)])
    def test_an_api_that_is_down_when_the_runner_dies_is_asked_until_it_is_back(self, ground, trouble):
        runner = ground.runner()
        for step in ("open", "create 1", "intend_edit details", "send details"):
            runner.do(*step.split())
        ground.treats("", trouble)
        runner.signal()
        time.sleep(1.0)
        assert not ground.clean()
        assert lives(runner.watchdog)
        assert "not yet" in ground.logs()
        ground.plainly()
        until(ground.clean)
        until(lambda: not lives(runner.watchdog))

    def test_an_api_that_hangs_is_given_up_in_seconds(self, ground):
        runner = ground.runner()
        runner.do("create", "1")
        ground.treats("", hanging)
        runner.signal()
        until(lambda: ground.seen("DELETE"))
        ground.plainly()
        until(ground.clean, 8.0)

    def test_one_object_that_cannot_be_undone_does_not_keep_the_others(self, ground):
        runner = ground.runner()
        for step in ("open", "create 1", "edit details"):
            runner.do(*step.split())
        ground.treats("DELETE", answering(403), of="envoyfilters")
        runner.signal()
        until(lambda: ground.details() == ground.before)
        time.sleep(0.3)
        assert [one for one in ground.names("Lease") if one.startswith("chaosmesh-run-")]
        ground.plainly()
        until(ground.clean)

    def test_a_kind_that_may_not_be_listed_is_nothing_to_wait_for_unless_the_run_wrote_it(self, ground):
        """A Role may well be for EnvoyFilters alone."""
        runner = ground.runner()
        runner.do("create", "1")
        ground.treats("GET", answering(403), of="virtualservices")
        runner.signal()
        until(lambda: not lives(runner.watchdog))
        assert ground.names() == []

    def test_where_everything_fails_until_the_end_it_says_how_to_recover(self, ground):
        runner = ground.runner(deadline=0.8, patience=0.5)
        runner.do("create", "1")
        ground.treats("", answering(403))
        until(lambda: not lives(runner.watchdog))
        assert f"chaos mesh recover --run {RUN}" in ground.logs()

    def test_credentials_that_expire_during_the_run_are_renewed_by_the_watchdog_itself(self, ground):
        plugin = ground.folder / "token"
        version = "client.authentication.k8s.io/v1"
        plugin.write_text(
            f"#!{sys.executable}\nimport json\nprint(json.dumps({{'apiVersion': {version!r}, 'kind': 'ExecCredential',"
            f"'status': {{'token': open({str(ground.folder / 'now')!r}).read()}}}}))\n"
        )
        plugin.chmod(0o700)
        (ground.folder / "now").write_text("first")
        ground.kubeconfig({"exec": {"command": "./token", "apiVersion": version}})
        good = ["first"]
        refuse = answering(401, "Unauthorized")
        ground.proxy.treat = lambda one: None if one.headers.get("Authorization") == f"Bearer {good[0]}" else refuse
        runner = ground.runner()
        runner.do("create", "1")
        good[0] = "second"
        (ground.folder / "now").write_text("second")
        runner.signal()
        until(ground.clean)


class TestDeadline:
    def test_at_the_deadline_the_run_is_undone_though_its_runner_lives(self, ground):
        runner = ground.runner(deadline=1.0)
        runner.do("create", "1")
        until(ground.clean)
        until(lambda: "deadline" in runner.do("state")["took_over"])
        assert "deadline" in runner.fails("create", "2")
        assert ground.names() == []
        until(lambda: not lives(runner.watchdog))
        assert runner.do("state")["died"] == ""

    def test_a_deadline_can_be_moved(self, ground):
        runner = ground.runner(deadline=0.7)
        runner.do("create", "1")
        runner.do("extend", "1.5")
        time.sleep(1.0)
        assert ground.names() != []
        until(ground.clean)


class TestEnd:
    def test_closing_ends_it_at_once_and_leaves_nothing(self, ground):
        runner = ground.runner()
        runner.do("create", "1")
        ground.api.call(ground.api.kube.delete("EnvoyFilter", "default", f"chaos-{RUN}-1"))
        runner.do("forget", "1")
        began = time.monotonic()
        runner.do("close")
        assert time.monotonic() - began < 2
        assert not Path(f"/proc/{runner.watchdog}").exists()
        assert runner.do("state") == {"took_over": "", "died": ""}
        assert not list((ground.folder / "state").rglob("watchdog-*"))
        runner.do("close")

    def test_a_closed_one_hears_of_no_further_write(self, ground):
        runner = ground.runner()
        runner.do("close")
        assert runner.fails("create", "1").startswith("Inconclusive")
        assert ground.names() == []

    def test_what_the_runner_could_not_undo_is_left_to_it(self, ground):
        runner = ground.runner()
        runner.do("open")
        runner.do("create", "1")
        ground.treats("DELETE", answering(503))
        runner.do("abandon")
        runner.signal()
        time.sleep(0.5)
        ground.plainly()
        until(ground.clean)

    def test_abandoning_undoes_while_the_runner_still_lives(self, ground):
        runner = ground.runner()
        runner.do("create", "1")
        runner.do("abandon")
        until(ground.clean)
        until(lambda: not lives(runner.watchdog))


class TestItsOwnDeath:
    def test_without_a_watchdog_nothing_is_written_any_more(self, ground):
        runner = ground.runner()
        runner.do("create", "1")
        os.kill(runner.watchdog, signal.SIGKILL)
        until(lambda: runner.do("state")["died"])
        assert "signal 9" in runner.do("state")["died"]
        assert runner.fails("create", "2").startswith("Inconclusive: the run's watchdog died")
        assert ground.names() == [f"chaos-{RUN}-1"]

    def test_one_that_is_stopped_does_not_count_as_there(self, ground):
        runner = ground.runner(heard=0.5)
        os.kill(runner.watchdog, signal.SIGSTOP)
        assert "does not answer; without it nothing is written" in runner.fails("create", "1")
        assert ground.names() == []
        os.kill(runner.watchdog, signal.SIGCONT)
        runner.do("create", "2")
        runner.signal()
        until(ground.clean)


class TestStart:
    def test_an_api_that_does_not_answer_is_said(self, ground):
        ground.treats("", answering(503, "later"))
        said = ground.runner().first
        assert said["error"] == "Inconclusive"
        assert "watchdog could not be started: GET its version: later" in said["words"]
        assert ground.logs() == ""

    def test_a_program_that_cannot_start_is_said_with_its_last_words(self, ground):
        broken = ground.folder / "broken"
        broken.mkdir()
        (broken / "msgspec.py").write_text("raise ImportError('out of order')")
        code = (
            "import sys; sys.path.pop(0)\n"
            "from chaosmesh_ext.mesh.watchdog import Watchdog\nfrom chaosmesh_ext.mesh import connect\nimport os\n"
            f"os.environ['PYTHONPATH'] = {str(broken)!r}\n"
            "try: Watchdog.start(connect().access, run='0badcafe', deadline=1)\n"
            "except Exception as error: print(type(error).__name__, error)"
        )
        out = subprocess.run(
            [sys.executable, "-c", code], env=ground.environ, check=True, capture_output=True, text=True
        )
        assert out.stdout.startswith("Inconclusive the run's watchdog could not be started: ")
        assert "out of order" in out.stdout

    def test_a_state_folder_that_cannot_be_written_does_not_keep_it_from_starting(self, ground):
        ground.environ["XDG_STATE_HOME"] = "/dev/null"
        ground.environ["TMPDIR"] = str(ground.folder)
        runner = ground.runner()
        runner.do("create", "1")
        runner.signal()
        until(ground.clean)
