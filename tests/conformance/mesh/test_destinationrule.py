"""DestinationRule.

Which rule is in force for whom shows in the subsets: a route leads to the subset v1, and a rule says which pods it has.
"""

from __future__ import annotations

import itertools

import pytest
from chance import likely
from traffic import shares, together

HOST = "reviews:9080"
WHOLE = "reviews.default.svc.cluster.local"
V1 = {"name": "v1", "labels": {"version": "v1"}}
V2 = {"name": "v2", "labels": {"version": "v2"}}


def subset(version, **more):
    """A subset called v1 of the pods of VERSION."""
    return {"name": "v1", "labels": {"version": version}, **more}


def rule(mesh, *subsets, name="rule", host="reviews", namespace="default", **spec):
    mesh.apply("DestinationRule", name, {"host": host, "subsets": list(subsets), **spec}, namespace)


def to_v1(mesh):
    mesh.route("reviews", {"route": [{"destination": {"host": "reviews", "subset": "v1"}}]})


def answer(mesh, source="sleep-v1", host=HOST):
    """Who answers SOURCE, or the status and flags."""
    got = shares(mesh, source, host, 12)
    return "{} {}".format(*mesh.flags(source, host)) if "503" in got else ", ".join(sorted(got))


def test_a_subset_has_the_pods_with_its_labels(mesh, seen):
    """DestinationRule subsets.labels choose the pods of a subset"""
    rule(mesh, V1, V2)
    to_v1(mesh)
    got = shares(mesh, "sleep-v1", HOST, 20)
    assert got == {"reviews-v1": 20}
    seen("20 of 20 by reviews-v1")


def test_a_subset_without_labels_has_every_pod(mesh, seen):
    """DestinationRule subset without labels has all pods of the service"""
    rule(mesh, {"name": "v1"})
    to_v1(mesh)
    got = shares(mesh, "sleep-v1", HOST, 40)
    assert set(got) == {"reviews-v1", "reviews-v2"}
    seen(", ".join(sorted(got)))


def test_all_labels_of_a_subset_must_be_there(mesh, seen):
    """DestinationRule subset whose labels no pod has all of answers 503 UH"""
    rule(mesh, {"name": "v1", "labels": {"version": "v1", "app": "details"}})
    to_v1(mesh)
    assert mesh.flags("sleep-v1", HOST) == (503, "UH")
    reply = mesh.call("sleep-v1", HOST)
    assert reply.body == b"no healthy upstream"
    seen("503 UH 'no healthy upstream'")


def test_a_subset_without_pods(mesh, seen):
    """DestinationRule subset without pods answers 503 UH"""
    rule(mesh, subset("v9"))
    to_v1(mesh)
    assert mesh.flags("sleep-v1", HOST) == (503, "UH")
    reply = mesh.call("sleep-v1", HOST)
    assert reply.body == b"no healthy upstream"
    seen("503 UH 'no healthy upstream'")


@pytest.mark.parametrize("rules", ["without the subset", "at all"])
def test_a_subset_that_nobody_declared(mesh, seen, rules):
    """Route to a subset while there is no DestinationRule {rules} answers 503 NC"""
    if rules == "without the subset":
        rule(mesh, V2)
    to_v1(mesh)
    assert mesh.flags("sleep-v1", HOST) == (503, "NC")
    reply = mesh.call("sleep-v1", HOST)
    assert reply.body == b""
    seen("503 NC, no body")


def test_an_undeclared_subset_in_a_weighted_route_costs_its_share_only(mesh, seen):
    """Weighted route to a declared and an undeclared subset fails for the share of the undeclared one"""
    rule(mesh, V1)
    targets = [{"destination": {"host": "reviews", "subset": name}, "weight": 50} for name in ("v1", "v2")]
    mesh.route("reviews", {"route": targets})
    got = shares(mesh, "sleep-v1", HOST, 60)
    assert set(got) == {"reviews-v1", "503"}
    assert got["503"] in likely(50, 60)
    seen("some 200, some 503")


