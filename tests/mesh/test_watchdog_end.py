"""A watchdog's own start and end, and what its deadline and an API in trouble make of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from numbered_api import answering, hanging, reset
from waiting import until
from watched import RUN, lives


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
        until(lambda: "not yet" in ground.logs())
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
        until(ground.clean, seconds=30.0)

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
        runner = ground.runner(deadline=2.0, patience=0.5)
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
        runner = ground.runner(deadline=2.0)
        runner.do("create", "1")
        until(ground.clean)
        until(lambda: "deadline" in runner.do("state")["took_over"])
        assert "deadline" in runner.fails("create", "2")
        assert ground.names() == []
        until(lambda: not lives(runner.watchdog))
        assert runner.do("state")["died"] == ""

    def test_a_deadline_can_be_moved(self, ground):
        runner = ground.runner(deadline=2.0)
        runner.do("create", "1")
        runner.do("extend", "5.0")
        time.sleep(2.5)
        assert ground.names() != []
        until(ground.clean)


class TestEnd:
    def test_closing_ends_it_at_once_and_leaves_nothing(self, ground):
        runner = ground.runner(late=100.0)
        runner.do("create", "1")
        ground.api.call(ground.api.kube.delete("EnvoyFilter", "default", f"chaos-{RUN}-1"))
        runner.do("forget", "1")
        began = time.monotonic()
        runner.do("close")
        assert time.monotonic() - began < 50  # for nothing is under way that could be late
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
        runner = ground.runner(heard=2.5)
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
