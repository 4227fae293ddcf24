"""limit_connections, eject_outliers and make_pod_fail on real sidecars: whom they are for, and how they end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from waiting import until

from chaosmesh_ext import actions, errors
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.run import current_run, reset_run, runs

BOOK, REVIEWS = "/api/v1/products/0", "/api/v1/products/0/reviews"


@pytest.fixture
def mesh(lab, monkeypatch):
    """The lab, in this process' environment, with a run of its own; the owners' objects end as they began."""
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    reset_run()
    before = objects()
    yield lab
    reset_run()
    assert runs(connect()) == []
    assert objects() == before


def objects() -> dict[str, tuple]:
    """Every DestinationRule and EnvoyFilter, without what each write changes."""
    found = [obj for kind in ("DestinationRule", "EnvoyFilter") for obj in connect().list(kind)]
    kept = ("labels", "annotations")
    return {
        f"{obj['kind']}/{obj['metadata']['name']}": (obj["spec"], *(obj["metadata"].get(key) for key in kept))
        for obj in found
    }


def at_once(mesh, count: int = 12) -> set[int]:
    """The statuses of COUNT requests of users, all at the same time."""

    def ask(_: int) -> int:
        return httpx.get(mesh.env["APP_URL"] + BOOK, trust_env=False, timeout=20).status_code

    with ThreadPoolExecutor(count) as pool:
        return set(pool.map(ask, range(count)))


def test_a_limit_in_the_owners_rule_is_for_everybody_until_it_is_gone(mesh):
    # a new connection for each request, while which the others wait: details is fast
    limits = {"max_connections": 1, "http1_max_pending_requests": 1, "max_requests_per_connection": 1}
    proof = actions.limit_connections("details", **limits, requests="all", url=BOOK)
    assert proof["objects"] == ["DestinationRule default/details"]
    until(lambda: 503 in at_once(mesh), "users are refused too")
    actions.recover()
    assert at_once(mesh) == {200}


def test_a_limit_for_one_caller_is_refused_where_the_rule_is_for_all(mesh):
    with pytest.raises(errors.InvalidInput, match=r"is for every caller of details: leave out source"):
        actions.limit_connections("details", 1, 1, source="productpage-v1", requests="all", url=BOOK)


def test_a_pod_that_fails_is_called_no_more_and_is_back_once_ejection_is_undone(mesh):
    """The ejection would last ten minutes; its end is that of the fault."""
    proof = actions.eject_outliers(
        "reviews",
        consecutive_5xx_errors=1,
        base_ejection_time=600,
        max_ejection_percent=50,
        requests="all",
        url=REVIEWS,
    )
    assert proof["by"] == "sync"  # calls that fare well give no cause to eject a pod
    proof = actions.make_pod_fail("reviews", "reviews-v2", 507, url=REVIEWS)
    assert proof["by"] == "traces"
    run = current_run()

    def arrived(count: int = 12) -> set[str]:
        """The versions that served users, whom the pod does not fail."""
        url = mesh.env["APP_URL"] + REVIEWS
        found = [httpx.get(url, trust_env=False, timeout=20) for _ in range(count)]
        assert {one.status_code for one in found} == {200}
        return {one.json()["podname"].split("-")[1] for one in found}

    until(lambda: run.send(REVIEWS, 4) and arrived() == {"v1", "v3"}, "the pod is away for everybody")
    assert {one.status for one in run.send(REVIEWS, 6)} == {200}
    actions.recover()
    until(lambda: arrived() == {"v1", "v2", "v3"}, "it is back at once")
    assert {one.status for one in run.send(REVIEWS, 6)} == {200}
