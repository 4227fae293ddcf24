"""Of several DestinationRules the one that istiod would take is in force."""

import pytest

from chaosmesh_ext.lab.controlplane.embedded.destinationrules import rule, subsets
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Port, Service, Snapshot

REVIEWS = Service(
    name="reviews",
    namespace="shop",
    host="reviews.shop.svc.cluster.local",
    selector={"app": "reviews"},
    ports=(Port(9080, 9080),),
)


def dr(name, namespace="shop", host=REVIEWS.host, subset="", age=0, **spec):
    named = {"subsets": [{"name": subset}]} if subset else {}
    meta = {"name": name, "namespace": namespace, "creationTimestamp": f"2026-01-01T00:00:{age:02}Z"}
    return {"kind": "DestinationRule", "metadata": meta, "spec": {"host": host, **named, **spec}}


def chosen(*rules, caller="shop"):
    found = rule(Snapshot.of([REVIEWS], [], rules), caller, REVIEWS)
    return found and found["metadata"]["name"]


@pytest.mark.parametrize(
    ("rules", "caller", "name"),
    [
        ([dr("service"), dr("caller", "web"), dr("root", "istio-system")], "web", "caller"),
        ([dr("service"), dr("root", "istio-system")], "web", "service"),
        ([dr("root", "istio-system")], "web", "root"),
        ([dr("other", "other")], "web", None),
        ([dr("service", exportTo=["."]), dr("root", "istio-system")], "web", "root"),
        ([dr("service", exportTo=["web"])], "web", "service"),
        ([dr("service", exportTo=["web"])], "shop", None),
        ([dr("service", exportTo=["web"])], "other", None),
        ([dr("caller", "web", exportTo=["other"]), dr("service")], "web", "service"),
        ([dr("root", "istio-system"), dr("service")], "istio-system", "service"),
        ([dr("root", "istio-system", exportTo=["."]), dr("service")], "istio-system", "root"),
    ],
)
def test_the_callers_namespace_comes_first_then_the_services_then_the_root(rules, caller, name):
    assert chosen(*rules, caller=caller) == name


def test_a_short_host_means_the_rules_own_namespace():
    assert chosen(dr("short", host="reviews")) == "short"
    assert chosen(dr("short", "web", host="reviews"), caller="web") is None


def test_the_most_specific_host_counts_within_a_namespace():
    rules = [dr("all", host="*"), dr("wide", host="*.svc.cluster.local"), dr("near", host="*.shop.svc.cluster.local")]
    assert chosen(*rules) == "near"
    assert chosen(*rules, dr("exact", age=9)) == "exact"


def test_a_namespaces_own_wildcard_hides_the_services_exact_rule():
    assert chosen(dr("exact"), dr("wild", "web", host="*"), caller="web") == "wild"


def test_a_specific_rule_that_is_not_exported_here_still_hides_the_wildcard_of_its_namespace():
    """As in istiod, which asks for the most specific rule first and for its reach afterwards."""
    hidden = dr("exact", exportTo=["other"])
    assert chosen(hidden, dr("wild", host="*.shop.svc.cluster.local"), caller="web") is None


def test_rules_for_one_host_add_their_subsets_and_the_first_policy_counts():
    rules = [
        dr("a", subset="v1", age=1),
        dr("b", subset="v2", age=2, trafficPolicy={"loadBalancer": {"simple": "RANDOM"}}),
        dr("c", subset="v2", age=3, trafficPolicy={"loadBalancer": {"simple": "ROUND_ROBIN"}}),
    ]
    found = rule(Snapshot.of([REVIEWS], [], rules), "shop", REVIEWS)
    assert list(subsets(found)) == ["v1", "v2"]
    assert found["spec"]["trafficPolicy"] == {"loadBalancer": {"simple": "RANDOM"}}


def test_rules_that_are_exported_differently_stay_apart_and_the_youngest_counts():
    rules = [dr("public", subset="v1", age=1), dr("private", subset="v2", age=2, exportTo=["."])]
    found = rule(Snapshot.of([REVIEWS], [], rules), "shop", REVIEWS)
    assert (found["metadata"]["name"], list(subsets(found))) == ("private", ["v2"])
    assert chosen(*rules, caller="web") == "public"


def test_rules_of_one_age_are_ordered_by_name():
    rules = [dr("a-b", trafficPolicy={"which": "a-b"}), dr("a", trafficPolicy={"which": "a"})]
    found = rule(Snapshot.of([REVIEWS], [], rules), "shop", REVIEWS)
    assert found["spec"]["trafficPolicy"] == {"which": "a"}


def test_a_workload_selector_means_callers_of_its_own_namespace_with_those_labels():
    """And no callee: what is for the caller's side only is not kept to at the other."""
    one = dr("one", workloadSelector={"matchLabels": {"app": "page"}}, exportTo=["."])
    rules = Snapshot.of([REVIEWS], [], [dr("all"), one])

    def taken(namespace, labels):
        found = rule(rules, namespace, REVIEWS, labels)
        return found and found["metadata"]["name"]

    assert taken("shop", {"app": "page", "version": "v1"}) == "one"
    assert taken("shop", {"app": "other"}) == "all"
    assert taken("shop", None) == "all"
    assert taken("web", {"app": "page"}) == "all"


def test_one_with_a_selector_is_nothing_for_anybody_else():
    one = dr("one", workloadSelector={"matchLabels": {"app": "page"}}, exportTo=["."])
    assert rule(Snapshot.of([REVIEWS], [], [one]), "shop", REVIEWS, {"app": "other"}) is None


def test_exported_alike_a_younger_one_with_a_selector_is_for_everybody():
    """As istiod merges them: a trap for who adds a rule for one workload."""
    chosen = {"workloadSelector": {"matchLabels": {"app": "page"}}, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    rules = Snapshot.of([REVIEWS], [], [dr("all", exportTo=["."]), dr("one", age=5, **chosen)])
    found = rule(rules, "shop", REVIEWS, {"app": "other"})
    assert found["spec"]["trafficPolicy"] == chosen["trafficPolicy"]
