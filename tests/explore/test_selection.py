"""--only and --skip."""

from __future__ import annotations

import pytest
from graphs import bookinfo, edge

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.explore.selection import TAUGHT_BY, selection
from chaosmesh_ext.findings.registry import NAMES


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("edge=productpage:details", 1),
        ("edge=productpage-v1:*", 2),
        ("edge=productpage → *", 2),
        ("edge=reviews->ratings", 2),
        ("edge=reviews-v2:ratings", 1),
        ("edge=reviews", 3),
        ("edge=*", 5),
        ("edge=Reviews", 0),
    ],
)
def test_an_edge_is_named_by_its_sides_with_version_or_without(pattern, fits):
    only, skip = selection([pattern]), selection([], [pattern])
    assert sum(map(only.edge, bookinfo().edges)) == fits
    assert sum(map(skip.edge, bookinfo().edges)) == 5 - fits


def test_patterns_of_one_kind_add_up_and_those_of_several_narrow_down():
    chosen = selection(["edge=reviews:*", "edge=*:details", "operation=GET /ratings/*"])
    assert [str(site.edge) for site in bookinfo().sites if chosen.site(site)] == [
        "reviews-v2 → ratings",
        "reviews-v3 → ratings",
    ]


def test_rules_are_chosen_by_name():
    chosen = selection(["rule=*timeout*"], ["rule=timeout-inversion"])
    assert [rule for rule in TAUGHT_BY if chosen.rule(rule)] == ["timeout", "missing-timeout"]


def test_every_rule_in_force_can_be_chosen():
    assert set(NAMES) <= set(TAUGHT_BY)


def test_nothing_said_leaves_everything_in():
    chosen = selection()
    assert chosen.edge(edge("a → b"))
    assert all(map(chosen.rule, TAUGHT_BY))
    assert chosen.kind("breaker")


@pytest.mark.parametrize("wrong", ["details", "edge=", "edge=a:", "edge=:b", "path=/x", "=x", ""])
def test_what_is_no_pattern_is_refused_with_the_forms(wrong):
    with pytest.raises(InvalidInput, match=r"--skip '.*edge=SOURCE:DESTINATION"):
        selection([], [wrong])


@pytest.mark.parametrize(
    ("only", "skip", "words"),
    [
        (["edge=detials:*"], [], "--only edge=detials:* fits no edge"),
        ([], ["edge=productpage-v1:detials"], "did you mean productpage-v1:details"),
        (["operation=GET /detail"], [], "did you mean GET /details/{id}"),
        (["rule=timeuot"], [], "did you mean timeout"),
        (["rule=zzz"], [], "fits no rule; there are timeout, "),
        ([], ["edge=*"], "leave nothing to explore"),
        ([], ["rule=*"], "leave nothing to explore"),
        (["edge=reviews:*"], ["operation=GET /ratings*"], "leave nothing to explore"),
        (["rule=bulkhead"], [], "bulkhead: needs stateful waves; add --stateful"),
    ],
)
def test_a_pattern_that_fits_nothing_is_refused(only, skip, words):
    """A misspelt name must not look like an application without weaknesses."""
    with pytest.raises(InvalidInput) as refused:
        selection(only, skip).check(bookinfo(), stateful=False)
    assert words in str(refused.value)


@pytest.mark.parametrize("only", [["rule=metastable"], ["rule=meta*", "edge=reviews"]])
def test_a_rule_that_no_exploration_looks_for_is_refused_before_any_fault_is_in(only):
    """Else calls would be held back in vain, and the answer would be that all is well."""
    with pytest.raises(InvalidInput, match="metastable is not looked for"):
        selection(only).check(bookinfo(), stateful=True)