@pytest.mark.parametrize(
    ("host", "meant"),
    [
        ("reviews", True),
        (WHOLE, True),
        ("reviews.default", False),
        ("reviews.default.svc", False),
        ("*.default.svc.cluster.local", True),
        ("*.local", True),
        ("*", True),
        ("details", False),
    ],
)
def test_which_hosts_a_rule_means(mesh, seen, host, meant):
    """DestinationRule host {host} for the service reviews"""
    rule(mesh, V1, host=host)
    to_v1(mesh)
    got = answer(mesh)
    assert got == ("reviews-v1" if meant else "503 NC")
    seen("is meant" if meant else "is not meant")


def test_a_rule_for_a_whole_host_hides_one_for_a_wildcard(mesh, seen):
    """DestinationRule for a host and one for a wildcard: only the host's is in force"""
    rule(mesh, V1, V2, name="wild", host="*.default.svc.cluster.local")
    rule(mesh, V2, name="exact")
    to_v1(mesh)
    assert answer(mesh) == "503 NC"
    seen("the wildcard's subsets are not there")


def test_of_wildcards_the_longest_counts(mesh, seen):
    """DestinationRules for two wildcards: the longer one is in force"""
    rule(mesh, subset("v1"), name="a", host="*.local")
    rule(mesh, subset("v2"), name="b", host="*.default.svc.cluster.local")
    to_v1(mesh)
    assert answer(mesh) == "reviews-v2"
    seen("the longer one")


def test_the_callers_own_rule_is_for_its_namespace_only(mesh, seen, guest):
    """DestinationRule in a caller's namespace is in force for the callers there only"""
    rule(mesh, V1, host=WHOLE, namespace="far")
    to_v1(mesh)
    got = answer(mesh, guest, "reviews.default:9080"), answer(mesh)
    assert got == ("reviews-v1", "503 NC")
    seen(f"there {got[0]}, elsewhere {got[1]}")


def test_a_short_host_is_of_the_rules_namespace(mesh, seen, guest):
    """DestinationRule with a short host means the service of its own namespace"""
    rule(mesh, V1, namespace="far")
    to_v1(mesh)
    assert answer(mesh, guest, "reviews.default:9080") == "503 NC"
    seen("the service of another namespace is not meant")


@pytest.mark.parametrize("namespace", ["default", "istio-system"])
def test_a_rule_for_everybody(mesh, seen, guest, namespace):
    """DestinationRule in the namespace {namespace} is in force for callers of all namespaces"""
    rule(mesh, V1, host=WHOLE, namespace=namespace)
    to_v1(mesh)
    got = answer(mesh, guest, "reviews.default:9080"), answer(mesh)
    assert got == ("reviews-v1", "reviews-v1")
    seen("near and far")


def test_the_callers_rule_then_the_services_then_the_roots(mesh, seen, guest):
    """DestinationRules of the caller's, the service's and the root namespace: the first that there is counts"""
    host = "reviews.default:9080"
    to_v1(mesh)
    said = []
    rule(mesh, subset("v9"), host=WHOLE, namespace="istio-system")
    said.append(answer(mesh, guest, host))
    rule(mesh, subset("v1"))
    said.append(answer(mesh, guest, host))
    rule(mesh, subset("v2"), host=WHOLE, namespace="far")
    said.append(answer(mesh, guest, host))
    assert said == ["503 UH", "reviews-v1", "reviews-v2"]
    seen("root's alone, then the service's, then the caller's")


@pytest.mark.parametrize(
    ("targets", "near", "far"),
    [(".", True, False), ("far", False, True), ("*", True, True), ("default, far", True, True)],
)
def test_who_sees_an_exported_rule(mesh, seen, guest, targets, near, far):
    """DestinationRule in the service's namespace with exportTo {targets}"""
    rule(mesh, V1, exportTo=targets.split(", "))
    to_v1(mesh)
    got = answer(mesh), answer(mesh, guest, "reviews.default:9080")
    assert got == tuple("reviews-v1" if one else "503 NC" for one in (near, far))
    seen(f"own namespace: {got[0]}, another: {got[1]}")


