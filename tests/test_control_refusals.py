"""What our control refuses before anything is done."""

from __future__ import annotations

import pytest
from bench import Bench, activity, guarded, probe, touched

from chaosmesh_ext.controls.refusals import refusals


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


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


def test_a_variable_on_the_command_line_is_not_empty(bench):
    code, _, output = bench.run(
        configuration={"app_url": {"type": "env", "key": "APP_URL", "default": ""}},
        method=[activity("inject", "touch", path=bench.path("injected"))],
        words=("--var", "app_url=http://localhost"),
    )
    assert code == 0, output
    assert bench.exists("injected")


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


def test_an_action_of_ours_in_the_background_is_refused_and_a_probe_there_is_not():
    """What follows would look before its fault is live."""
    action = {"type": "action", "provider": {"module": "chaosmesh_ext.actions"}, "background": True}
    look = {"type": "probe", "provider": {"module": "chaosmesh_ext.probes"}, "background": True}
    [line] = refusals({"method": [look, action, {**action, "background": False}]}, {})
    assert line.startswith("method[1].background: what follows would not wait")


def judged(func, **arguments):
    """A probe whose tolerance is FUNC of ours with ARGUMENTS."""
    provider = {"type": "python", "module": "chaosmesh_ext.tolerances", "func": func, "arguments": arguments}
    return probe("p", 1, {"type": "probe", "name": "t", "provider": provider})


@pytest.mark.parametrize(
    ("tolerance", "words"),
    [
        (judged("between", lower=5, upper=1), "lower 5 is above upper 1"),
        (judged("at_most", upper="abc"), "'abc', not a number"),
        (judged("at_most", upper=float("nan")), "upper is nan"),
        (judged("at_most", upper=None), "upper is None"),
        (judged("at_most", upper=[]), "[], not a number"),
        (judged("at_most", upper="${words}"), "'fast', not a number"),
        (judged("status_share", statuses=[]), "statuses is []"),
        (judged("status_share", statuses=["5xx"], upper=0.0), "'5xx', which matches no status"),
        (judged("status_share", statuses=[200], lower=2, upper=3), "2 to 3 is no span"),
        (judged("contains_section", sections=[]), "sections is []"),
        (judged("one_of", values=[]), "values is []"),
        (judged("in_sync", by="god"), "by is 'god'"),
        (judged("like_control", slower_by=-1), "slower_by is -1"),
        (judged("slowest_at", place="a", share=2), "share is 2"),
    ],
)
def test_a_tolerance_that_nothing_could_meet_is_refused_before_anything_is_done(tolerance, words):
    for experiment in ({"method": [tolerance]}, {"steady-state-hypothesis": {"probes": [tolerance]}}):
        [line] = refusals(experiment, {"words": "fast"})
        assert "[0].tolerance: " in line
        assert words in line


def test_tolerances_that_may_be_met_are_left_to_the_run():
    fine = [
        judged("between", lower="${low}", upper="${high}"),  # of the environment: texts
        judged("at_most", upper=[0.1, 0.5]),
        judged("at_most", upper="${unknown}"),
        judged("at_most", upper="${found}"),
        judged("in_sync"),
        probe("plain", 1, 200),
        probe("range", 1, {"type": "range", "range": [5, 1]}),
    ]
    assert refusals({"method": fine}, {"low": "1", "high": "2", "found": {"type": "probe"}}) == []
