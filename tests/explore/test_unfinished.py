"""What an exploration that ended early says that it did not look for."""

from __future__ import annotations

from graphs import bookinfo

from chaosmesh_ext.explore.plan import plan
from chaosmesh_ext.explore.selection import selection
from chaosmesh_ext.explore.unfinished import unfinished
from chaosmesh_ext.model import Coverage, Judgement, Skipped


def told(judged, only=(), skipped=(), *, planned=False, ended=False):
    """What coverage says of Bookinfo where the waves JUDGED were; PLANNED: stateful ones as well."""
    made = plan(bookinfo(), only=only, stateful=planned)
    judgement = Judgement((), Coverage(5, 5, tuple(skipped)))
    every = unfinished(judgement, made, judged, selection(only), stateful=ended).coverage.skipped
    return {(each.edge, each.rule, each.reason) for each in every}


def test_where_all_waves_were_judged_nothing_is_added():
    assert told({1, 2}) == set()


def test_each_edge_of_a_wave_that_was_not_judged_is_named():
    edges = {str(edge) for edge in bookinfo().edges}
    assert told({1}) == {(edge, "", "wave 2, abort, was not judged") for edge in edges}


def test_edges_that_are_untested_anyway_are_not_named_twice():
    why = Skipped("productpage-v1 → details", "no fault was injected on it")
    assert [reason for edge, _, reason in told({1}, skipped=[why]) if edge == why.edge] == [why.reason]


def test_what_stateful_waves_would_have_taught_is_named_by_its_rule():
    """Of such a call other rules speak, so a reason without a rule would not count in `chaos mesh diff`."""
    rules = {"circuit-breaker", "connection-limit", "bulkhead", "unsafe-retry"}
    assert told({1, 2}, ended=True) == {
        ("*", rule, "the exploration ended before its stateful waves") for rule in rules
    }
    assert {rule for _, rule, _ in told({1, 2}, only=["rule=circuit-breaker"], planned=True)} == {"circuit-breaker"}
