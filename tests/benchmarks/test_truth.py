"""Truth against answers that are known, and what is left undecided."""

from __future__ import annotations

from pathlib import Path

import pytest
from truths.generate import generate
from truths.items import Truth, share
from truths.truth import paths, truth

from chaosmesh_ext.model.topology import load_topology, parse_topology

TOPOLOGIES = Path(__file__).parents[2] / "experiments" / "topologies"


def said(found: Truth, rule: str, verdict: str = "present") -> set[tuple]:
    """(source, destination, condition, value), without what a rule has not."""
    return {
        tuple(each for each in (item.source, item.destination, item.condition, item.value) if each not in ("", None))
        for item in found.of(verdict)
        if item.rule == rule
    }


BOOKINFO = {
    "productpage": {
        "calls": [
            {"to": "details", "path": "/details/0", "timeout": "3s", "onFailure": "omit"},
            {
                "to": "reviews",
                "path": "/reviews/0",
                "timeout": "3s",
                "retries": {"attempts": 1, "on": ["timeout", "5xx"]},
                "onFailure": "omit",
            },
        ]
    },
    "details": None,
    "reviews": [
        {},
        {"calls": [{"to": "ratings", "path": "/ratings/0", "timeout": "10s", "onFailure": "default"}]},
        {"calls": [{"to": "ratings", "path": "/ratings/0", "timeout": "2.5s", "onFailure": "default"}]},
    ],
    "ratings": None,
}


def test_bookinfo_has_its_known_answers(graph):
    found = truth(graph(**BOOKINFO))
    assert said(found, "timeout") == {
        ("productpage-v1", "details", "slow", 3.0),
        ("productpage-v1", "reviews", "slow", 3.0),
        ("reviews-v2", "ratings", "slow", 10.0),
    }
    # 2.5 s are within 25 % of the 3 s that productpage waits
    assert said(found, "timeout", "undecidable") == {("reviews-v3", "ratings", "slow")}
    assert said(found, "retry") == {
        ("productpage-v1", "details", "status", 0.0),
        ("productpage-v1", "reviews", "slow", 1.0),
        ("productpage-v1", "reviews", "status", 1.0),
        ("reviews-v2", "ratings", "status", 0.0),
        ("reviews-v3", "ratings", "status", 0.0),
    }
    assert {item.kind for item in found.of("present") if item.rule == "retry" and item.value} == {"no backoff"}
    assert said(found, "timeout-inversion") == {("reviews-v2", "ratings")}
    assert said(found, "timeout-inversion", "undecidable") == {("reviews-v3", "ratings")}
    # a refused ratings loses the stars, a slow one the whole section where reviews waits for too long
    assert said(found, "missing-fallback") == {
        ("productpage-v1", "details", "slow"),
        ("productpage-v1", "details", "status"),
        ("productpage-v1", "reviews", "slow"),
        ("productpage-v1", "reviews", "status"),
        ("reviews-v2", "ratings", "slow"),
    }
    assert said(found, "fallback") == {("reviews-v2", "ratings", "status"), ("reviews-v3", "ratings", "status")}
    assert not said(found, "missing-timeout")
    assert {item.operation for item in found.items} == {"GET /details/{id}", "GET /reviews/{id}", "GET /ratings/{id}"}


def test_a_retry_storm_is_measured_at_its_leaf():
    found = truth(load_topology(TOPOLOGIES / "retry-storm.yaml"))
    assert said(found, "retry-amplification") == {("inventory-v1", "warehouse", "status", 27.0)}
    assert len(said(found, "missing-timeout")) == 3
    assert {value for *_, value in said(found, "missing-timeout")} == {12.0}
    assert {value for *_, value in said(found, "retry")} == {2.0}


def test_an_inversion_needs_somebody_who_goes_on():
    found = truth(load_topology(TOPOLOGIES / "inversion.yaml"))
    assert said(found, "timeout-inversion") == {("report-v1", "database")}
    assert ("report-v2", "database", "slow") in said(found, "fallback")
    assert ("report-v1", "database", "slow") in said(found, "missing-fallback")


