"""Timeouts, retries, routes and trace headers on real sidecars: what a policy is worth is seen, and all is as before."""

from __future__ import annotations

import httpx
import pytest

from chaosmesh_ext import actions, errors
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.run import current_run, reset_run, runs

PAGE, RATINGS = "/productpage", "/api/v1/products/0/ratings"


@pytest.fixture
def mesh(lab, monkeypatch):
    """The lab, in this process' environment, with a run of its own; the owner's routes end as they began."""
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    reset_run()
    before = specs()
    yield lab
    reset_run()
    assert runs(connect()) == []
    assert specs() == before


def specs() -> dict[str, dict]:
    """Every VirtualService and EnvoyFilter, without what each write changes."""
    found = [obj for kind in ("VirtualService", "EnvoyFilter") for obj in connect().list(kind)]
    kept = ("name", "namespace", "labels", "annotations")
    return {
        f"{obj['kind']}/{obj['metadata']['name']}": {
            "spec": obj["spec"],
            **{key: obj["metadata"][key] for key in kept if key in obj["metadata"]},
        }
        for obj in found
    }


def get(mesh, path: str) -> httpx.Response:
    return httpx.get(mesh.env["APP_URL"] + path, trust_env=False, timeout=20)


def arrivals(source: str, destination: str) -> list[int]:
    """Of the current cell's calls, how often each arrived."""
    cell = current_run().cells()[-1]
    return [
        sum(child.kind == "SERVER" for child in trace.children(span))
        for trace in cell.traces.values()
        for span in trace.calls()
        if span.workload.service == source and span.peer == destination
    ]


def test_a_timeout_in_the_mesh_ends_the_wait_for_a_callee_that_is_slow_at_its_own_side(mesh):
    """The same delay in the caller's sidecar would not be subject to it: only the inbound carrier can ask this."""
    slow = actions.inject_delay("ratings", "2s", carrier="inbound", requests="run", url=RATINGS)
    assert slow["carrier"] == "inbound"
    run = current_run()
    assert run.send(RATINGS)[0].duration >= 2
    assert get(mesh, RATINGS).elapsed.total_seconds() < 2, "nobody else waits"
    proof = actions.set_timeout("ratings", "300ms", source="productpage-v1", url=RATINGS)
    assert proof["by"] == "traces"
    answer = run.send(RATINGS)[0]
    assert (answer.status, answer.duration < 2) == (504, True)
    actions.recover()
    assert (run.send(RATINGS)[0].status, run.send(RATINGS)[0].duration < 2) == (200, True)


def test_retries_in_the_mesh_multiply_the_requests_of_a_failing_callee(mesh):
    actions.inject_abort("ratings", 503, carrier="inbound", requests="run", url=RATINGS)
    run = current_run()
    assert run.send(RATINGS)[0].status == 503
    assert set(arrivals("productpage", "ratings")) == {1}, "Istio's default does not try an application's 503 again"
    proof = actions.set_retries("ratings", 2, "5xx", source="productpage-v1", url=RATINGS, timeout="5s")
    assert (proof["by"], proof["injected"]["words"]) == ("traces", "2 retries on 5xx, timeout of 5 s")
    assert set(arrivals("productpage", "ratings")) == {3}
    actions.recover()
    assert run.send(RATINGS)[0].status == 200


def test_a_policy_that_nobody_meets_is_known_by_istiods_word(mesh):
    proof = actions.set_retries("details", 0, source="productpage-v1", url=PAGE)
    assert (proof["by"], proof["live_after"]) == ("sync", None)
    actions.recover()
    with pytest.raises(errors.InvalidInput, match="nothing to change"):
        actions.set_timeout("details", 0, source="productpage-v1", url=PAGE)


def test_requests_that_lose_their_route_are_not_found_in_the_mesh(mesh):
    proof = actions.restrict_routes("details", url=PAGE)
    assert proof["injected"]["kind"] == "routes"
    flags = [span.flags for trace in current_run().cells()[-1].traces.values() for span in trace.calls()]
    assert {"NR"} in flags
    assert "Error fetching product details!" in current_run().send(PAGE)[0].sections
    assert "details are currently unavailable" not in get(mesh, PAGE).text


def test_a_gateway_keeps_the_routes_that_it_shall_keep(mesh):
    actions.restrict_routes(
        "productpage", gateway="bookinfo-gateway", keep=[{"uri": {"prefix": "/api/v1/products"}}], url=PAGE
    )
    run = current_run()
    assert [run.send(PAGE)[0].status, run.send("/api/v1/products")[0].status] == [404, 200]
    assert get(mesh, PAGE).status_code == 200
    actions.recover()
    assert run.send(PAGE)[0].status == 200


def test_a_gateway_that_is_not_there_is_refused(mesh):
    with pytest.raises(errors.NotFound, match="no Gateway nobody"):
        actions.restrict_routes("productpage", gateway="nobody", url=PAGE)


def test_a_trace_that_breaks_on_an_edge_ends_there_and_users_notice_nothing(mesh):
    actions.break_propagation("reviews", source="productpage-v1", url=PAGE)
    assert set(arrivals("productpage", "reviews")) == {0}
    assert set(arrivals("productpage", "details")) == {1}
    assert "Book Reviews" in current_run().send(PAGE)[0].sections
    actions.recover()
