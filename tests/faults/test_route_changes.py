"""Timeouts, retries, routes and propagation: what is written, what is refused, and how it shows."""

from __future__ import annotations

import pytest
from overlays import EVERYBODY, place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import FAULTS, Propagation, Retries, Routes, Timeout
from chaosmesh_ext.mesh import Create, Narrowing, Policy, RouteChange, View
from chaosmesh_ext.model import Span, Trace, Workload

ROUTE = {"route": [{"destination": {"host": "details"}}], "timeout": "9s", "retries": {"attempts": 5}}


def trace(*, flags=(), status=200, duration=0.1, arrivals=1) -> tuple[Span, Trace]:
    """A call of productpage's to details, and the arrivals that details' sidecars reported."""
    call = Span(
        "t", "c", "", "CLIENT", "op", 0.0, duration, Workload("productpage", "v1"), "details", flags=frozenset(flags),
        status=status,
    )  # fmt: skip
    others = tuple(
        Span("t", f"s{number}", "c", "SERVER", "op", 0.0, duration, Workload("details", "v1"))
        for number in range(arrivals)
    )
    return call, Trace("t", (call, *others))


def test_each_is_known_by_one_word_and_of_its_sort():
    assert [FAULTS[word] for word in ("timeout", "retries", "routes", "propagation")] == [
        Timeout,
        Retries,
        Routes,
        Propagation,
    ]
    assert isinstance(Timeout(1), RouteChange)
    assert isinstance(Retries(1), RouteChange)
    assert isinstance(Routes(), Narrowing)
    assert isinstance(Propagation(), Policy)


def test_a_timeout_takes_the_owners_place_and_leaves_the_rest_of_his_route():
    assert Timeout(0.5).for_route(ROUTE, place()) == {**ROUTE, "timeout": "0.5s"}


def test_no_timeout_is_none_written_since_istio_refuses_0s():
    assert Timeout(0).for_route(ROUTE, place()) == {key: value for key, value in ROUTE.items() if key != "timeout"}


@pytest.mark.parametrize("seconds", [-1, 0.0001, 86_401, float("nan"), float("inf")])
def test_a_timeout_that_cannot_be_is_refused(seconds):
    with pytest.raises(InvalidInput, match="timeout"):
        Timeout(seconds)


def test_a_timeout_shows_by_its_own_time_only():
    """An owner's timeout, or an application's, must not pass for ours."""
    assert Timeout(0.5).shows_in(*trace(flags=["UT"], status=504, duration=0.51))
    assert not Timeout(0.5).shows_in(*trace(flags=["UT"], status=504, duration=3.0))
    assert not Timeout(0.5).shows_in(*trace(flags=["UT"], status=504, duration=0.2))
    assert not Timeout(0.5).shows_in(*trace(flags=["DC"], status=0, duration=0.5))
    assert not Timeout(0).shows_in(*trace(flags=["UT"], status=504, duration=0.0))


def test_retries_take_the_owners_place():
    assert Retries(3, "5xx,reset", 0.25).for_route(ROUTE, place())["retries"] == {
        "attempts": 3,
        "retryOn": "5xx,reset",
        "perTryTimeout": "0.25s",
    }
    assert Retries(0).for_route(ROUTE, place())["retries"] == {"attempts": 0}


def test_retries_and_a_timeout_for_the_same_calls_are_one_change():
    """Of two routes for the same requests Istio takes the first: both must be in one."""
    both, both_of_a_rule = Retries(3, "5xx", 0.25, timeout=2), Retries(3, "503", 0.25, timeout=2)
    words = {"attempts": 3, "retryOn": "5xx", "perTryTimeout": "0.25s"}
    assert both.for_route(ROUTE, place()) == {**ROUTE, "retries": words, "timeout": "2s"}
    assert "timeout" not in Retries(3, timeout=0).for_route(ROUTE, place())
    assert Retries(3).for_route(ROUTE, place())["timeout"] == ROUTE["timeout"]
    rule = both_of_a_rule.for_rule({"matches": [], "timeouts": {"request": "9s"}}, place())
    assert rule["timeouts"] == {"request": "2s", "backendRequest": "250ms"}
    assert rule["retry"] == {"attempts": 3, "codes": [503]}
    assert both.shows_in(*trace(arrivals=2))
    assert both.shows_in(*trace(flags=["UT"], status=504, duration=2.01))
    assert not both.shows_in(*trace(flags=["UT"], status=504, duration=0.5)), "another timeout's"
    assert both.facts("details", (), "", "virtualservice").words == "3 retries on 5xx, timeout of 2 s"
    assert Retries(0, timeout=0).facts("details", (), "", "").words == "retries removed, timeout removed"
    with pytest.raises(InvalidInput, match="timeout"):
        Retries(3, timeout=-1)