def test_the_shop_shows_all_of_its_strengths_and_weaknesses():
    topology = load_topology(TOPOLOGIES / "shop.yaml")
    assert paths(topology) == ("/", "/checkout")
    found = truth(topology)
    assert not found.of("undecidable")
    assert said(found, "missing-timeout") == {("frontend-v1", "ads", "slow", 12.0)}
    assert said(found, "unsafe-retry") == {("frontend-v1", "checkout")}
    assert said(found, "timeout-inversion") == {("catalog-v1", "stock"), ("checkout-v1", "payment")}
    (breaker,) = [item for item in found.of("present") if item.rule == "circuit-breaker"]
    assert (breaker.source, breaker.value, breaker.numbers) == ("cart-v1", 5.0, (("open_s", 2.0, 0.2),))
    kinds = {item.destination: item.kind for item in found.of("present") if item.rule == "error-propagation"}
    assert (kinds["payment"], kinds["checkout"], kinds["pricing"]) == ("raw", "translated", "absorbed")
    assert ("frontend-v1", "checkout", "slow", 2.0) not in said(truth(topology, ["/"]), "timeout")


def test_grpc_calls_are_named_as_the_mesh_sees_them():
    found = truth(load_topology(TOPOLOGIES / "grpc.yaml"))
    assert ("checkout-v1", "prices", "slow", 0.8) in said(found, "timeout")
    assert {item.operation for item in found.items} == {"POST /shop.Prices/Get", "POST /shop.Offers/List"}


def test_a_timeout_beyond_the_delay_is_a_missing_one(graph):
    topology = graph(a={"calls": [{"to": "b", "timeout": "5s"}]}, b=None)
    assert said(truth(topology), "timeout") == {("a-v1", "b", "slow", 5.0)}
    short = truth(topology, delay=2.0)
    assert not said(short, "timeout")
    assert said(short, "missing-timeout") == {("a-v1", "b", "slow", 2.0)}


def test_zero_retries_are_claimed_of_errors_only(graph):
    call = {"to": "b", "timeout": "1s", "retries": {"attempts": 2, "on": ["connect"]}}
    assert said(truth(graph(a={"calls": [call]}, b=None)), "retry") == {("a-v1", "b", "status", 0.0)}


@pytest.mark.parametrize(
    ("retries", "kind"),
    [
        ({"attempts": 1}, "no backoff"),
        ({"attempts": 1, "backoff": "100ms"}, None),
        ({"attempts": 2, "backoff": "100ms"}, "fixed backoff"),
        ({"attempts": 2, "backoff": "100ms", "growth": 2}, None),
        ({"attempts": 3, "backoff": "100ms", "growth": 2}, "growing backoff"),
    ],
)
def test_the_kind_of_backoff_needs_enough_gaps(graph, retries, kind):
    found = truth(graph(a={"calls": [{"to": "b", "retries": retries}]}, b=None))
    (item,) = [each for each in found.of("present") if each.rule == "retry"]
    assert (item.value, item.kind) == (retries["attempts"], kind)


def under(graph, parent, child, word="continue"):
    return graph(
        a={"calls": [{"to": "b", "timeout": parent}]}, b={"onCallerGone": word, "calls": [{"to": "c", **child}]}, c=None
    )


def test_clocks_within_a_quarter_of_each_other_are_undecidable(graph):
    close = truth(under(graph, "1s", {"timeout": "800ms"}))
    assert said(close, "timeout", "undecidable") == {("b-v1", "c", "slow")}
    assert said(close, "timeout-inversion", "undecidable") == {("b-v1", "c")}
    apart = truth(under(graph, "1s", {"timeout": "600ms"}))
    assert said(apart, "timeout") == {("a-v1", "b", "slow", 1.0), ("b-v1", "c", "slow", 0.6)}


def test_what_a_caller_cancels_before_its_own_timeout_is_undecidable(graph):
    cancels = truth(under(graph, "1s", {"timeout": "4s"}, "cancel"))
    assert said(cancels, "timeout", "undecidable") == {("b-v1", "c", "slow")}
    assert [item.reason for item in cancels.items if item.rule == "timeout-inversion"] == [
        "it stops when its caller is gone"
    ]
    assert said(truth(under(graph, "1s", {}, "cancel")), "missing-timeout", "undecidable") == {("b-v1", "c", "slow")}
    assert said(truth(under(graph, "1s", {})), "missing-timeout") == {("b-v1", "c", "slow", 12.0)}


