"""Faults in a DestinationRule: the owner's, field by field, or one of ours; and how it comes out again."""

from __future__ import annotations

import json
import random
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overlays import RUN, place, source

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Connections, Delay, Outliers
from chaosmesh_ext.mesh import Create, Destination, Edit, View, destinationrule, ledger
from chaosmesh_ext.mesh.pointer import apply

HOST = "details.default.svc.cluster.local"
LIMIT = Connections(1, 3)
POOL = {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 3}}


def rule(name="details", namespace="default", host="details", **spec):
    meta = {"name": name, "namespace": namespace, "uid": "uid-1", "resourceVersion": "7"}
    return {"kind": "DestinationRule", "metadata": meta, "spec": {"host": host, **deepcopy(spec)}}


def everybody(cell="1", **changes):
    return place(cell, **{"source": None, "marker": None, **changes})


def plan(fault, where, *rules):
    (change,) = destinationrule.plan(fault, where, View(others=rules))
    return change


def laid(owner, fault=LIMIT, **changes):
    """OWNER with FAULT in it."""
    change = plan(fault, everybody(**changes), owner)
    assert isinstance(change, Edit)
    return apply(owner, change.compute(owner))


def out(obj, **arguments):
    undone = ledger.undo(obj, RUN, **arguments)
    return apply(obj, undone.ops), list(undone.conflicts)


def spec(obj):
    return obj["spec"]


# --- whose ------------------------------------------------------------------------------------------------------------


def test_where_nobody_has_one_it_is_made_private_to_the_callers():
    change = plan(LIMIT, everybody())
    assert isinstance(change, Create)
    assert spec(change.obj) == {"host": HOST, "exportTo": ["."], "trafficPolicy": {"connectionPool": POOL}}
    assert ledger.undo(change.obj, RUN).delete


def test_one_of_ours_is_for_the_named_caller_alone():
    change = plan(LIMIT, everybody(source=source("productpage")))
    assert spec(change.obj)["workloadSelector"] == {"matchLabels": {"app": "productpage"}}


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ([rule("theirs", "far", HOST), rule("wild", host="*.default.svc.cluster.local")], "wild"),
        ([rule("wild", host="*"), rule("exact")], "exact"),
        ([rule("root", "istio-system", HOST)], "root"),
        ([rule("hidden", "istio-system", HOST, exportTo=["."]), rule("shown")], "shown"),
    ],
)
def test_it_is_the_one_that_istiod_uses(rules, name):
    """The callers' namespace goes first, then the host's, then the root; others have no say."""
    assert plan(LIMIT, everybody(), *rules).name == name


def test_the_callers_namespace_goes_before_the_hosts():
    there = Destination("details.shop.svc.cluster.local", "details", "shop", 9080, (9080,))
    rules = [rule("theirs", "shop"), rule("mine", host="*")]
    assert plan(LIMIT, everybody(destination=there), *rules).name == "mine"
    assert plan(LIMIT, everybody(destination=there), rules[0]).name == "theirs"