@pytest.mark.parametrize("each", [1, 5])
def test_an_attempt_that_may_take_as_long_as_the_whole_call_is_refused(each):
    """Envoy leaves such a timeout of an attempt out."""
    with pytest.raises(InvalidInput, match=f"per_try_timeout {each} s never ends an attempt, since timeout 1 s"):
        Retries(1, "", each, timeout=1)
    assert Retries(1, "", each, timeout=0).per_try_timeout == each
    assert Retries(1, "", each).per_try_timeout == each


@pytest.mark.parametrize("fault", [Timeout(0.0015), Retries(1, "", 0.0015), Retries(1, timeout=1.0005)])
def test_an_httproute_takes_no_part_of_a_millisecond(fault):
    """1500us was written as 2ms without a word."""
    with pytest.raises(InvalidInput, match=r"ms: an HTTPRoute's durations are whole milliseconds"):
        fault.for_rule({"matches": []}, place())
    assert fault.for_route(ROUTE, place())
    for whole in (0.001, 0.0035 - 0.0005, 0.1 + 0.2, 86_400.0, 4.015):
        assert Timeout(whole).for_rule({"matches": []}, place())["timeouts"]


@pytest.mark.parametrize(
    "words", [(-1,), (21,), (True,), (1.5,), (1, "5xx, reset"), (1, "700"), (0, "5xx"), (1, "", -1), (1, "", 1e-9)]
)
def test_retries_that_cannot_be_are_refused(words):
    with pytest.raises(InvalidInput, match=r"attempts|retry_on|per_try_timeout"):
        Retries(*words)


def test_retries_show_by_the_arrivals_of_one_call():
    assert Retries(3).shows_in(*trace(arrivals=2))
    assert Retries(3).shows_in(*trace(arrivals=4, flags=["URX"], status=503))
    assert Retries(3).shows_in(*trace(arrivals=0, flags=["UF", "URX"], status=503))
    assert not Retries(3).shows_in(*trace(arrivals=1))
    assert not Retries(3).shows_in(*trace(arrivals=3, flags=["URX"], status=503)), "another policy's"
    assert not Retries(0).shows_in(*trace(arrivals=2))


@pytest.mark.parametrize("keep", [{"uri": {"prefix": "/"}}, [{}], [{"path": "/"}], [{"uri": "/"}], "x", ["x"]])
def test_matches_to_keep_that_are_none_are_refused(keep):
    with pytest.raises(InvalidInput):
        Routes(keep)


def test_lost_routes_show_as_envoy_says_it():
    assert Routes().shows_in(*trace(flags=["NR"], status=404, arrivals=0))
    assert not Routes().shows_in(*trace(status=404))


def test_a_broken_trace_shows_by_an_answer_from_nobody():
    assert Propagation().shows_in(*trace(arrivals=0))
    assert not Propagation().shows_in(*trace(arrivals=1))
    assert not Propagation().shows_in(*trace(arrivals=0, flags=["FI"], status=503)), "nobody was called"
    assert not Propagation().shows_in(*trace(arrivals=0, status=0)), "nobody answered"


@pytest.mark.parametrize("scope", [{}, {"source": None}, {"marker": None}, EVERYBODY])
def test_trace_headers_are_taken_off_for_the_scope_only(scope):
    there = place(**scope)
    (change,) = Propagation().changes(there, View())
    assert isinstance(change, Create)
    spec = change.obj["spec"]
    assert ("workloadSelector" in spec) == (there.source is not None)
    assert (f"chaosmesh={there.run}-1" in str(spec)) == (there.marker is not None)
    assert "details" in str(spec)


def test_a_scope_that_its_matcher_does_not_say_is_refused():
    with pytest.raises(InvalidInput, match="leave out match"):
        Propagation().changes(place(match={"method": {"exact": "GET"}}), View())
