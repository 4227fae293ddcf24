"""Findings against the truth: right, wrong, missed, not scored."""

from __future__ import annotations

import pytest
from truths.items import Item, Truth
from truths.score import score, total
from truths.truth import truth


def finding(item: Item, source: str = "", **changes) -> dict:
    """What an exploration that is right says of ITEM."""
    said = {
        "rule": item.rule,
        "source": source or item.source,
        "destination": item.destination,
        "operation": item.operation or "GET /",
        "condition": item.condition or None,
        "value": item.value,
        "numbers": {name: value for name, value, _ in item.numbers},
    }
    if item.kind:
        said["kind"] = item.kind
    return {**said, **changes}


def right(found: Truth) -> list[dict]:
    return [finding(item) for item in found.of("present")]


def wrong(findings: list[dict], rule: str, condition: str | None = None, **changes) -> list[dict]:
    """FINDINGS, those of one rule changed."""
    return [
        {**each, **changes} if each["rule"] == rule and condition in (None, each["condition"]) else each
        for each in findings
    ]


@pytest.fixture
def shop(graph) -> Truth:
    retries = {"attempts": 2, "on": ["timeout", "5xx"]}
    call = {
        "to": "b",
        "timeout": "1s",
        "retries": retries,
        "onFailure": "omit",
        "breaker": {"failures": 9, "open": "2s"},
    }
    return truth(graph(a={"calls": [call]}, b={"calls": [{"to": "c"}]}, c=None))


def test_all_right_is_one_and_one(shop):
    done = score(shop, right(shop))
    assert (done.precision, done.recall, done.missed) == (1.0, 1.0, ())
    assert done.by_rule["retry"] == {"tp": 3, "fp": 0, "fn": 0}
    assert done.by_rule["hedge"] == {"tp": 0, "fp": 0, "fn": 0}
    assert done.share == 0


def test_nothing_stated_is_precise_and_useless(shop):
    done = score(shop, [])
    assert (done.precision, done.recall) == (1.0, 0.0)
    assert {each.why for each in done.missed} == {"not found"}


@pytest.mark.parametrize(
    ("rule", "condition", "value", "counts"),
    [
        ("timeout", "slow", 1.04, (1, 0, 0)),
        ("timeout", "slow", 1.06, (0, 1, 1)),
        ("timeout", "slow", None, (0, 1, 1)),
        ("retry", "slow", 3.0, (0, 1, 1)),
        ("circuit-breaker", None, 8.0, (0, 1, 1)),
    ],
)
def test_a_wrong_value_is_one_false_positive_and_one_false_negative(shop, rule, condition, value, counts):
    done = score(shop, wrong(right(shop), rule, condition, value=value)).by_rule[rule]
    expected = {"tp": counts[0], "fp": counts[1], "fn": counts[2]}
    if rule == "retry":
        expected["tp"] += 2  # those after a status
    assert done == expected


def test_a_breakers_open_time_must_be_stated_and_right(shop):
    for numbers, hits in (({"open_s": 2.15}, 1), ({"open_s": 2.3}, 0), ({}, 0)):
        done = score(shop, wrong(right(shop), "circuit-breaker", numbers=numbers))
        assert done.by_rule["circuit-breaker"] == {"tp": hits, "fp": 1 - hits, "fn": 1 - hits}


def test_a_wrong_kind_is_wrong_where_it_can_be_told(shop):
    done = score(shop, wrong(right(shop), "retry", "slow", kind="fixed backoff"))
    assert done.by_rule["retry"] == {"tp": 2, "fp": 1, "fn": 1}
    (missed, stated) = sorted(done.missed, key=lambda each: each.why)
    assert missed.why == "fixed backoff is stated, no backoff is true"
    assert stated.why == "wrong: fixed backoff is stated, no backoff is true"


def test_how_retries_are_paced_may_be_left_open_and_a_bulkheads_state_may_not(shop, graph):
    assert score(shop, wrong(right(shop), "retry", kind=None)).missed == ()
    found = truth(graph(a={"workers": 4, "calls": [{"to": "b", "paths": ["/b"]}, {"to": "c"}]}, b=None, c=None))
    assert score(found, wrong(right(found), "bulkhead", kind=None)).by_rule["bulkhead"] == {"tp": 0, "fp": 1, "fn": 1}
    assert score(found, wrong(right(found), "bulkhead", value=2.0)).by_rule["bulkhead"]["tp"] == 1


