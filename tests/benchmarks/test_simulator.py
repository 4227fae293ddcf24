"""The simulator against what the words of topology files mean, computed by hand. Calls take no time on their way."""

from __future__ import annotations

import pytest
from truths.simulate import Simulation, simulate
from truths.story import Abort, Delay

SLOW = {("a-v1", "b"): Delay(10.0)}
FAILS = {("a-v1", "b"): Abort(507)}


def story(topology, faults=None, path="/", versions=None):
    return simulate(topology, path, faults, versions, hop=0)


def times(attempts) -> list[tuple[float, float]]:
    return [(round(each.start, 6), round(each.end, 6)) for each in attempts]


def test_a_healthy_request_answers_as_the_file_says(graph):
    told = story(
        graph(
            a={"work": "10ms", "calls": [{"to": "b"}, {"together": [{"to": "c"}, {"to": "d"}]}]},
            b={"work": "20ms"},
            c={"work": "30ms"},
            d={"work": "5ms"},
        )
    )
    assert told.visit.status == 200
    assert told.visit.end == pytest.approx(0.060)
    leaf = {name: {"service": name, "version": "v1", "sections": {}} for name in "bcd"}
    assert told.visit.body == {"service": "a", "version": "v1", "sections": leaf}


def test_a_timeout_runs_from_dispatch_and_closes_the_connection(graph):
    told = story(graph(a={"work": "100ms", "calls": [{"to": "b", "timeout": "1s"}]}, b=None), SLOW)
    (attempt,) = told.on("a-v1", "b")
    assert (attempt.ended, attempt.status, attempt.faulted) == ("timeout", 0, True)
    assert times([attempt]) == [(0.1, 1.1)]
    assert [served.service for served in told.served] == ["a"]  # a delayed call that is given up never reaches b
    assert (told.visit.status, told.visit.body["failed"]) == (502, "b")


def test_a_delay_shorter_than_the_timeout_is_waited_for(graph):
    told = story(graph(a={"calls": [{"to": "b", "timeout": "1s"}]}, b=None), {("a-v1", "b"): Delay(0.9)})
    assert told.visit.status == 200
    assert told.visit.end == pytest.approx(0.9)


def test_retries_pause_longer_and_longer(graph):
    retries = {"attempts": 3, "backoff": "100ms", "growth": 2}
    told = story(graph(a={"calls": [{"to": "b", "timeout": "1s", "retries": retries}]}, b=None), SLOW)
    assert times(told.on("a-v1", "b")) == [(0, 1), (1.1, 2.1), (2.3, 3.3), (3.7, 4.7)]
    assert [each.number for each in told.attempts] == [0, 1, 2, 3]


def test_retries_pause_as_long_each_time_without_growth(graph):
    retries = {"attempts": 2, "backoff": "100ms"}
    told = story(graph(a={"calls": [{"to": "b", "retries": retries}]}, b=None), FAILS)
    assert times(told.on("a-v1", "b")) == [(0, 0), (0.1, 0.1), (0.2, 0.2)]


@pytest.mark.parametrize(
    ("on", "slow", "failing"), [(["timeout"], 2, 1), (["5xx"], 1, 2), (["connect"], 1, 1), (["timeout", "5xx"], 2, 2)]
)
def test_only_the_failures_that_are_named_are_tried_again(graph, on, slow, failing):
    topology = graph(a={"calls": [{"to": "b", "timeout": "1s", "retries": {"attempts": 1, "on": on}}]}, b=None)
    assert len(story(topology, SLOW).attempts) == slow
    assert len(story(topology, FAILS).attempts) == failing


def test_a_4xx_fails_the_call_and_is_not_tried_again(graph):
    topology = graph(a={"calls": [{"to": "b", "retries": {"attempts": 3}}]}, b=None)
    told = story(topology, {("a-v1", "b"): Abort(404)})
    assert [each.status for each in told.attempts] == [404]
    assert told.visit.status == 502


def test_layers_that_retry_multiply(graph):
    call = {"retries": {"attempts": 2, "on": ["5xx"]}}
    topology = graph(
        a={"calls": [{"to": "b", **call}]},
        b={"calls": [{"to": "c", **call}]},
        c={"calls": [{"to": "d", **call}]},
        d=None,
    )
    told = story(topology, {("c-v1", "d"): Abort(507)})
    assert [len(told.on(*edge)) for edge in (("a-v1", "b"), ("b-v1", "c"), ("c-v1", "d"))] == [3, 9, 27]


