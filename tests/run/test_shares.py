"""Counts against shares: what is told apart, what is not, and how seldom that is wrong."""

from __future__ import annotations

import random

import pytest

from chaosmesh_ext.errors import NotProven
from chaosmesh_ext.model import Span, Trace, Workload
from chaosmesh_ext.run.evidence import Watched
from chaosmesh_ext.run.shares import SURE, arrivals, bounds, divergence, estimate, latest, misfit, of_versions

EVENLY = {"v1": 1 / 3, "v2": 1 / 3, "v3": 1 / 3}
SHIFTED = {"v1": 0.15, "v2": 0.25, "v3": 0.6}
WATCHED = Watched((Workload("productpage", "v1"),), "reviews", "default")


def drawn(shares: dict[str, float], count: int, seed: int) -> list[str]:
    return random.Random(seed).choices(list(shares), list(shares.values()), k=count)


def test_bounds_hold_all_but_the_rarest_counts():
    """Of 100 calls of which 15 % are meant; the exact tails are below one in ten thousand."""
    assert bounds(100, 0.15) == (4, 30)
    assert bounds(100, 0.0) == (0, 0)
    assert bounds(100, 1.0) == (100, 100)
    outside = sum(
        not bounds(60, 0.6)[0] <= drawn({"a": 0.6, "b": 0.4}, 60, seed).count("a") <= bounds(60, 0.6)[1]
        for seed in range(2000)
    )
    assert outside <= 3


def test_a_shift_is_told_from_what_was_before_and_dated_to_its_first_calls():
    found = 0
    for seed in range(50):
        calls = drawn(EVENLY, 20, seed) + drawn(SHIFTED, 180, seed + 1000)
        start, weight = latest(calls, SHIFTED, EVENLY)
        assert weight >= SURE
        assert not misfit(calls[start:], SHIFTED)
        found += 5 <= start <= 50
    assert found >= 40


def test_no_shift_is_seen_where_there_is_none():
    """The chance to be wrong is near one in ten thousand for each call at which it could be."""
    assert sum(latest(drawn(EVENLY, 200, seed), SHIFTED, EVENLY)[1] >= SURE for seed in range(300)) <= 1


def test_one_stray_call_neither_proves_nor_refutes_all_others():
    alone = {"v3": 1.0}
    assert latest(["v1"] * 10 + ["v3"] * 20, alone, EVENLY)[0] == 10
    assert latest(["v3"], alone, estimate(["v1"] * 40, alone))[1] < SURE
    assert misfit(["v3"] * 19 + ["v1"], alone) == "1 of 20 calls arrived at v1, and 0% of them would be 0 to 0"


def test_shares_that_are_alike_are_known_to_be():
    before = estimate(drawn(EVENLY, 40, 3), EVENLY)
    assert divergence(EVENLY, before) * 200 < SURE < divergence(SHIFTED, before) * 200


def test_a_subset_of_several_versions_cannot_be_told_by_traces():
    assert of_versions({"old": 0.25, "new": 0.75}, {"old": frozenset({"v1"}), "new": frozenset({"v2"})}) == {
        "v1": 0.25,
        "v2": 0.75,
    }
    with pytest.raises(NotProven, match="versions v2, v3"):
        of_versions({"new": 1.0}, {"new": frozenset({"v2", "v3"})})


def test_a_call_arrives_at_the_version_of_the_first_sidecar_below_it():
    call = Span("t", "1", "", "CLIENT", "o", 0.0, 1.0, Workload("productpage", "v1"), peer="reviews")
    first = Span("t", "2", "1", "SERVER", "o", 0.1, 0.1, Workload("reviews", "v2"))
    again = Span("t", "3", "1", "SERVER", "o", 0.3, 0.1, Workload("reviews", "v3"))
    lost = Span("t", "4", "", "CLIENT", "o", 0.5, 0.1, Workload("productpage", "v1"), peer="reviews")
    assert arrivals(Trace("t", (call, first, again, lost)), WATCHED) == ["v2"]
