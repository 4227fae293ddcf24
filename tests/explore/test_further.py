"""Further requests are sent where calls were too few to tell, and nowhere else."""

from __future__ import annotations

import pytest
from graphs import bookinfo, edge

from chaosmesh_ext.explore.cells import wanted
from chaosmesh_ext.explore.further import TIMES, further
from chaosmesh_ext.model import Cell, Coverage, Finding, Injected, Judgement, Lacking, Skipped

DELAYED = Cell("3", Injected("delay", "ratings", ("reviews-v2", "reviews-v3"), delay=7.0), (), {})
ABORTED = Cell("7", Injected("abort", "ratings", ("reviews-v2", "reviews-v3"), status=507), (), {})


def judged(*skipped: Skipped, fallback: str = "") -> Judgement:
    known = Finding(
        id="1",
        rule="fallback",
        condition=fallback,
        severity="info",
        source="reviews-v2",
        destination="ratings",
        operation="GET /ratings/{id}",
        value=None,
        unit="",
        summary="",
        advice="",
        confidence=0.8,
        evidence=(),
    )
    return Judgement((known,) if fallback else (), Coverage(1, 1, skipped))


def asked(*skipped: Skipped, **known: str) -> list[tuple[str, list[str], float, int]]:
    waves = further(bookinfo(), [DELAYED, ABORTED], judged(*skipped, **known), wave=5, cell=11)
    return [
        (wave.name, [str(each) for each in cell.edges], cell.delay, cell.status)
        for wave in waves
        for cell in wave.cells
    ]


def few(rule: str, source: str = "reviews-v2", lacking: Lacking = "calls") -> Skipped:
    return Skipped(f"{source} → ratings", "whatever the words are", rule, lacking)


def test_nothing_is_asked_for_where_all_is_known():
    assert asked() == []
    assert asked(few("retry", lacking=""), few("retry", source="other-v1")) == []


def test_only_the_version_and_the_fault_that_lack_something_are_asked_for():
    assert asked(few("timeout-inversion")) == [("further delay", ["reviews-v2 → ratings"], 7.0, 0)]
    assert asked(few("error-propagation"), few("error-propagation", "reviews-v3")) == [
        ("further abort", ["reviews-v2 → ratings", "reviews-v3 → ratings"], 0.0, 507)
    ]


@pytest.mark.parametrize(("known", "left"), [("slow", ["further abort"]), ("status", ["further delay"])])
def test_what_users_lose_is_asked_for_under_the_condition_that_is_not_known(known, left):
    assert [name for name, *_ in asked(few("fallback"), fallback=known)] == left


def test_a_whole_delay_is_too_much_for_what_only_chance_would_show():
    assert [name for name, *_ in asked(few("fallback", lacking="one-version"))] == ["further abort"]


def test_more_requests_are_sent_than_at_first():
    (wave,) = further(bookinfo(), [DELAYED], judged(few("timeout")), wave=5, cell=11)
    assert (wave.number, wave.cells[0].number) == (5, 11)
    first = wanted(wave.cells[0].__class__(1, edge("reviews-v2 → ratings"), "delay", delay=7.0))
    assert wanted(wave.cells[0]) == TIMES * first


def test_what_a_breaker_may_have_cut_short_is_asked_for_in_turn():
    waves = further(bookinfo(), [DELAYED, ABORTED], judged(few("retry", lacking="in-turn")), wave=5, cell=11)
    assert [(wave.name, [(cell.in_turn, cell.times) for cell in wave.cells]) for wave in waves] == [
        ("further delay", [(True, 1)])
    ]
