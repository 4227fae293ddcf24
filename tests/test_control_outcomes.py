"""What a run comes to: closing it, and judging Chaos Toolkit's journal."""

from __future__ import annotations

import json

import pytest

from chaosmesh_ext import controls, errors
from chaosmesh_ext.controls import expectations
from chaosmesh_ext.controls.outcome import Problem, judge
from chaosmesh_ext.run import current, problems


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

    def failed(self, error):
        self.problems.append(problems.Problem.of(error))


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
        (journal(run=[ran(tolerance_met=False, tolerance_impossible=True, tolerance_message="x")]), 2),
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


def test_a_tolerance_of_ours_that_cannot_be_is_neither_met_nor_unmet():
    provider = {"type": "python", "module": "chaosmesh_ext.tolerances", "func": "at_most"}
    tolerance = {"type": "probe", "name": "t", "provider": {**provider, "arguments": {"upper": [1, 2]}}}
    with pytest.raises(errors.InvalidInput, match=r"^its tolerance cannot be: a tolerance's upper has 2 numbers for 3"):
        expectations.unmet(tolerance, [1, 2, 3], {}, {})


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