def test_retries_on_timeouts_count_for_an_inversion(graph):
    child = {"timeout": "600ms", "retries": {"attempts": 2, "on": ["timeout"]}}
    assert said(truth(under(graph, "1s", child)), "timeout-inversion") == {("b-v1", "c")}
    child["retries"]["on"] = ["5xx"]
    assert not said(truth(under(graph, "1s", child)), "timeout-inversion")


def test_nothing_below_a_broken_propagation_is_decided(graph):
    found = truth(
        graph(
            a={"calls": [{"to": "b"}]},
            b={"forwards": [], "calls": [{"to": "c", "timeout": "1s"}]},
            c={"calls": [{"to": "d"}]},
            d=None,
        )
    )
    assert said(found, "broken-propagation") == {("b-v1", "c")}
    assert {item.source for item in found.of("undecidable")} == {"b-v1", "c-v1"}
    assert {item.source for item in found.of("present") if item.rule != "broken-propagation"} == {"a-v1"}
    assert {(source, to) for source, to, _ in found.unseen} == {("b-v1", "c"), ("c-v1", "d")}


@pytest.mark.parametrize(
    ("method", "on", "word", "child", "rule"),
    [
        ("POST", "timeout", "continue", {}, "present"),
        ("PATCH", "timeout", "continue", {"timeout": "5s"}, "present"),
        ("POST", "timeout", "continue", {"timeout": "1100ms"}, "undecidable"),
        ("POST", "timeout", "continue", {"timeout": "500ms"}, "absent"),
        ("POST", "timeout", "cancel", {}, "absent"),
        ("POST", "5xx", "continue", {}, ""),
        ("PUT", "timeout", "continue", {}, ""),
    ],
)
def test_an_unsafe_retry_needs_a_callee_that_completes(graph, method, on, word, child, rule):
    call = {"to": "b", "method": method, "timeout": "1s", "retries": {"attempts": 1, "on": [on]}}
    found = truth(graph(a={"calls": [call]}, b={"onCallerGone": word, "calls": [{"to": "c", **child}]}, c=None))
    assert [item.verdict for item in found.items if item.rule == "unsafe-retry"] == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("workers", "pool", "kind"), [(4, None, "starved"), (None, 4, "isolated"), (8, 4, "starved"), (32, 4, "isolated")]
)
def test_a_bulkhead_shows_in_requests_that_do_without_the_call(graph, workers, pool, kind):
    limits = {"workers": workers} if workers else {}
    call = {"to": "b", "paths": ["/b"], **({"pool": pool} if pool else {})}
    found = truth(graph(a={**limits, "calls": [call, {"to": "c"}]}, b=None, c=None))
    (item,) = [each for each in found.of("present") if each.rule == "bulkhead"]
    assert (item.destination, item.kind, item.value) == ("b", kind, 4.0)


def test_without_a_limit_or_other_requests_there_is_no_bulkhead(graph):
    free = graph(a={"calls": [{"to": "b", "paths": ["/b"]}, {"to": "c"}]}, b=None, c=None)
    alone = graph(a={"workers": 4, "calls": [{"to": "b"}]}, b=None)
    for topology in (free, alone):
        assert not said(truth(topology), "bulkhead")


def test_a_breaker_above_hides_the_one_below(graph):
    breaker = {"breaker": {"failures": 2, "open": "5s"}}
    below = {"breaker": {"failures": 5, "open": "5s"}}
    topology = graph(a={"calls": [{"to": "b", **breaker}]}, b={"calls": [{"to": "c", **below}]}, c=None)
    found = truth(topology)
    assert said(found, "circuit-breaker") == {("a-v1", "b", 2.0)}
    assert said(found, "circuit-breaker", "undecidable") == {("b-v1", "c")}


def test_little_is_undecidable_and_every_rule_is_there():
    found = [truth(parse_topology(generate(seed))) for seed in (90, 93, 96, 30, 79)]
    assert share(item for each in found for item in each.items) <= 0.1
    rules = {item.rule for each in found for item in each.of("present")}
    assert rules == {
        "timeout",
        "missing-timeout",
        "retry",
        "retry-amplification",
        "missing-fallback",
        "fallback",
        "error-propagation",
        "circuit-breaker",
        "bulkhead",
        "broken-propagation",
        "unsafe-retry",
        "timeout-inversion",
    }