def test_two_rules_for_one_host_add_their_subsets(mesh, seen):
    """Two DestinationRules for one host: the subsets of both are there"""
    rule(mesh, V1, name="a")
    rule(mesh, V2, name="b")
    targets = [{"destination": {"host": "reviews", "subset": name}, "weight": 50} for name in ("v1", "v2")]
    mesh.route("reviews", {"route": targets})
    got = shares(mesh, "sleep-v1", HOST, 40)
    assert set(got) == {"reviews-v1", "reviews-v2"}
    seen("both reached")


def test_of_two_subsets_with_one_name_the_older_counts(mesh, seen):
    """Two DestinationRules for one host with a subset of the same name: the older one's counts"""
    rule(mesh, subset("v1"), name="a")
    rule(mesh, subset("v2"), name="b")
    to_v1(mesh)
    assert answer(mesh) == "reviews-v1"
    seen("the older one's")


@pytest.mark.parametrize("first", ["has", "lacks"])
def test_the_policy_of_two_rules_for_one_host(mesh, seen, first):
    """Two DestinationRules for one host, the older {first} a trafficPolicy"""
    one, two = ({"loadBalancer": {"simple": kind}} for kind in ("RANDOM", "ROUND_ROBIN"))
    rule(mesh, name="a", **({"trafficPolicy": one} if first == "has" else {}))
    rule(mesh, name="b", trafficPolicy=two)
    clusters = mesh.stats("sleep-v1", "/config_dump?resource=dynamic_active_clusters&name_regex=.*reviews.*")
    # ROUND_ROBIN is Envoy's own default, which the dump leaves out; without a policy it would say LEAST_REQUEST
    said = [word for word in ("RANDOM", "LEAST_REQUEST") if f'"{word}"' in clusters]
    assert said == (["RANDOM"] if first == "has" else []), clusters
    seen("the older one's policy" if first == "has" else "the younger one's policy")


def test_round_robin_shares_exactly(mesh, seen):
    """DestinationRule loadBalancer.simple ROUND_ROBIN: two pods take turns"""
    rule(mesh, trafficPolicy={"loadBalancer": {"simple": "ROUND_ROBIN"}})
    got = shares(mesh, "sleep-v1", HOST, 40)
    assert got == {"reviews-v1": 20, "reviews-v2": 20}
    seen("20 and 20 of 40")


def test_random_is_fair_and_takes_no_turns(mesh, seen):
    """DestinationRule loadBalancer.simple RANDOM: each pod gets half by chance"""
    rule(mesh, trafficPolicy={"loadBalancer": {"simple": "RANDOM"}})
    names = [mesh.call("sleep-v1", HOST).json["name"] for _ in range(200)]
    assert names.count("reviews-v1") in likely(50, 200)
    # 199 of 199 neighbours differ where they take turns; half of them do by chance
    assert sum(one != two for one, two in itertools.pairwise(names)) in likely(50, 199)
    seen("half, without turns")


@pytest.mark.parametrize("policy", ["LEAST_REQUEST", "no"])
def test_least_request_avoids_the_busy_pod(mesh, seen, policy):
    """DestinationRule with {policy} loadBalancer: the busy pod of two gets much less than half"""
    if policy != "no":
        rule(mesh, trafficPolicy={"loadBalancer": {"simple": policy}})
    mesh.apps["reviews-v1"].delay = 0.15
    together(8, lambda: [mesh.call("sleep-v1", HOST) for _ in range(50)])
    busy = mesh.apps["reviews-v1"].hits
    assert mesh.apps["reviews-v2"].hits + busy == 400
    # the busy one is taken when both of two draws say so
    assert busy <= max(likely(25, 400)) < min(likely(50, 400))
    seen("much less than half")
