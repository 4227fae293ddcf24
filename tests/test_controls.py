"""The control below a real `chaos run`."""

from __future__ import annotations

import json
import signal
import time

import pytest
from bench import OURS, Bench, activity, guarded, probe, touched


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


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
            activity("work", "wait", begun=bench.path("begun"), ended=bench.path("never"), seconds=80),
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
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert bench.exists("done")
    assert not bench.exists("next")
    assert not bench.exists("never")
    section = json.loads((bench.directory / "journal.json").read_text())["chaosmesh-ext"]
    assert (section["verdict"], section["exit_code"]) == ("aborted", 4)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_moment_before_a_pause_does_not_wait_for_its_end(bench, number):
    """Python runs handlers between two steps of the main thread: without help, after the pause."""
    began = time.monotonic()
    _, journal, output = bench.run(
        method=[activity("work", "late", number=number, ended=bench.path("never"), seconds=80)],
        rollbacks=[activity("back", "touch", path=bench.path("back"))],
        runtime={"rollbacks": {"strategy": "always"}},
    )
    assert not bench.exists("never"), output
    assert bench.exists("back")
    assert journal["chaosmesh-ext"]["verdict"] == "aborted"
    assert time.monotonic() - began < 70


def test_a_signal_in_the_rollbacks_of_a_whole_run_does_not_break_them(bench):
    process = bench.start(
        method=[probe("a", 1, 1)],
        rollbacks=[activity("back", "wait", begun=bench.path("back"), ended=bench.path("done"), seconds=0.5)],
    )
    bench.until("back", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert bench.exists("done"), output
    assert process.returncode == 0, output


def test_the_journal_tells_of_guardrails(bench):
    rail = {**probe("three", 3, 3), "frequency": 0.5}
    code, journal, output = bench.run(control=False, controls=guarded(rail), method=[probe("a", 1, 1)])
    assert code == 0, output
    [fact] = journal["chaosmesh-ext"]["guardrails"]
    assert (fact["name"], fact["crossed"]) == ("three", False)