def test_what_does_not_exist_is_a_false_positive(shop):
    there_is_none = finding(shop.items[0], rule="hedge", value=1.0)
    other_condition = {**right(shop)[0], "rule": "missing-timeout", "condition": "slow", "value": 12.0}
    done = score(shop, [*right(shop), there_is_none, other_condition])
    assert done.by_rule["hedge"]["fp"] == 1
    assert done.by_rule["missing-timeout"]["fp"] == 1
    assert done.recall == 1.0
    assert done.precision < 1.0


def test_what_is_stated_twice_is_wrong_once(shop):
    assert score(shop, [*right(shop), right(shop)[0]]).by_rule[right(shop)[0]["rule"]]["fp"] == 1


def test_the_gateway_is_not_in_the_file_and_not_scored(shop):
    gateway = {**right(shop)[0], "source": "istio-ingressgateway", "destination": "a"}
    done = score(shop, [*right(shop), gateway])
    assert (done.precision, done.recall, done.outside) == (1.0, 1.0, 1)


@pytest.fixture
def versions(graph):
    def make(*timeouts: str) -> Truth:
        return truth(graph(a=[{"calls": [{"to": "b", "timeout": each}]} for each in timeouts], b=None))

    return make


def timeouts(found: Truth) -> list[Item]:
    return [item for item in found.of("present") if item.rule == "timeout"]


def test_versions_that_agree_are_one_item_found_by_one_finding_or_by_one_each(versions):
    found = versions("1s", "1s")
    one, two = timeouts(found)
    for stated in ([finding(one, "a")], [finding(one), finding(two)]):
        assert score(found, stated).by_rule["timeout"] == {"tp": 1, "fp": 0, "fn": 0}
    half = score(found, [finding(one)])
    assert half.by_rule["timeout"] == {"tp": 0, "fp": 0, "fn": 1}
    assert [each.source for each in half.missed if each.rule == "timeout"] == ["a"]


def test_versions_that_differ_are_an_item_each(versions):
    found = versions("1s", "2s")
    assert score(found, [finding(item) for item in timeouts(found)]).by_rule["timeout"] == {"tp": 2, "fp": 0, "fn": 0}
    together = score(found, [finding(timeouts(found)[0], "a")])
    assert together.by_rule["timeout"] == {"tp": 1, "fp": 1, "fn": 1}


def test_what_is_undecidable_counts_for_nothing(graph):
    child = {"to": "c", "timeout": "900ms"}
    found = truth(graph(a={"calls": [{"to": "b", "timeout": "1s"}]}, b={"calls": [child]}, c=None))
    (undecided,) = [item for item in found.of("undecidable") if item.rule == "timeout"]
    for value in (0.9, 7.0):
        done = score(found, [*right(found), finding(undecided, value=value)])
        assert (done.precision, done.recall) == (1.0, 1.0)
    assert 0 < score(found, []).share < 1


def test_nothing_is_scored_below_a_broken_propagation_but_the_break(graph):
    found = truth(
        graph(a={"calls": [{"to": "b"}]}, b={"forwards": [], "calls": [{"to": "c", "timeout": "1s"}]}, c=None)
    )
    (broken,) = [item for item in found.of("present") if item.rule == "broken-propagation"]
    below = {**finding(broken), "rule": "hedge", "condition": "slow", "value": 1.0}
    done = score(found, [*right(found), below])
    assert (done.precision, done.recall) == (1.0, 1.0)
    assert done.by_rule["broken-propagation"]["tp"] == 1


def test_several_graphs_are_added_up(shop, versions):
    other = versions("1s", "1s")
    both = total([score(shop, right(shop)), score(other, [])])
    assert both.by_rule["timeout"] == {"tp": 1, "fp": 0, "fn": 1}
    assert both.precision == 1.0
    assert 0 < both.recall < 1


def test_rules_that_were_not_looked_for_count_for_nothing(shop):
    stated = [each for each in right(shop) if each["rule"] != "circuit-breaker"]
    assert score(shop, stated).recall < 1
    done = score(shop, [*stated, {**stated[0], "rule": "bulkhead"}], without=("circuit-breaker", "bulkhead"))
    assert (done.precision, done.recall) == (1.0, 1.0)
