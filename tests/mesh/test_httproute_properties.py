"""The promise of undo on HTTPRoutes: whatever their owner does meanwhile, exactly his edits remain.

And what carries it: marked requests are tried by our copies first, and nobody else's routes change.
"""

from __future__ import annotations

import os
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from overlays import RUN, http_routes, place
from owners import EDITS, RULE_CELLS, Two, bare

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh import View, httproute, ledger
from chaosmesh_ext.mesh.notes import run_of
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.mesh.rules import specificity

EXAMPLES = int(os.environ.get("CHAOSMESH_EXAMPLES", "1"))
pytestmark = pytest.mark.timeout(600 * EXAMPLES)

number = st.integers(0, 5)
edit = st.tuples(st.sampled_from(sorted(EDITS)), number)
inject = st.tuples(st.just("inject"), st.integers(0, len(RULE_CELLS) - 1))
undo = st.tuples(st.just("undo"), number)
life = st.lists(st.one_of(edit, edit, edit, inject, undo), max_size=12)


def play(owner, steps) -> Two:
    two = Two(owner)
    for what, at in steps:
        {"inject": two.inject, "undo": two.undo}.get(what, lambda at, what=what: EDITS[what](two, at))(at)
    return two


@settings(max_examples=120 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(http_routes(), inject, life)
def test_injecting_and_undoing_leaves_what_the_owners_edits_alone_would_have_left(owner, first, steps):
    """No edit of his is lost and nothing of ours stays; undoing again changes nothing."""
    two = play(owner, [first, *steps])
    two.end(told=False)
    once = deepcopy(two.shared)
    two.end(told=True)
    assert bare(two.shared) == bare(two.alone)
    assert bare(once) == bare(two.alone)
    assert ledger.runs_in(two.shared) == set()
    assert two.conflicts == []


@settings(max_examples=60 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(http_routes(), inject, life)
def test_a_fault_that_is_called_undisturbed_stands_among_the_rules_that_it_was_put_among(owner, first, steps):
    """Any rule may go before ours, wherever it stands: all of them count."""
    two = Two(owner)
    if not two.inject(first[1]):
        return
    before = deepcopy(two.alone["spec"])
    for what, at in (step for step in steps if step[0] not in ("inject", "undo")):
        EDITS[what](two, at)
    if not ledger.disturbed(two.shared, RUN):
        assert two.alone["spec"] == before
        assert all(
            one in [rule.get("name") for rule in two.shared["spec"]["rules"]] for one in two.memory["1"][0].routes
        )


request_ = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["/", "/a", "/a/b", "/details", "/other"]),
        "method": st.sampled_from(["GET", "PUT", "POST"]),
        "headers": st.dictionaries(st.sampled_from(["end-user", "x-a"]), st.sampled_from(["a", "b", "prod"])),
        "query": st.dictionaries(st.sampled_from(["end-user", "x-a", "beta"]), st.sampled_from(["a", "b", "y1"])),
    }
)


def taken_by(obj, asked) -> dict | None:
    """The rule of OBJ that takes the request ASKED: the most specific, of equal ones the first."""
    found = [
        (tuple(-part for part in specificity(match)), at, rule)
        for at, rule in enumerate(obj["spec"]["rules"])
        for match in rule["matches"]
        if takes(match, asked)
    ]
    return min(found, key=lambda one: one[:2])[2] if found else None


def takes(match, asked) -> bool:
    import re

    path = match["path"]
    value = path["value"]
    by_path = {
        "Exact": asked["path"] == value,
        "PathPrefix": value == "/" or f"{asked['path']}/".startswith(f"{value.rstrip('/')}/"),
        "RegularExpression": re.fullmatch(value, asked["path"]) is not None,
    }[path["type"]]

    def each(conditions, given, *, lower) -> bool:
        first: dict = {}
        for one in conditions or ():
            first.setdefault(one["name"].lower() if lower else one["name"], one)
        return all(
            name in given
            and (re.fullmatch(one["value"], given[name]) if one["type"] != "Exact" else one["value"] == given[name])
            for name, one in first.items()
        )

    return (
        by_path
        and match.get("method", asked["method"]) == asked["method"]
        and each(match.get("headers"), asked["headers"], lower=True)
        and each(match.get("queryParams"), asked["query"], lower=False)
    )


@settings(max_examples=150 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(http_routes(), st.sampled_from(RULE_CELLS), request_, st.booleans())
def test_requests_in_scope_meet_the_copy_of_the_rule_that_they_would_have_met_and_others_what_they_met(
    owner, cell, asked, ours
):
    """By the order in which Gateway API tries rules: no copy ever goes before another rule's requests."""
    fault, scope = cell
    where = place(**{"source": None, **scope})
    try:
        (change,) = httproute.plan(fault, where, View(http_routes=(owner,)))
    except InvalidInput:
        return
    if ours and where.marker:
        asked = {**asked, "headers": {**asked["headers"], "tracestate": f"chaosmesh={RUN}-1"}}
    was = taken_by(owner, asked)
    now = taken_by(apply(owner, change.compute(owner)), asked)
    if now is None or not run_of(now.get("name", "")):
        assert now == was
        answers = was is None or "backendRefs" not in was
        assert answers or not (in_scope(where, asked))
    else:
        assert was is not None
        assert in_scope(where, asked)
        rest = {key: value for key, value in now.items() if key not in ("name", "matches")}
        wanted = fault.for_rule(was, where)
        assert rest == {key: value for key, value in wanted.items() if key not in ("name", "matches")}


def in_scope(where, asked) -> bool:
    if where.marker and "tracestate" not in asked["headers"]:
        return False
    match = where.match
    return (
        all(asked["headers"].get(name) == one["exact"] for name, one in match.get("headers", {}).items())
        and all(asked["query"].get(name, "").startswith("y") for name in match.get("queryParams", {}))
        and match.get("method", {"exact": asked["method"]})["exact"] == asked["method"]
    )
