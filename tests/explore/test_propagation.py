"""Which marker arrives where, on applications that pass on too little."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab_under_test import LabUnderTest, topology_lab

from chaosmesh_ext import mesh
from chaosmesh_ext.explore.discovery import discover
from chaosmesh_ext.explore.propagation import measure
from chaosmesh_ext.explore.recipe import Recipe
from chaosmesh_ext.run import Run
from chaosmesh_ext.settings import load

SHOP = """
apiVersion: chaosmesh-ext/v1alpha1
kind: Topology
spec:
  entry: frontend
  services:
  - name: frontend
    versions:
    - calls:
      - together: [{to: catalog, onFailure: omit}, {to: cart, onFailure: omit}]
      name: v1
  - name: catalog
    versions: [{name: v1, calls: [{to: stock, onFailure: omit}], forwards: []}]
  - name: cart
    versions: [{name: v1, calls: [{to: prices, onFailure: omit}], forwards: [traceparent, cookie]}]
  - name: stock
  - name: prices
"""


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabUnderTest]:
    with topology_lab("shop", SHOP, tmp_path_factory.mktemp("state")) as lab:
        yield lab


def test_what_arrives_is_measured_edge_by_edge(shop: LabUnderTest) -> None:
    """cart loses tracestate and keeps cookies; behind catalog not even the trace is left, and the metrics tell."""
    settings = load({**shop.env, "CHAOSMESH_REQUEST_BUDGET": "16"})
    run = Run(settings=settings, connect=lambda: mesh.connect({"KUBECONFIG": shop.env["KUBECONFIG"]}))
    try:
        found = discover(run, Recipe.of_urls(["/"]))
        measured = measure(run, found)
    finally:
        run.close()
    told = {str(one.edge): one for one in measured.edges}
    carriers = {name: measured.carrier(one.edge) for name, one in told.items()}
    assert carriers == {
        "istio-ingressgateway → frontend": "tracestate",
        "frontend-v1 → catalog": "tracestate",
        "frontend-v1 → cart": "tracestate",
        "cart-v1 → prices": "cookie",
        "catalog-v1 → stock": None,
    }
    lost, unmarked = told["catalog-v1 → stock"], told["cart-v1 → prices"]
    assert (lost.orphaned, lost.traced, lost.counted) == (True, 0, len(found.control.answers))
    assert "catalog-v1 → stock" not in {str(edge) for edge in found.graph.edges}
    assert "the trace is lost there" in next(one.reason for one in found.skipped if one.edge == "catalog-v1 → stock")
    assert unmarked.unmarked == unmarked.traced > 0
    assert unmarked.survives == ("cookie",)
    assert not run.problems, run.problems
