"""Delays and aborts on what an ingress gateway calls: our requests meet them, nobody else's, and the routes end as theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import httpx
import pytest
from waiting import until

from chaosmesh_ext import actions, errors
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.run import current_run, reset_run, runs

PAGE, PRODUCTS = "/productpage", "/api/v1/products"
GATEWAY = "istio-ingressgateway"

STRUCK = """
import os, signal
from chaosmesh_ext import actions
actions.inject_abort("productpage", 507, source="istio-ingressgateway", url="/productpage")
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A runner that is killed while its fault is in."""


@pytest.fixture
def routes(lab, monkeypatch):
    """What the VirtualServices say, in the lab's environment and a run of its own; they end as they began."""
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    reset_run()

    def now() -> dict[str, dict]:
        found = {obj["metadata"]["name"]: obj for obj in connect().list("VirtualService", "default")}
        return {name: {**obj["spec"], "notes": obj["metadata"].get("annotations")} for name, obj in found.items()}

    before = now()
    yield now
    reset_run()
    assert runs(connect()) == []
    assert now() == before


def others(path: str) -> httpx.Response:
    return httpx.get(os.environ["APP_URL"] + path, trust_env=False, timeout=20)


def test_requests_of_ours_are_held_back_at_the_gateway_and_nobody_elses(routes):
    proof = actions.inject_delay("productpage", 2, source=GATEWAY, url=PAGE)
    assert (proof["carrier"], proof["objects"]) == ("virtualservice", ["VirtualService default/bookinfo"])
    assert proof["by"] == "traces"
    assert proof["injected"]["sources"] == [GATEWAY]
    (ours, theirs) = routes()["bookinfo"]["http"]
    assert {tuple(match["gateways"]) for match in ours["match"]} == {("bookinfo-gateway",)}
    assert "fault" not in theirs
    run = current_run()
    answer = run.send(PAGE)[0]
    assert (answer.status, answer.duration >= 2) == (200, True)
    assert "Book Details" in answer.sections
    assert run.send(PAGE, control=True)[0].duration < answer.duration
    assert others(PAGE).elapsed.total_seconds() < answer.duration
    [cell] = [cell for cell in run.cells() if cell.injected]
    flags = {
        (span.kind, span.flags)
        for trace in cell.traces.values()
        for span in trace.spans
        if span.workload.service == GATEWAY
    }
    assert flags == {("SERVER", frozenset({"DI"})), ("CLIENT", frozenset())}
    actions.recover()
    assert run.send(PAGE)[0].duration < 2


def test_an_abort_at_the_gateway_may_be_for_some_paths_only(routes):
    actions.inject_abort("productpage", 507, source=GATEWAY, match={"uri": {"prefix": PRODUCTS}}, url=PRODUCTS)
    run = current_run()
    assert [run.send(path)[0].status for path in (PRODUCTS, PAGE)] == [507, 200]
    assert others(PRODUCTS).status_code == 200


def test_a_runner_that_is_killed_leaves_nothing_at_the_gateway(routes):
    before = routes()
    done = subprocess.run([sys.executable, "-c", STRUCK], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    until(lambda: routes() == before and not runs(connect()))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"carrier": "envoyfilter"}, "use carrier: virtualservice"),
        ({"carrier": "inbound"}, "cannot tell istio-ingressgateway from other callers"),
        ({"destination": "ratings"}, "no VirtualService of default/bookinfo-gateway has a route that leads to ratings"),
    ],
)
def test_what_cannot_be_put_at_the_gateway_is_refused(routes, words, reason):
    with pytest.raises(errors.InvalidInput, match=reason):
        actions.inject_abort(
            **{"destination": "productpage", "http_status": 507, "source": GATEWAY, "url": PAGE, **words}
        )
