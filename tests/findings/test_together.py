"""Fixes put together: one object for a host, that does what each of them would do."""

from __future__ import annotations

import pytest

from chaosmesh_ext.findings.fixes.manifests import destination_rule, virtual_service
from chaosmesh_ext.findings.fixes.together import together


def slow(timeout: str, host: str = "details", what: str = "timeout"):
    return virtual_service(host, "shop", what, [{"timeout": timeout}])


NO_RETRY = virtual_service(
    "details", "shop", "no-retry", [{"match": [{"method": {"exact": "POST"}}], "retries": {"attempts": 0}}, {}]
)
EJECTION = destination_rule("details", "shop", "ejection", {"outlierDetection": {"consecutive5xxErrors": 5}})
POOL = destination_rule("details", "shop", "pool", {"connectionPool": {"tcp": {"maxConnections": 4}}})


def test_the_same_fix_of_two_findings_is_one():
    assert together([slow("0.25s"), slow("1s", "ratings"), slow("0.25s")]) == [
        (slow("0.25s"), (0, 2)),
        (slow("1s", "ratings"), (1,)),
    ]


@pytest.mark.parametrize("order", [("2.4s", "0.25s"), ("0.25s", "2.4s")])
def test_of_two_timeouts_of_a_host_the_shorter_holds(order):
    """What mends an inversion must not be longer than its caller waits."""
    assert together([slow(each) for each in order]) == [(slow("0.25s"), (0, 1))]


def test_routes_and_policies_of_one_host_are_one_object_each():
    (routes, places), (policy, others) = together([slow("0.3s"), EJECTION, NO_RETRY, POOL])
    assert (places, others) == ((0, 2), (1, 3))
    to = [{"destination": {"host": "details"}}]
    assert routes["spec"]["http"] == [
        {"match": [{"method": {"exact": "POST"}}], "route": to, "retries": {"attempts": 0}, "timeout": "0.3s"},
        {"route": to, "timeout": "0.3s"},
    ]
    assert routes["metadata"]["name"] == "details-fix"
    assert set(policy["spec"]["trafficPolicy"]) == {"outlierDetection", "connectionPool"}


def test_what_contradicts_another_and_what_somebody_edited_stays_by_itself():
    larger = destination_rule("details", "shop", "pool", {"connectionPool": {"tcp": {"maxConnections": 9}}})
    edited = {**slow("0.25s"), "spec": {"hosts": ["details"], "http": [{"timeout": "soon", "mirror": {}}]}}
    strange = {"kind": "VirtualService"}
    given = [POOL, larger, slow("1s"), edited, strange]
    assert together(given) == [(each, (place,)) for place, each in enumerate(given)]