@pytest.mark.parametrize(
    ("rules", "where", "words"),
    [
        ([], place(source=None), "say requests: all"),
        ([], everybody(match={"uri": {"prefix": "/"}}), "leave out match"),
        ([], everybody(subset="v1"), "no DestinationRule defines the subset v1"),
        ([rule()], everybody(subset="v1"), "does not define the subset v1"),
        ([rule()], everybody(source=source("productpage")), "leave out source"),
        ([rule(), rule("more")], everybody(), "default/details and default/more all rule details"),
        ([rule(workloadSelector={"matchLabels": {"app": "x"}})], everybody(), "for some callers only"),
        (
            [rule(trafficPolicy={"portLevelSettings": [{"port": {"number": 9080}, "tls": {}}]})],
            everybody(),
            "portLevelSettings for the port 9080",
        ),
        ([rule(trafficPolicy={"connectionPool": POOL})], everybody(), "nothing would change"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_write(rules, where, words):
    with pytest.raises(InvalidInput, match=words):
        plan(LIMIT, where, *rules)


def test_what_was_not_given_is_not_said_to_be_left_out():
    with pytest.raises(InvalidInput, match="say requests: all") as raised:
        plan(LIMIT, place())
    assert "match" not in str(raised.value)


def test_a_fault_that_is_no_policy_is_refused():
    with pytest.raises(InvalidInput, match="is no policy towards a host"):
        plan(Delay(1), everybody())


def test_settings_of_another_port_are_in_nobodys_way():
    policy = {"portLevelSettings": [{"port": {"number": 1}, "tls": {"mode": "DISABLE"}}]}
    found = spec(laid(rule(trafficPolicy=policy)))["trafficPolicy"]
    assert found == {**policy, "connectionPool": POOL}


# --- what is set ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (None, {"connectionPool": POOL}),
        ({"tls": {"mode": "DISABLE"}}, {"tls": {"mode": "DISABLE"}, "connectionPool": POOL}),
        (
            {"connectionPool": {"tcp": {"maxConnections": 9, "idleTimeout": "1s"}}},
            {"connectionPool": {"tcp": {"maxConnections": 1, "idleTimeout": "1s"}, "http": POOL["http"]}},
        ),
    ],
)
def test_what_is_not_named_stays_the_owners(policy, found):
    owner = rule(**({"trafficPolicy": policy} if policy else {}))
    assert spec(laid(owner))["trafficPolicy"] == found


def test_a_subsets_own_policy_is_changed_where_it_would_hide_the_hosts():
    """One that says something else has the whole host's."""
    subsets = [
        {"name": "v1", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 9}}}},
        {"name": "v2", "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
        {"name": "v3"},
    ]
    found = spec(laid(rule(subsets=subsets)))
    assert found["subsets"] == [{"name": "v1", "trafficPolicy": {"connectionPool": POOL}}, *subsets[1:]]
    assert found["trafficPolicy"] == {"connectionPool": POOL}


def test_one_subset_keeps_what_it_had_of_the_whole_hosts():
    """A subset with a connectionPool of its own has nothing of the host's any more."""
    base = {"connectionPool": {"tcp": {"maxConnections": 9, "idleTimeout": "1s"}}}
    found = spec(laid(rule(trafficPolicy=base, subsets=[{"name": "v1"}, {"name": "v2"}]), subset="v2"))
    assert found["trafficPolicy"] == base
    pool = {"tcp": {"maxConnections": 1, "idleTimeout": "1s"}, "http": POOL["http"]}
    assert found["subsets"] == [{"name": "v1"}, {"name": "v2", "trafficPolicy": {"connectionPool": pool}}]


def test_another_runs_rule_is_not_touched():
    taken = laid(rule())
    with pytest.raises(InvalidInput, match=RUN):
        plan(LIMIT, everybody(run="deadbeef"), taken)


def test_a_fault_within_what_another_set_is_refused():
    """The outer one would no longer be what it was set to be, and nothing could tell it from the owner's."""
    with pytest.raises(InvalidInput, match="another fault of this run set /spec/trafficPolicy"):
        laid(laid(rule()), Outliers(1), cell="2")
    beside = laid(laid(rule(trafficPolicy={"tls": {"mode": "DISABLE"}})), Outliers(1), cell="2")
    assert set(spec(beside)["trafficPolicy"]) == {"tls", "connectionPool", "outlierDetection"}


# --- and out again ----------------------------------------------------------------------------------------------------

pools = st.none() | st.fixed_dictionaries(
    {}, optional={"tcp": st.just({"maxConnections": 9}), "http": st.sampled_from([{"maxRetries": 2}, POOL["http"]])}
).filter(bool)
policies = st.none() | st.builds(
    lambda pool, tls: {**({"connectionPool": pool} if pool else {}), **({"tls": {"mode": "DISABLE"}} if tls else {})},
    pools,
    st.booleans(),
).filter(bool)


@st.composite
def owners(draw):
    subsets = [
        {"name": name, "labels": {"version": name}, **({"trafficPolicy": policy} if policy else {})}
        for name, policy in zip("abc", draw(st.lists(policies, max_size=3)), strict=False)
    ]
    base = draw(policies)
    drawn = rule(**({"trafficPolicy": base} if base else {}), **({"subsets": subsets} if subsets else {}))
    return json.loads(json.dumps(drawn))  # as from a server: no two parts are one object


cells = st.sampled_from([(LIMIT, ""), (LIMIT, "a"), (Outliers(1), ""), (Outliers(2), "b"), (Connections(7), "c")])


def shuffle(obj, at):
    random.Random(at).shuffle(obj["spec"].get("subsets", []))


