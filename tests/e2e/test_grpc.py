"""gRPC on real sidecars: a checkout that calls prices over gRPC, with a deadline, meets every carrier's faults."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from lab_under_test import LabUnderTest, start_lab, stop_lab
from shipped_experiments import EXPERIMENTS
from waiting import until

from chaosmesh_ext import actions, probes
from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.run import current_run, reset_run, runs

EXPERIMENT = "checkout-grpc"
TOPOLOGY = EXPERIMENTS / "topologies" / "grpc.yaml"


@pytest.fixture(scope="module")
def grpc_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabUnderTest]:
    lab = start_lab(f"grpc-{os.getpid()}", tmp_path_factory.mktemp("state"), "--topology", str(TOPOLOGY))
    try:
        yield lab
        assert json.loads(lab.chaos("mesh", "runs", "--json").stdout) == []
    finally:
        stop_lab(lab)


@pytest.fixture
def mesh(grpc_lab, monkeypatch) -> Iterator[LabUnderTest]:
    """The lab, in this process' environment, with a run of its own."""
    for name, value in grpc_lab.env.items():
        monkeypatch.setenv(name, value)
    reset_run()
    yield grpc_lab
    reset_run()


def stands_in(*, marked: bool = True) -> bool:
    """Whether checkout shows something else than a price."""
    return probes.body_section("/", "sections.prices.default", count=2, marked=marked)


def told_rate() -> float:
    """The share of calls to prices that did not fail, once some more were made; 1 while nothing is told."""
    current_run().send("/", 5)
    try:
        return probes.success_rate("prices", source="checkout-v1", window=10, wait=5)
    except Inconclusive:  # a counter is scraped twice before it has a rate
        return 1.0


def test_the_experiment_gives_its_answer_and_leaves_nothing(mesh, tmp_path):
    done = mesh.chaos("mesh", "run", str(EXPERIMENTS / f"{EXPERIMENT}.yaml"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert runs(connect()) == []
    found = json.loads((tmp_path / "reports" / "runs" / "latest" / "findings.json").read_text())["findings"]
    (timeout,) = [one for one in found if one["rule"] == "timeout"]
    assert (timeout["source"], timeout["destination"], timeout["who"]) == ("checkout", "prices", "application")
    assert abs(timeout["value"] - 0.8) < 0.04


def test_unavailable_is_met_by_marked_calls_only_and_ends_at_checkout(mesh):
    """By the owner's kind of object; the experiment has the EnvoyFilter. Metrics count what gRPC calls a failure."""
    proof = actions.inject_abort(
        "prices", grpc_status="UNAVAILABLE", source="checkout-v1", url="/", carrier="virtualservice"
    )
    assert (proof["by"], proof["carrier"]) == ("traces", "virtualservice")
    assert (stands_in(), stands_in(marked=False)) == (True, False)
    if mesh.env.get("PROMETHEUS_URL"):  # where each has the response_code 200
        until(lambda: told_rate() < 0.9, "the metrics tell of failures")
        assert probes.request_rate("prices", source="checkout-v1", window=10, response_code="5..") == 0
    actions.recover()
    assert not stands_in()


def test_unavailable_at_the_callees_side_meets_the_retries_of_the_callers_sidecar(mesh):
    """Istio tries again what is UNAVAILABLE: three calls arrive for one that the application made."""
    actions.inject_abort("prices", grpc_status="UNAVAILABLE", url="/", carrier="inbound")
    current_run().send("/", 6)  # whichever connection is still warm meets the change once it was used
    assert (stands_in(), stands_in(marked=False)) == (True, False)
    assert set(probes.calls_per_request("checkout", "prices")) == {1}
    # one that was sent before the fault was live, or on a connection from before, arrives once
    assert max(probes.arrivals_per_request("checkout", "prices")) == 3
    path = probes.error_path()
    assert (path["status"], path["grpc_status"], path["flags"], path["reached"]) == (200, 14, "FI", 0)
    actions.recover()