@pytest.mark.parametrize(
    ("word", "status", "section"),
    [
        ("omit", 200, None),
        ("default", 200, {"default": True}),
        ("fail", 502, ...),
        ("raw", 507, ...),
        ("bug", 500, ...),
    ],
)
def test_what_becomes_of_the_answer_when_a_call_fails(graph, word, status, section):
    told = story(graph(a={"calls": [{"to": "b", "onFailure": word}]}, b=None), FAILS)
    assert told.visit.status == status
    if section is not ...:
        assert told.visit.body["sections"] == {"b": section}
    elif word == "bug":
        assert told.visit.body is None
    else:
        assert told.visit.body == {"service": "a", "version": "v1", "failed": "b"}


def test_raw_has_nothing_to_pass_on_when_no_status_came(graph):
    told = story(graph(a={"calls": [{"to": "b", "timeout": "1s", "onFailure": "raw"}]}, b=None), SLOW)
    assert told.visit.status == 502


def test_together_awaits_all_and_the_first_in_file_order_names_the_failure(graph):
    group = [{"to": "b", "timeout": "2s"}, {"to": "c", "timeout": "1s"}, {"to": "d"}]
    topology = graph(a={"calls": [{"together": group}, {"to": "e"}]}, b=None, c=None, d={"work": "3s"}, e=None)
    told = story(topology, {("a-v1", "b"): Delay(10.0), ("a-v1", "c"): Delay(10.0)})
    assert told.visit.end == pytest.approx(3.0)  # d is awaited though b and c have failed
    assert told.visit.body["failed"] == "b"
    assert not told.on("a-v1", "e")  # a failed `fail` skips the rest


def test_calls_are_made_for_their_paths_only(graph):
    topology = graph(
        a={"calls": [{"to": "b", "path": "/x"}, {"to": "c", "paths": ["/home"]}]},
        b={"calls": [{"to": "c", "paths": ["/x"]}, {"to": "d", "paths": ["/y"]}]},
        c=None,
        d=None,
    )
    assert {(each.source, each.destination) for each in story(topology).attempts} == {("a-v1", "b"), ("b-v1", "c")}
    assert story(topology, path="/home").on("a-v1", "c")


def test_two_calls_of_one_service_have_a_section_each(graph):
    topology = graph(a={"calls": [{"to": "b", "path": "/x"}, {"to": "b", "path": "/y", "method": "POST"}]}, b=None)
    assert list(story(topology).visit.body["sections"]) == ["b GET /x", "b POST /y"]


def breaking(graph, replicas=1):
    call = {"to": "b", "timeout": "1s", "breaker": {"failures": 2, "open": "5s"}}
    return graph(a={"replicas": replicas, "calls": [call]}, b=None)


def visits(topology, faults, *at):
    simulation = Simulation(topology, faults=faults, hop=0)
    for moment in at:
        simulation.visit(at=moment)
    return simulation.run()


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_through_after_a_while(graph):
    told = visits(breaking(graph), FAILS, 0, 1, 2, 5.9, 6.1, 11.0, 11.2)
    assert [each.start for each in told.attempts] == [0, 1, 6.1, 11.2]  # failing, half-open calls open it for 5 s again
    assert [each.status for each in told.visits] == [502] * 7


def test_while_a_breaker_is_half_open_all_others_fail_at_once(graph):
    slow = visits(breaking(graph), SLOW, 0, 2, 8.5, 8.6)
    assert times(slow.attempts) == [(0, 1), (2, 3), (8.5, 9.5)]
    assert [each.end for each in slow.visits] == [1, 3, 8.6, 9.5]


def test_a_success_closes_a_breaker_and_starts_the_count_anew(graph):
    simulation = Simulation(breaking(graph), faults=FAILS, hop=0)
    for moment, marked in (
        (0, True),
        (1, False),
        (2, True),
        (3, True),
        (4, True),
        (8.5, False),
        (9, True),
        (9.5, False),
    ):
        simulation.visit(at=moment, marked=marked)
    told = simulation.run()
    assert [each.start for each in told.attempts] == [0, 1, 2, 3, 8.5, 9, 9.5]


def test_timeouts_count_for_a_breaker_and_each_replica_has_its_own(graph):
    assert len(visits(breaking(graph), SLOW, 0, 2, 4).attempts) == 2
    assert len(visits(breaking(graph, replicas=2), SLOW, 0, 2, 4, 6, 7).attempts) == 4


def test_an_open_breaker_is_not_tried_again(graph):
    call = {"to": "b", "retries": {"attempts": 4}, "breaker": {"failures": 2, "open": "5s"}}
    told = visits(graph(a={"calls": [call]}, b=None), FAILS, 0, 1)
    assert [each.start for each in told.attempts] == [0, 0]