def add(obj, at):
    known = [one["name"] for one in obj["spec"].get("subsets", [])]
    if f"new{at}" not in known:
        obj["spec"].setdefault("subsets", []).insert(min(at, len(known)), {"name": f"new{at}", "labels": {"x": "y"}})


def relabel(obj, at):
    for one in obj["spec"].get("subsets", []):
        if one["name"] == "abc"[at % 3]:
            one["labels"] = {"version": f"{at}x"}


def note(obj, at):
    obj["metadata"].setdefault("annotations", {})["note"] = str(at)


edits = st.lists(st.tuples(st.sampled_from([shuffle, add, relabel, note]), st.integers(0, 4)), max_size=5)


@settings(max_examples=150, deadline=None)
@given(owners(), st.lists(st.tuples(cells, edits), min_size=1, max_size=3), st.randoms())
def test_the_owners_rule_ends_as_his_own_edits_alone_would_have_left_it(owner, steps, chance):
    """He reorders subsets, adds and relabels some while our faults are in; they end in any order."""
    alone, shared, live = deepcopy(owner), deepcopy(owner), []
    for number, ((fault, subset), work) in enumerate(steps, 1):
        try:
            shared = laid(shared, fault, cell=str(number), subset=subset)
            live.append(str(number))
        except InvalidInput:
            pass
        for edit, at in work:
            edit(alone, at)
            edit(shared, at)
    chance.shuffle(live)
    for cell in live[1:]:
        shared, conflicts = out(shared, cell=cell)
        assert conflicts == []
    shared, conflicts = out(shared, told=True)
    assert conflicts == []
    assert shared["spec"] == alone["spec"]
    assert ledger.runs_in(shared) == set()
    assert bare(shared) == bare(alone)


def bare(obj):
    meta = {key: value for key, value in obj["metadata"].items() if value != {}}
    return {**obj, "metadata": meta}


def test_a_value_of_the_owners_made_meanwhile_stays_and_is_told():
    shared = laid(rule(subsets=[{"name": "v1", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 9}}}}]))
    shared["spec"]["subsets"][0]["trafficPolicy"]["connectionPool"]["tcp"]["maxConnections"] = 50
    undone, conflicts = out(shared)
    assert undone["spec"]["subsets"][0]["trafficPolicy"]["connectionPool"] == {"tcp": {"maxConnections": 50}}
    assert "trafficPolicy" not in undone["spec"]
    assert len(conflicts) == 1
    assert "is now 50, which is neither ours nor the original" in conflicts[0]


@pytest.mark.parametrize(
    "edit",
    [
        {"host": "ratings"},
        {"exportTo": ["."]},
        {"workloadSelector": {"matchLabels": {"app": "productpage"}}},
    ],
)
@pytest.mark.parametrize("subset", ["", "v1"])
def test_a_rule_that_its_owner_has_for_another_host_or_other_callers_is_told(edit, subset):
    """The fault would be in calls that nobody meant, and the findings of those that were meant."""
    shared = laid(rule(subsets=[{"name": "v1"}]), subset=subset)
    assert ledger.disturbed(shared, RUN) == ""
    shared["spec"] |= edit
    assert ledger.disturbed(shared, RUN) == "its host, exportTo or workloadSelector changed"
    undone, conflicts = out(shared)
    assert (undone["spec"], conflicts) == ({"host": "details", "subsets": [{"name": "v1"}], **edit}, [])


def test_what_the_owner_says_beside_ours_is_no_disturbance():
    shared = laid(rule(trafficPolicy={"loadBalancer": {"simple": "RANDOM"}}))
    shared["spec"]["trafficPolicy"]["loadBalancer"] = {"simple": "ROUND_ROBIN"}
    shared["spec"]["subsets"] = [{"name": "v1"}]
    assert ledger.disturbed(shared, RUN) == ""


def test_a_subset_that_moved_is_no_disturbance_and_a_lost_value_is():
    shared = laid(rule(subsets=[{"name": "a"}, {"name": "b"}]), subset="b")
    shared["spec"]["subsets"].reverse()
    assert ledger.disturbed(shared, RUN) == ""
    del shared["spec"]["subsets"][0]["trafficPolicy"]
    assert "our value of /spec/subsets/1/trafficPolicy is gone" in ledger.disturbed(shared, RUN)
