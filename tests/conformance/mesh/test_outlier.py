"""Outlier detection: what counts."""

from __future__ import annotations

import pytest
from bare_pod import bare_pod
from outliers import HOST, fails, is_ejected, rule, settled
from waiting import until


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_the_nth_error_in_a_row_ejects(mesh, seen, limit):
    """outlierDetection consecutive5xxErrors {limit} ejects after that many errors in a row"""
    rule(mesh, consecutive5xxErrors=limit)
    fails(mesh, *[500] * (limit - 1))
    assert settled(mesh) == 0
    fails(mesh, 500)
    is_ejected(mesh)
    seen(f"not after {limit - 1}, but after {limit}")


def test_a_success_between_starts_the_count_anew(mesh, seen):
    """outlierDetection counts errors in a row: a success between them starts anew"""
    rule(mesh, consecutive5xxErrors=3)
    fails(mesh, 500, 500, 200, 500, 500, 200, 500, 500)
    assert settled(mesh) == 0
    fails(mesh, 500)
    is_ejected(mesh)
    seen("2 + 2 + 2 errors eject nobody, 3 in a row do")


@pytest.mark.parametrize(
    ("status", "counts"), [(404, False), (429, False), (500, True), (501, True), (503, True), (599, True)]
)
def test_which_statuses_are_errors(mesh, seen, status, counts):
    """outlierDetection consecutive5xxErrors: an application's {status}"""
    rule(mesh, consecutive5xxErrors=2)
    assert fails(mesh, status, status) == [status, status]
    if counts:
        is_ejected(mesh)
    else:
        fails(mesh, status, status, status)
        assert settled(mesh) == 0
    seen("counts" if counts else "does not count")


@pytest.mark.parametrize(
    ("status", "counts"), [(500, False), (501, False), (502, True), (503, True), (504, True), (505, False)]
)
def test_which_statuses_are_a_gateways(mesh, seen, status, counts):
    """outlierDetection consecutiveGatewayErrors: an application's {status}"""
    rule(mesh, consecutive5xxErrors=0, consecutiveGatewayErrors=2)
    assert fails(mesh, status, status) == [status, status]
    if counts:
        is_ejected(mesh)
    else:
        fails(mesh, status, status, status)
        assert settled(mesh) == 0
    seen("counts" if counts else "does not count")


def test_how_many_errors_eject_by_default(mesh, seen):
    """outlierDetection with nothing but maxEjectionPercent 100 ejects after five errors in a row"""
    policy = {"outlierDetection": {"maxEjectionPercent": 100}}
    mesh.apply("DestinationRule", "outlier", {"host": "details", "trafficPolicy": policy})
    fails(mesh, *[500] * 4)
    assert settled(mesh) == 0
    fails(mesh, 500)
    is_ejected(mesh)
    seen("not after 4, but after 5")


def test_how_many_are_ejected_by_default(mesh, seen):
    """outlierDetection without maxEjectionPercent ejects nobody of so few pods: the default is 10"""
    policy = {"outlierDetection": {"consecutive5xxErrors": 1}}
    mesh.apply("DestinationRule", "outlier", {"host": "details", "trafficPolicy": policy})
    assert fails(mesh, *[500] * 10) == [500] * 10
    assert settled(mesh) == 0
    seen("10 errors, 0 of 1 ejected")


def test_without_a_rule_nobody_is_ejected(mesh, seen):
    """Without outlierDetection nobody is ejected"""
    assert fails(mesh, *[500] * 20) == [500] * 20
    assert mesh.hits("details") == 20
    seen("20 errors, 20 calls")


def test_the_faults_of_a_virtualservice_are_nobodys_errors(mesh, seen):
    """outlierDetection does not count the aborts of a fault"""
    rule(mesh, consecutive5xxErrors=2)
    mesh.route("details", {"fault": {"abort": {"httpStatus": 503, "percentage": {"value": 100}}}})
    assert [mesh.call("sleep-v1", HOST).status for _ in range(5)] == [503] * 5
    assert settled(mesh) == 0
    seen("5 aborts eject nobody")


def test_a_timeout_of_the_route_is_an_error(mesh, seen):
    """outlierDetection counts a call that the route's timeout ends"""
    rule(mesh, consecutive5xxErrors=0, consecutiveGatewayErrors=2)
    mesh.route("details", {"timeout": "0.1s"})
    mesh.apps["details-v1"].delay = 0.5
    assert [mesh.call("sleep-v1", HOST).status for _ in range(2)] == [504, 504]
    is_ejected(mesh)
    seen("2 × 504 eject")


def test_retries_count_each(mesh, seen):
    """outlierDetection counts every attempt of a call that is tried again"""
    rule(mesh, consecutive5xxErrors=3)
    mesh.route("details", {"retries": {"attempts": 2, "retryOn": "5xx"}})
    assert fails(mesh, 500) == [500]
    is_ejected(mesh)
    seen("one call with two retries ejects at 3")


def test_everybody_ejected(mesh, seen):
    """outlierDetection with every pod ejected answers 503 UH"""
    rule(mesh, consecutive5xxErrors=1)
    fails(mesh, 500)
    is_ejected(mesh)
    until(lambda: mesh.call("sleep-v1", HOST).status == 503, "the ejection is in force")
    before = mesh.hits("details")
    assert mesh.flags("sleep-v1", HOST) == (503, "UH")
    reply = mesh.call("sleep-v1", HOST)
    assert (reply.body, mesh.hits("details")) == (b"no healthy upstream", before)
    seen("503 UH 'no healthy upstream'")


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ("consecutiveGatewayErrors", True),
        ("consecutive5xxErrors", True),
        ("splitExternalLocalOriginErrors, consecutiveGatewayErrors", False),
        ("splitExternalLocalOriginErrors, consecutiveLocalOriginFailures", True),
    ],
)
def test_refused_connections(mesh, seen, fields, counts):
    """outlierDetection {fields} 3: a call whose three connections are refused"""
    limits = {"consecutive5xxErrors": 0, **{name: name.startswith("split") or 3 for name in fields.split(", ")}}
    with bare_pod(mesh, "refused", 251):
        whole = "refused.default.svc.cluster.local"
        rule(mesh, "refused", **limits)
        assert mesh.flags("sleep-v1", "refused:9080")[0] == 503
        if counts:
            is_ejected(mesh, host=whole)
        else:
            assert settled(mesh, host=whole) == 0
    seen("ejects the pod" if counts else "ejects nobody")
