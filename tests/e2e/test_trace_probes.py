"""The probes of traces on real sidecars: what a fault on one edge does to the way of requests."""

from __future__ import annotations

import pytest

from chaosmesh_ext import actions, probes, tolerances
from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.run import current_run, reset_run, runs

PAGE = "/productpage"
EDGE = ("productpage-v1", "details")


@pytest.fixture
def mesh(lab, monkeypatch):
    """The lab, in this process' environment, with a run of its own."""
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    reset_run()
    yield lab
    reset_run()
    assert runs(connect()) == []


def test_a_refused_call_is_an_error_that_stops_at_its_caller(mesh):
    """details is refused, the page answers well: so say path, flags and shape."""
    probes.status(PAGE)
    assert probes.error_path()["path"] == []
    actions.inject_abort("details", 503, source="productpage-v1", url=PAGE)
    assert probes.status(PAGE) == 200
    found = probes.error_path()
    assert found["path"][-2:] == ["productpage-v1", "details"]
    assert (found["status"], found["flags"], found["reached"]) == (503, "FI", 0)
    assert tolerances.error_stops_at("productpage", value=found)
    assert probes.spans_with_flags("FI", *EDGE) == found["requests"] > 0
    assert probes.orphans() == 0
    assert probes.calls_per_request(*EDGE) == [1] * len(probes.calls_per_request(*EDGE))
    with pytest.raises(Inconclusive, match="failed"):
        probes.edge_latency(*EDGE)
    assert "productpage → details GET /details/*" in probes.trace_shape()["calls"]
    actions.recover()


def test_a_delayed_call_is_where_the_slowest_request_waited(mesh):
    probes.status(PAGE)
    assert probes.edge_latency(*EDGE) < 0.5
    actions.inject_delay("details", "1s", source="productpage-v1", url=PAGE)
    assert probes.status(PAGE) == 200
    assert probes.edge_latency(*EDGE, quantile=[0, 1])[0] > 0.9
    found = probes.slowest_path()
    assert found["path"][-2:] == ["productpage-v1", "details-v1"] or found["path"][-1] == "details"
    assert tolerances.slowest_at("productpage → details", share=0.7, value=found)
    actions.recover()


def test_everybodys_traces_are_read_by_asking_who_is_at_the_url(mesh, monkeypatch):
    url = mesh.env["JAEGER_URL"]
    monkeypatch.delenv("JAEGER_URL")
    probes.status(PAGE, marked=False)
    current_run()
    assert probes.edge_latency(*EDGE, lookback=600, traces_url=url) < 1
    assert probes.error_path("productpage", lookback=600, traces_url=url)["of"] > 0
