"""The control below a real `chaos run`, and the judgement of journals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaosmesh_ext import controls, errors
from chaosmesh_ext.controls import expectations
from chaosmesh_ext.controls.outcome import Problem, judge
from chaosmesh_ext.controls.refusals import refusals
from chaosmesh_ext.run import current

CHAOS = str(Path(sys.executable).with_name("chaos"))

ACTIVITIES = """
import pathlib, time

def value(of=None):
    return of

def touch(path, of=None):
    pathlib.Path(path).write_text("x")
    return of

def fail():
    raise RuntimeError("somebody else's")

def raising(error, words):
    from chaosmesh_ext import errors
    raise getattr(errors, error)(words)

def wait(begun, ended, seconds):
    pathlib.Path(begun).write_text("x")
    time.sleep(seconds)
    pathlib.Path(ended).write_text("x")
"""

OURS = {"name": "chaosmesh-ext", "provider": {"type": "python", "module": "chaosmesh_ext.controls"}}


def activity(name, func, *, kind="action", module="activities", tolerance=None, **arguments):
    found = {"type": kind, "name": name, "provider": {"type": "python", "module": module, "func": func}}
    found["provider"]["arguments"] = arguments
    return found if tolerance is None else {**found, "tolerance": tolerance}


def probe(name, of, tolerance=None):
    return activity(name, "value", kind="probe", of=of, tolerance=tolerance)


def _without_settings() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if name not in ("APP_URL", "JAEGER_URL", "PROMETHEUS_URL")
    }


class Bench:
    """A folder with activities in it, and `chaos` to run experiments there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "activities.py").write_text(ACTIVITIES)

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def exists(self, name: str) -> bool:
        return (self.directory / name).exists()

    def start(self, *, control=True, environ=None, words=(), **parts) -> subprocess.Popen[str]:
        experiment = {"title": "t", "description": "d", "method": [], **parts}
        if control:
            experiment["controls"] = [OURS]
        (self.directory / "experiment.json").write_text(json.dumps(experiment))
        return subprocess.Popen(
            [CHAOS, "--no-version-check", "run", *words, "experiment.json"],
            cwd=self.directory,
            env={**_without_settings(), "PYTHONPATH": str(self.directory), **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, **parts) -> tuple[int, dict, str]:
        """The exit code, the journal, and what was printed."""
        process = self.start(**parts)
        output, _ = process.communicate(timeout=60)
        journal = self.directory / "journal.json"
        return process.returncode, json.loads(journal.read_text()) if journal.exists() else {}, output

    def until(self, name: str, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 30
        while not self.exists(name):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, name
            time.sleep(0.01)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


# --- below `chaos run` ------------------------------------------------------------------------------------------------


def test_a_run_whose_tolerances_hold_is_upheld(bench):
    code, journal, output = bench.run(
        method=[probe("three", 3.0, {"type": "range", "range": [2.9, 3.1]}), probe("free", {"any": "thing"})]
    )
    assert code == 0, output
    assert journal["chaosmesh-ext"] == {
        "verdict": "upheld",
        "exit_code": 0,
        "unmet": [],
        "problems": [],
        "notes": [],
        "run": journal["chaosmesh-ext"]["run"],
    }
    assert journal["run"][0]["tolerance_met"] is True
    assert "tolerance_met" not in journal["run"][1]


def test_an_unmet_tolerance_of_a_probe_in_the_method_fails_the_run(bench):
    """Chaos Toolkit ignores it: the same experiment without the control exits 0."""
    tolerance = {
        "type": "probe",
        "name": "about three",
        "provider": {
            "type": "python",
            "module": "chaosmesh_ext.tolerances",
            "func": "close_to",
            "arguments": {"expected": 3.0, "within": 5},
        },
    }
    method = [probe("slow", 7.0, tolerance), probe("also", 404, 200)]
    code, journal, output = bench.run(method=method)
    assert code == 1
    assert journal["status"] == "failed"
    assert journal["chaosmesh-ext"]["verdict"] == "weakness found"
    assert journal["chaosmesh-ext"]["exit_code"] == 1
    assert journal["chaosmesh-ext"]["unmet"] == [
        {"where": "method", "activity": "slow", "message": "expected 3 within 5 %, saw 7"},
        {"where": "method", "activity": "also", "message": "expected 200, saw 404"},
    ]
    assert "expected 3 within 5 %, saw 7" in output
    assert bench.run(method=method, control=False)[0] == 0


def test_no_data_fails_whatever_the_tolerance(bench):
    code, journal, _ = bench.run(method=[probe("none", None, {"type": "range", "range": [0, 9]})])
    assert code == 1
    assert journal["chaosmesh-ext"]["unmet"][0]["message"] == "expected between 0 and 9, saw no data"


def test_an_action_of_ours_that_fails_ends_the_method_and_the_run(bench):
    """Without its fault the rest of an experiment would say nothing, or the wrong thing."""
    code, journal, output = bench.run(
        method=[
            activity("inject", "inject_delay", module="chaosmesh_ext.actions", destination="details", fixed_delay=-1),
            activity("next", "touch", path=bench.path("next")),
        ],
        rollbacks=[activity("back", "touch", path=bench.path("back"))],
    )
    assert code == 1, output
    assert not bench.exists("next")
    assert bench.exists("back")
    section = journal["chaosmesh-ext"]
    assert (section["verdict"], section["exit_code"]) == ("inconclusive", 2)
    assert section["problems"][0].startswith("method: inject: ")
    assert sum("-1" in text for text in section["problems"]) == 1, section


def test_somebody_elses_action_that_fails_fails_the_run_but_not_the_method(bench):
    code, journal, _ = bench.run(
        method=[activity("theirs", "fail"), activity("next", "touch", path=bench.path("next"))]
    )
    assert code == 1
    assert bench.exists("next")
    assert journal["chaosmesh-ext"]["exit_code"] == 3
    assert journal["chaosmesh-ext"]["problems"] == ["method: theirs: RuntimeError: somebody else's"]


def test_the_errors_class_decides_the_exit_code(bench):
    code, journal, _ = bench.run(method=[activity("a", "raising", error="LeftBehind", words="a fault is still there")])
    assert code == 1
    assert (journal["chaosmesh-ext"]["verdict"], journal["chaosmesh-ext"]["exit_code"]) == ("left behind", 5)
    assert journal["chaosmesh-ext"]["problems"] == ["method: a: a fault is still there"]


def test_two_trace_stores_are_refused_before_anything_is_done(bench):
    code, journal, output = bench.run(
        configuration={"zipkin_url": "http://127.0.0.1:9"},
        method=[activity("inject", "touch", path=bench.path("injected"))],
        environ={"JAEGER_URL": "http://127.0.0.1:9"},
    )
    assert (code, journal["chaosmesh-ext"]["exit_code"]) == (1, 2)
    assert not bench.exists("injected")
    assert "JAEGER_URL and ZIPKIN_URL are set: leave the one whose store has the mesh's traces" in output


@pytest.mark.parametrize("environ", [{"APP_URL": ""}, {"APP_URL": " "}, {}])
def test_an_empty_environment_entry_is_refused_before_anything_is_done(bench, environ):
    """An experiment that does not know its target must not touch anything: not even its rollbacks may run."""
    code, journal, output = bench.run(
        configuration={"app_url": {"type": "env", "key": "APP_URL", "default": ""}},
        **{"steady-state-hypothesis": {"title": "s", "probes": [touched(bench, "asked")]}},
        method=[activity("inject", "touch", path=bench.path("injected"))],
        rollbacks=[activity("back", "touch", path=bench.path("back"))],
        runtime={"rollbacks": {"strategy": "always"}},
        environ=environ,
    )
    assert code == 1
    assert not any(bench.exists(name) for name in ("asked", "injected", "back"))
    assert "APP_URL is empty" in output
    assert "chaos mesh lab env" in output
    assert journal["chaosmesh-ext"]["exit_code"] == 2


def touched(bench, name, of=1, tolerance=1):
    return activity(name, "touch", kind="probe", path=bench.path(name), of=of, tolerance=tolerance)


def test_a_variable_on_the_command_line_is_not_empty(bench):
    code, _, output = bench.run(
        configuration={"app_url": {"type": "env", "key": "APP_URL", "default": ""}},
        method=[activity("inject", "touch", path=bench.path("injected"))],
        words=("--var", "app_url=http://localhost"),
    )
    assert code == 0, output
    assert bench.exists("injected")


def test_a_steady_state_that_was_never_there_is_inconclusive(bench):
    """Nothing was injected, so nothing was learnt; Chaos Toolkit exits 0."""
    parts = {
        "steady-state-hypothesis": {"title": "s", "probes": [probe("up", 503, 200)]},
        "method": [activity("inject", "touch", path=bench.path("injected"))],
    }
    code, journal, _ = bench.run(**parts)
    assert code == 1
    assert not bench.exists("injected")
    section = journal["chaosmesh-ext"]
    assert (section["verdict"], section["exit_code"]) == ("inconclusive", 3)
    assert section["problems"] == ["steady state before: up: expected 200, saw 503; nothing was injected"]


def test_every_probe_of_a_steady_state_is_asked(bench):
    """Chaos Toolkit stops at the first unmet one, and hides the rest."""
    gate = {"type": "regex", "pattern": "^up$"}
    probes = [
        activity("first", "value", kind="probe", of="${state}", tolerance=gate),
        activity("second", "value", kind="probe", of="${state}", tolerance=gate),
        touched(bench, "third"),
    ]
    code, journal, _ = bench.run(
        configuration={"state": "down"}, **{"steady-state-hypothesis": {"title": "s", "probes": probes}}
    )
    assert code == 1
    assert bench.exists("third")
    assert [text.split(":")[1].strip() for text in journal["chaosmesh-ext"]["problems"]] == ["first", "second"]
    assert [each["tolerance_met"] for each in journal["steady_states"]["before"]["remaining_probes"]] == [False, True]


def test_a_control_declared_twice_works_once(bench):
    controls_file = bench.directory / "controls.json"
    controls_file.write_text(json.dumps({"more": {"provider": OURS["provider"]}}))
    code, journal, _ = bench.run(method=[probe("a", 1, 2)], words=("--control-file", str(controls_file)))
    assert code == 1
    assert len(journal["chaosmesh-ext"]["unmet"]) == 1


def test_a_dry_run_judges_no_tolerance(bench):
    code, journal, output = bench.run(method=[probe("a", 1, 2)], words=("--dry", "probes"))
    assert code == 0, output
    assert journal["chaosmesh-ext"]["unmet"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_experiment_and_a_second_one_does_not_break_its_rollbacks(bench, number):
    """Chaos Toolkit alone loses a SIGTERM inside a Python activity, and its rollbacks at a second Ctrl-C."""
    process = bench.start(
        method=[
            activity("work", "wait", begun=bench.path("begun"), ended=bench.path("never"), seconds=30),
            activity("next", "touch", path=bench.path("next")),
        ],
        rollbacks=[activity("back", "wait", begun=bench.path("back"), ended=bench.path("done"), seconds=0.5)],
        runtime={"rollbacks": {"strategy": "always"}},
    )
    bench.until("begun", process)
    process.send_signal(number)
    bench.until("back", process)
    process.send_signal(number)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1, output
    assert bench.exists("done")
    assert not bench.exists("next")
    assert not bench.exists("never")
    section = json.loads((bench.directory / "journal.json").read_text())["chaosmesh-ext"]
    assert (section["verdict"], section["exit_code"]) == ("aborted", 4)


def test_a_signal_in_the_rollbacks_of_a_whole_run_does_not_break_them(bench):
    process = bench.start(
        method=[probe("a", 1, 1)],
        rollbacks=[activity("back", "wait", begun=bench.path("back"), ended=bench.path("done"), seconds=0.5)],
    )
    bench.until("back", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert bench.exists("done"), output
    assert process.returncode == 0, output


def guarded(*guardrails, **more):
    return [{**OURS, "provider": {**OURS["provider"], "arguments": {"guardrails": list(guardrails), **more}}}]


def test_each_mistake_in_the_controls_arguments_is_told(bench):
    wrong = {"name": "errors", "promql": "up", "abve": 1}
    code, _, output = bench.run(control=False, controls=guarded(wrong, {"promql": "up", "above": 1}, strict=True))
    assert code == 1
    for words in (
        "argument strict is unknown",
        "(errors): it has no limit",
        "(errors): abve is unknown",
        "has no name",
    ):
        assert words in output


def test_guardrails_that_nobody_can_ask_refuse_the_experiment(bench):
    """No Prometheus is known: the experiment would run unguarded."""
    code, journal, output = bench.run(
        control=False,
        controls=guarded({"name": "errors", "promql": "up", "above": "${most}"}),
        configuration={"most": 1},
        method=[activity("touched", "touch", path=bench.path("touched"))],
    )
    assert code == 1, output
    assert not bench.exists("touched")
    assert "PROMETHEUS_URL is not set" in journal["chaosmesh-ext"]["problems"][0]


def test_the_journal_tells_of_guardrails(bench):
    rail = {**probe("three", 3, 3), "frequency": 0.5}
    code, journal, output = bench.run(control=False, controls=guarded(rail), method=[probe("a", 1, 1)])
    assert code == 0, output
    [fact] = journal["chaosmesh-ext"]["guardrails"]
    assert (fact["name"], fact["crossed"]) == ("three", False)


# --- closing the run --------------------------------------------------------------------------------------------------


class _Run:
    """Stands for a run, to see that it is closed and what its closing means."""

    token = "1f0c9a2e"
    stopped = False
    guardrails = None

    def __init__(self, error=None):
        self.problems, self.notes, self.closed, self.controlled, self.error = [], [], 0, False, error

    def close(self):
        self.closed += 1
        if self.error:
            raise self.error


@pytest.fixture
def opened(monkeypatch):
    """The control, configured for a run whose closing can be made to fail."""

    def configure(error=None):
        run = _Run(error)
        monkeypatch.setattr(current, "_run", run)
        controls.configure_control()
        return run

    yield configure
    controls.cleanup_control()


def journal(**parts):
    return {"status": "completed", "deviated": False, "run": [], "rollbacks": [], **parts}


def test_the_run_is_closed_at_the_end_even_when_no_rollback_ran(opened):
    run = opened()
    assert run.controlled
    state = journal()
    controls.after_experiment_control(context={}, state=state)
    assert run.closed == 1
    assert state["chaosmesh-ext"]["run"] == "1f0c9a2e"
    controls.cleanup_control()
    assert run.closed == 1


def test_what_is_left_behind_is_said_and_fails_the_run(opened):
    opened(errors.LeftBehind("EnvoyFilter default/chaos-1 is still there; chaos mesh recover --run 1f0c9a2e"))
    state = journal()
    controls.after_experiment_control(context={}, state=state)
    assert state["status"] == "failed"
    assert state["chaosmesh-ext"]["exit_code"] == 5
    assert "chaos mesh recover" in state["chaosmesh-ext"]["problems"][0]


def test_an_unforeseen_error_of_closing_is_no_success(opened):
    opened(RuntimeError("never"))
    state = journal()
    controls.after_experiment_control(context={}, state=state)
    assert state["chaosmesh-ext"]["exit_code"] == 3
    assert "chaos mesh recover" in state["chaosmesh-ext"]["problems"][0]


def test_a_run_is_closed_even_when_chaos_toolkit_skips_the_end(opened):
    """An exception that escapes the experiment leads straight to the clean-up."""
    run = opened()
    controls.cleanup_control()
    assert run.closed == 1


# --- judging journals -------------------------------------------------------------------------------------------------


def ran(name="a", kind="probe", **parts):
    return {"activity": {"name": name, "type": kind}, "status": "succeeded", "output": None, **parts}


def raised(error: str, words: str = "why", **parts):
    text = f"chaoslib.exceptions.ActivityFailed: chaosmesh_ext.errors.{error}: {words}\n"
    return ran(status="failed", exception=["Traceback …\n", text], **parts)


def document(**parts):
    return {"schema": "chaosmesh-ext/findings/v1", "findings": [], "problems": [], **parts}


WARNING = {"severity": "warning", "summary": "the page is gone"}
INFO = {"severity": "info", "summary": "3 s"}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (journal(), 0),
        (journal(run=[raised("Weakness")]), 1),
        (journal(run=[raised("Unreachable")]), 3),
        (journal(run=[raised("NotFound", kind="action")]), 2),
        (journal(run=[raised("Aborted", kind="action")]), 4),
        (journal(rollbacks=[raised("LeftBehind", kind="action")]), 5),
        (journal(status="interrupted"), 4),
        (journal(status="aborted"), 3),
        (journal(deviated=True), 1),
        (journal(steady_states={"after": {"probes": [ran(tolerance_met=False)]}}), 1),
        (journal(steady_states={"during": [{"probes": [ran(tolerance_met=False)]}]}), 1),
        (journal(steady_states={"before": {"probes": [ran(tolerance_met=False)]}}), 3),
        (journal(steady_states={"after": {"probes": [ran(status="failed", exception=["OSError: refused"])]}}), 1),
        (journal(run=[ran(output=document())]), 0),
        (journal(run=[ran(output=document(findings=[INFO]))]), 0),
        (journal(run=[ran(output=document(findings=[INFO, WARNING]))]), 1),
        (journal(run=[ran(output=document(findings=[WARNING], expected=[{"rule": "timeout"}], unmet=[]))]), 0),
        (journal(run=[ran(output=document(expected=[{"rule": "timeout"}], unmet=["expected timeout"]))]), 1),
        (journal(run=[ran(output=document(problems=["no call met the fault"]))]), 3),
    ],
)
def test_what_a_journal_comes_to(state, code):
    assert judge(state).exit_code == code


def test_the_gravest_wins():
    """What is left behind before an abort before wrong input before an inconclusive run before a weakness."""
    weak = ran(tolerance_met=False)
    steps = [weak, raised("Unreachable"), raised("InvalidInput"), raised("Aborted"), raised("LeftBehind")]
    for last, code in enumerate((1, 3, 2, 4, 5)):
        assert judge(journal(run=steps[: last + 1])).exit_code == code


def test_what_the_run_knows_is_not_said_twice():
    """An action's error reaches both the journal and the run."""
    outcome = judge(
        journal(run=[raised("NotProven", "not live", name="inject", kind="action")]), [Problem(3, "not live")]
    )
    assert outcome.problems == ("method: inject: not live",)


@pytest.mark.parametrize(
    ("tolerance", "value", "message"),
    [
        (200, 503, "expected 200, saw 503"),
        (200, {"status": 503, "body": "x"}, "expected 200, saw 503"),
        (True, False, "expected True, saw False"),
        ([200, 404, 410], 500, "expected one of 200, 404, 410, saw 500"),
        ([1, 2], 3, "expected between 1 and 2, saw 3"),
        ({"type": "regex", "pattern": "^a"}, "b", "expected a match of ^a, saw b"),
        ({"type": "range", "range": [1, 2]}, 3, "expected between 1 and 2, saw 3"),
        ([1, 2], "x", "its tolerance could not judge x: TypeError"),
    ],
)
def test_chaos_toolkits_own_tolerances_are_explained(tolerance, value, message):
    assert expectations.unmet(tolerance, value, {}, {}).startswith(message)


def test_a_tolerance_is_not_changed_by_being_used():
    """Chaos Toolkit writes the value into it, and so into the journal's experiment."""
    tolerance = {
        "type": "probe",
        "name": "t",
        "provider": {"type": "python", "module": "chaosmesh_ext.tolerances", "func": "at_most"},
    }
    tolerance["provider"]["arguments"] = {"upper": "${limit}"}
    before = json.dumps(tolerance)
    assert expectations.unmet(tolerance, 3, {"limit": 5}, {}) is None
    assert expectations.unmet(tolerance, 7, {"limit": 5}, {}) == "expected at most 5, saw 7"
    assert json.dumps(tolerance) == before


# --- what is refused before anything is done --------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [-1, float("nan"), float("inf"), 1e300, 86401, "${text}", "${wrong}", True, [1]])
@pytest.mark.parametrize("word", ["before", "after"])
def test_a_pause_that_nobody_can_sleep_for_is_refused_before_anything_is_done(bench, pause, word):
    """Python refuses to sleep for it after the activity: after the injection, then."""
    found = refusals(
        {"method": [{"ref": "a"}, {**activity("a", "touch", path=bench.path("a")), "pauses": {word: pause}}]},
        {"text": "x", "wrong": -5},
    )
    assert len(found) == 1, found
    assert found[0].startswith(f"method[1].pauses.{word} is ")


def test_pauses_that_can_be_slept_for_are_none_of_that():
    for pause in (0, 1, 0.5, 86400, "${seconds}", None):
        assert refusals({"rollbacks": [{"pauses": {"before": pause, "after": pause}}]}, {"seconds": 5}) == []


def test_with_such_a_pause_nothing_is_run(bench):
    made = {**activity("touched", "touch", path=bench.path("touched")), "pauses": {"after": -1}}
    code, journal, output = bench.run(method=[made])
    assert (code, bench.exists("touched")) == (1, False)
    assert "method[0].pauses.after is -1: give seconds from 0 to 86400; nothing was injected" in output
    assert journal["chaosmesh-ext"]["exit_code"] == 2


@pytest.mark.parametrize("strategy", ["never", "default", "deviated", 7, None])
def test_where_faults_are_injected_the_rollbacks_must_always_run(strategy):
    ours = activity("fault", "inject_delay", module="chaosmesh_ext.actions")
    runtime = {"rollbacks": {"strategy": strategy}}
    assert refusals({"method": [ours], "runtime": runtime}, {}) == [
        f"runtime.rollbacks.strategy is {strategy!r}, which may leave faults in: write always"
    ]
    assert refusals({"method": [probe("a", 1)], "runtime": runtime}, {}) == []
    assert refusals({"method": [ours], "runtime": {"rollbacks": {"strategy": "always"}}}, {}) == []
    assert refusals({"method": [ours]}, {}) == []