def test_a_pool_is_first_in_first_out_and_waiting_for_it_is_not_timed(graph):
    topology = graph(a={"calls": [{"to": "b", "timeout": "1s", "pool": 1}]}, b={"work": "800ms"})
    told = visits(topology, None, 0, 0.1, 0.2)
    assert times(told.attempts) == [(0, 0.8), (0.8, 1.6), (1.6, 2.4)]
    assert [each.status for each in told.visits] == [200, 200, 200]


def test_a_pause_before_a_retry_holds_no_slot_of_the_pool(graph):
    call = {"to": "b", "pool": 1, "retries": {"attempts": 1, "backoff": "1s"}}
    told = visits(graph(a={"calls": [call]}, b=None), FAILS, 0, 0.5)
    assert [each.start for each in told.attempts] == [0, 0.5, 1, 1.5]


def test_workers_are_for_one_replica_and_first_in_first_out(graph):
    one = visits(graph(a={"workers": 1, "work": "1s"}), None, 0, 0.1, 0.2)
    assert [(each.began, each.end) for each in one.served] == [(0, 1), (1, 2), (2, 3)]
    two = visits(graph(a={"workers": 1, "work": "1s", "replicas": 2}), None, 0, 0.1, 0.2)
    assert [each.end for each in two.visits] == [1, 1.1, 2]


def inversion(graph, word):
    return graph(
        a={"calls": [{"to": "b", "timeout": "1s", "onFailure": "omit"}]},
        b={"onCallerGone": word, "calls": [{"to": "c", "timeout": "4s", "onFailure": "default"}, {"to": "d"}]},
        c=None,
        d=None,
    )


def test_whose_caller_is_gone_finishes_its_work(graph):
    told = story(inversion(graph, "continue"), {("b-v1", "c"): Delay(10.0)})
    assert told.visit.end == pytest.approx(1.0)
    assert told.visit.body["sections"] == {"b": None}
    (served,) = [each for each in told.served if each.service == "b"]
    assert (served.gone, served.end, served.status) == (1.0, 4.0, 200)
    assert served.orphaned == pytest.approx(3.0)
    assert told.on("b-v1", "d")


def test_who_cancels_stops_its_calls_when_its_caller_is_gone(graph):
    told = story(inversion(graph, "cancel"), {("b-v1", "c"): Delay(10.0)})
    (call,) = told.on("b-v1", "c")
    assert (call.ended, call.end) == ("called off", 1.0)
    (served,) = [each for each in told.served if each.service == "b"]
    assert (served.gone, served.end, served.status) == (1.0, 1.0, 0)
    assert not told.on("b-v1", "d")


def test_what_was_called_off_frees_its_worker_and_its_slot(graph):
    topology = graph(
        a={"calls": [{"to": "b", "timeout": "1s"}]},
        b={"onCallerGone": "cancel", "workers": 1, "calls": [{"to": "c", "pool": 1}]},
        c=None,
    )
    simulation = Simulation(topology, faults={("b-v1", "c"): Delay(10.0)}, hop=0)
    simulation.visit()
    simulation.visit(at=0.5, marked=False)
    told = simulation.run()
    assert [(each.start, each.status) for each in told.on("b-v1", "c")] == [(0, 0), (1.0, 200)]
    assert [each.status for each in told.visits] == [502, 200]


def test_faults_are_met_by_marked_calls_of_their_source_only(graph):
    topology = graph(
        a={"calls": [{"to": "b"}, {"to": "c"}]},
        b=[{"calls": [{"to": "c"}]}, {"calls": [{"to": "c"}]}],
        c=None,
    )
    faults = {("b-v2", "c"): Abort(507)}
    assert story(topology, faults).visit.status == 200
    assert story(topology, faults, versions={"b": "v2"}).visit.status == 502
    turns = story(topology, faults, versions=lambda name, turn: "v2" if (name, turn) == ("b", 0) else "v1")
    assert turns.visit.status == 502
    simulation = Simulation(topology, faults=faults, versions={"b": "v2"})
    simulation.visit(marked=False)
    assert simulation.run().visit.status == 200


def test_nobody_below_one_who_forwards_nothing_meets_a_fault(graph):
    topology = graph(
        a={"calls": [{"to": "b"}]}, b={"forwards": [], "calls": [{"to": "c"}]}, c={"calls": [{"to": "d"}]}, d=None
    )
    told = story(topology, {("b-v1", "c"): Abort(507), ("c-v1", "d"): Abort(507)})
    assert told.visit.status == 200
    assert [each.marked for each in told.attempts] == [True, False, False]


def test_programs_are_refused(graph):
    topology = graph(a={"run": {"command": ["true"]}})
    with pytest.raises(ValueError, match="a-v1 is a program"):
        simulate(topology)
