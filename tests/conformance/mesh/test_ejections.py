"""Outlier detection: who is ejected, and for how long.

Ejections are read from the caller's Envoy, which counts each at once; that balancing follows may take it a second more.
"""

from __future__ import annotations

import time

import pytest
from outliers import HOST, REVIEWS, WHOLE_REVIEWS, bad_reviews, ejected, fails, is_ejected, rule, settled
from traffic import gauge, shares
from waiting import until


def test_the_others_take_over(mesh, seen):
    """outlierDetection ejects one pod of two: the other gets everything"""
    rule(mesh, "reviews", consecutive5xxErrors=1)
    bad_reviews(mesh, "v1")
    until(lambda: mesh.call("sleep-v1", REVIEWS).status == 500, "v1 was called")
    is_ejected(mesh, host=WHOLE_REVIEWS)
    until(lambda: shares(mesh, "sleep-v1", REVIEWS, 10) == {"reviews-v2": 10}, "v1 gets nothing any more")
    assert shares(mesh, "sleep-v1", REVIEWS, 30) == {"reviews-v2": 30}
    seen("30 of 30 by reviews-v2")


@pytest.mark.parametrize(("percent", "count"), [(0, 0), (49, 0), (50, 1), (99, 1), (100, 2)])
def test_how_many_of_two_may_be_ejected(mesh, seen, percent, count):
    """outlierDetection maxEjectionPercent {percent}: how many of two bad pods are ejected"""
    rule(mesh, "reviews", consecutive5xxErrors=1, maxEjectionPercent=percent)
    bad_reviews(mesh, "v1", "v2")
    for _ in range(30):
        mesh.call("sleep-v1", REVIEWS)
    is_ejected(mesh, host=WHOLE_REVIEWS, count=count)
    for _ in range(10):
        mesh.call("sleep-v1", REVIEWS)
    assert settled(mesh, host=WHOLE_REVIEWS) == count
    seen(f"{count} of 2")


@pytest.mark.parametrize(("percent", "panics"), [(0, False), (50, False), (51, True), (100, True)])
def test_with_too_few_healthy_pods_the_ejected_are_called_too(mesh, seen, percent, panics):
    """outlierDetection minHealthPercent {percent} with one pod of two ejected"""
    rule(mesh, "reviews", consecutive5xxErrors=1, minHealthPercent=percent)
    bad_reviews(mesh, "v1")
    until(lambda: mesh.call("sleep-v1", REVIEWS).status == 500, "v1 was called")
    is_ejected(mesh, host=WHOLE_REVIEWS)

    def panicked():
        return gauge(mesh, "sleep-v1", "lb_healthy_panic", WHOLE_REVIEWS) > 0

    if panics:
        until(lambda: mesh.call("sleep-v1", REVIEWS).status == 500 and panicked(), "the ejected pod is called")
    else:
        until(lambda: shares(mesh, "sleep-v1", REVIEWS, 30) == {"reviews-v2": 30}, "it gets nothing any more")
        assert not panicked()
    seen("the ejected pod is called" if panics else "the ejected pod is not called")


def test_an_ejected_pod_comes_back(mesh, seen):
    """outlierDetection baseEjectionTime 0.5s: an ejected pod is called again after that time, and not before"""
    rule(mesh, consecutive5xxErrors=1, baseEjectionTime="0.5s")
    before = time.monotonic()
    fails(mesh, 500)
    is_ejected(mesh)
    mesh.apps["details-v1"].answer = 200
    is_ejected(mesh, count=0)
    assert time.monotonic() - before >= 0.5
    until(lambda: mesh.call("sleep-v1", HOST).status == 200, "it is called again")
    seen("back after 0.5 s")


def test_every_caller_ejects_for_itself(mesh, seen):
    """outlierDetection ejects for the caller that met the errors: another one still calls the pod"""
    rule(mesh, consecutive5xxErrors=2)
    fails(mesh, 500, 500)
    is_ejected(mesh)
    assert fails(mesh, 200, source="other-v1") == [200]
    assert settled(mesh, "other-v1") == 0
    seen("ejected for one, 200 for the other")


@pytest.fixture
def one_ejected(mesh):
    """Of reviews v1 is ejected for sleep, and answers well from now on."""
    rule(mesh, "reviews", consecutive5xxErrors=1)
    bad_reviews(mesh, "v1")
    until(lambda: mesh.call("sleep-v1", REVIEWS).status == 500, "v1 was called")
    is_ejected(mesh, host=WHOLE_REVIEWS)
    mesh.apps["reviews-v1"].answer = 200


@pytest.mark.usefixtures("one_ejected")
def test_ejections_outlive_other_pods_coming_and_going(mesh, seen):
    """Ejections survive a change of the service's endpoints"""
    mesh.ready("reviews-v2", ready=False)
    mesh.ready("reviews-v2", ready=True)
    assert ejected(mesh, host=WHOLE_REVIEWS) == 1
    seen("still ejected")


@pytest.mark.usefixtures("one_ejected")
def test_ejections_outlive_changes_of_routes(mesh, seen):
    """Ejections survive a new VirtualService for the host and a DestinationRule for another one"""
    mesh.route("reviews", {"timeout": "5s"})
    mesh.apply(
        "DestinationRule", "details", {"host": "details", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}
    )
    assert ejected(mesh, host=WHOLE_REVIEWS) == 1
    mesh.delete("VirtualService", "reviews")
    assert ejected(mesh, host=WHOLE_REVIEWS) == 1
    seen("still ejected")


@pytest.mark.usefixtures("one_ejected")
def test_a_changed_rule_forgets_ejections(mesh, seen):
    """Ejections end when the DestinationRule of the host changes: its cluster is a new one"""
    rule(mesh, "reviews", consecutive5xxErrors=4)
    is_ejected(mesh, host=WHOLE_REVIEWS, count=0)
    assert set(shares(mesh, "sleep-v1", REVIEWS, 40)) == {"reviews-v1", "reviews-v2"}
    seen("both pods are called")


@pytest.mark.usefixtures("one_ejected")
def test_ejections_end_with_their_rule(mesh, seen):
    """Ejections end when the DestinationRule is deleted"""
    mesh.delete("DestinationRule", "outlier")
    assert set(shares(mesh, "sleep-v1", REVIEWS, 40)) == {"reviews-v1", "reviews-v2"}
    seen("both pods are called")


def test_subsets_eject_for_themselves(mesh, seen):
    """outlierDetection of a rule counts for each subset apart: what is ejected from one is not from the whole host"""
    rule(mesh, subsets=[{"name": "v1", "labels": {"version": "v1"}}], consecutive5xxErrors=1)
    mesh.apply(
        "VirtualService",
        "details",
        {
            "hosts": ["details"],
            "http": [
                {
                    "match": [{"uri": {"prefix": "/subset"}}],
                    "route": [{"destination": {"host": "details", "subset": "v1"}}],
                },
                {"route": [{"destination": {"host": "details"}}]},
            ],
        },
    )
    mesh.apps["details-v1"].answer = 500
    mesh.call("sleep-v1", HOST, "/subset")
    is_ejected(mesh, subset="v1")
    assert settled(mesh) == 0
    mesh.apps["details-v1"].answer = 200
    until(lambda: mesh.call("sleep-v1", HOST, "/subset").status == 503, "the subset has nobody")
    assert mesh.call("sleep-v1", HOST).status == 200
    seen("subset 503, host 200")
