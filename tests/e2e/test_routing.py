"""Shares, mirrors and egress on real sidecars: where calls arrive, who gets copies, who can leave the mesh."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_under_test import LabUnderTest, start_lab, stop_lab
from rates import HOST, rates_lab, until_rate
from shipped_experiments import EXPERIMENTS

from chaosmesh_ext import actions, errors, probes
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.run import current_run, reset_run, runs

PAGE = "/productpage"


@pytest.fixture
def mesh(lab, monkeypatch) -> Iterator[LabUnderTest]:
    """The lab, in this process' environment, with a run of its own."""
    with run_on(lab, monkeypatch):
        yield lab


@contextmanager
def run_on(lab: LabUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    reset_run()
    yield
    reset_run()
    assert runs(connect()) == []


def shares(*versions: str) -> list[float]:
    return probes.arrival_shares("productpage-v1", "reviews", list(versions))


@pytest.fixture
def owner(mesh):
    """Somebody's VirtualService, which keeps reviews at v1 with a timeout of its own."""
    client = connect()
    spec = {
        "hosts": ["reviews"],
        "http": [{"route": [{"destination": {"host": "reviews", "subset": "v1"}}], "timeout": "9s"}],
    }
    meta = {"name": "reviews", "namespace": "default"}
    obj = client.create(
        {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta, "spec": spec}
    )
    yield obj
    client.delete("VirtualService", "default", "reviews", uid=obj["metadata"]["uid"])


def test_calls_arrive_by_their_weights_and_as_before_afterwards(mesh, owner):
    """The owner's VirtualService says v1; the cell's requests go to v2 and v3, everybody else's stay."""
    proof = actions.shift_traffic("reviews", {"v2": 30, "v3": 70}, source="productpage-v1", url=PAGE)
    assert (proof["by"], proof["objects"]) == ("traces", ["VirtualService default/reviews"])
    run = current_run()
    run.send(PAGE, 60)
    v1, v2, v3 = shares("v1", "v2", "v3")
    assert v1 == 0
    assert abs(v2 - 0.3) < 0.28  # five standard deviations of 60 calls
    assert v3 == pytest.approx(1 - v2)
    run.send(PAGE, 10, control=True)
    assert probes.arrival_shares("productpage-v1", "reviews", ["v1"], cell="0") == [1.0]
    actions.recover()
    assert connect().get("VirtualService", "default", "reviews")["spec"] == owner["spec"]


def test_shares_as_they_were_are_proven_by_istiods_word(mesh, owner):
    """Nothing can be seen of them, and a proof by requests would be none."""
    proof = actions.shift_traffic("reviews", {"v1": 100, "v2": 0}, source="productpage-v1", url=PAGE)
    assert (proof["by"], proof["live_after"]) == ("sync", None)


def test_a_share_for_one_user_agent_is_for_nobody_else(mesh):
    phone = {"user-agent": "Something Mobile"}
    match = {"headers": {"user-agent": {"regex": ".*Mobile.*"}}}
    actions.shift_traffic("reviews", {"v2": 1}, url=PAGE, match=match, request_headers=phone)
    run = current_run()
    for headers, all_at_v2 in ((phone, True), ({"user-agent": "Something else"}, False)):
        answers = run.send(PAGE, 12, headers=headers)
        sent = {answer.trace_id for answer in answers}
        traces = [trace for trace_id, trace in run.cells()[1].traces.items() if trace_id in sent]
        versions = {
            span.workload.version
            for t in traces
            for span in t.spans
            if (span.kind, span.workload.service) == ("SERVER", "reviews")
        }
        assert (versions == {"v2"}) is all_at_v2, versions


def test_a_subset_that_is_not_there_is_refused_before_anything_is_written(mesh):
    with pytest.raises(errors.NotFound, match=r"no subset v9 of reviews: its DestinationRules have v1, v2, v3"):
        actions.shift_traffic("reviews", {"v9": 1}, url=PAGE)


def copies() -> float:
    """Requests that reviews-v3 got, of whomever, by its own sidecar."""
    return probes.metric('sum(istio_requests_total{reporter="destination",destination_workload="reviews-v3"})')


def test_copies_arrive_and_users_are_served_by_another(mesh):
    if not mesh.env.get("PROMETHEUS_URL"):
        pytest.skip("this lab has no Prometheus")
    actions.mirror_traffic("reviews", "v3", serving_subset="v1", source="productpage-v1", url=PAGE)
    settled = after = copies()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        time.sleep(2)  # two scrapes: what the proof sent is counted
        settled, before = copies(), settled
        if settled == before:
            break
    current_run().send(PAGE, 20)
    while after < settled + 20 and time.monotonic() < deadline:
        time.sleep(0.2)
        after = copies()
    assert after == settled + 20
    assert shares("v1") == [1.0]
    actions.recover()


@pytest.fixture(scope="module")
def rates(tmp_path_factory) -> Iterator[LabUnderTest]:
    """A lab in which prices calls a host outside the mesh."""
    with rates_lab("rates", tmp_path_factory.mktemp("rates")) as lab:
        yield lab


@pytest.mark.parametrize("everything", [False, True])
def test_one_application_cannot_reach_its_host_outside_until_it_is_undone(rates, monkeypatch, everything):
    with run_on(rates, monkeypatch):
        proof = actions.block_egress(HOST, "prices-v1", everything=everything, url="/")
        assert proof["by"] == "traces"
        until_rate(rates, "the last known")
        actions.recover()
        until_rate(rates, "today's")


def test_a_sidecar_of_its_owners_ends_as_it_began(rates, monkeypatch):
    with run_on(rates, monkeypatch):
        client = connect()
        spec = {"workloadSelector": {"labels": {"app": "prices"}}, "egress": [{"hosts": ["./*"]}]}
        meta = {"name": "prices", "namespace": "default"}
        theirs = client.create(
            {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": meta, "spec": spec}
        )
        try:
            proof = actions.block_egress(HOST, "prices-v1", url="/")
            assert proof["objects"] == ["Sidecar default/prices"]
            actions.recover()
            assert client.get("Sidecar", "default", "prices")["spec"] == theirs["spec"]
        finally:
            client.delete("Sidecar", "default", "prices", uid=theirs["metadata"]["uid"])


def test_a_host_that_nobody_declared_is_refused(rates, monkeypatch):
    with run_on(rates, monkeypatch), pytest.raises(errors.NotFound, match=r"sees declares api\.example\.com"):
        actions.block_egress("api.example.com", "prices-v1", url="/")


def ran(lab: LabUnderTest, name: str, folder: Path) -> None:
    done = lab.chaos(
        "--no-version-check", "mesh", "run", str(EXPERIMENTS / f"{name}.yaml"), "--out", str(folder), cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((folder / "journal.json").read_text())["chaosmesh-ext"]["verdict"] == "upheld"


def test_the_experiment_on_egress_holds(rates, tmp_path):
    ran(rates, "prices-egress", tmp_path)


@pytest.fixture(scope="module")
def variants(tmp_path_factory) -> Iterator[LabUnderTest]:
    """A lab whose frontend calls a catalogue in two versions, each of which is a Service of its own too."""
    topology = EXPERIMENTS / "topologies" / "variants.yaml"
    lab = start_lab("variants", tmp_path_factory.mktemp("variants") / "state", "--topology", str(topology))
    try:
        yield lab
    finally:
        stop_lab(lab)


@pytest.mark.parametrize("name", ["catalog-preview", "catalog-httproute"])
def test_the_experiments_on_versions_of_the_catalogue_hold(variants, tmp_path, name):
    ran(variants, name, tmp_path)


@pytest.fixture
def http_route(variants, monkeypatch) -> Iterator[dict]:
    """Somebody's HTTPRoute for the catalogue, with a timeout of its own; it ends as it began."""
    with run_on(variants, monkeypatch):
        client = connect()
        spec = {
            "parentRefs": [{"group": "", "kind": "Service", "name": "catalog"}],
            "rules": [{"backendRefs": [{"name": "catalog-v1", "port": 9080}], "timeouts": {"request": "9s"}}],
        }
        meta = {"name": "catalog", "namespace": "default"}
        obj = client.create(
            {"apiVersion": KINDS["HTTPRoute"].api_version, "kind": "HTTPRoute", "metadata": meta} | {"spec": spec}
        )
        yield obj
        after = client.get("HTTPRoute", "default", "catalog")
        client.delete("HTTPRoute", "default", "catalog", uid=obj["metadata"]["uid"])
        assert after["spec"] == obj["spec"]
        assert not {"labels", "annotations"} & after["metadata"].keys()


def test_a_timeout_beside_an_http_routes_own_ends_slow_calls_of_the_run_alone(http_route):
    """The delay is where calls arrive, behind the timeout; both are met by the run's requests."""
    shown = actions.set_timeout("catalog", timeout=0.3, requests="run", url="/")
    assert (shown["carrier"], shown["objects"]) == ("httproute", ["HTTPRoute default/catalog"])
    late = actions.inject_delay("catalog-v1", 1.0, carrier="inbound", requests="run", url="/")
    assert late["carrier"] == "inbound"
    assert probes.status("/") == 502
    assert probes.response_time("/", quantile=0.5, expected_status=502) < 0.9
    assert probes.status("/", marked=False) == 200
    actions.recover()


def test_behind_an_http_route_what_it_cannot_say_is_refused_and_nothing_is_written(http_route):
    before = connect().get("HTTPRoute", "default", "catalog")
    with pytest.raises(errors.InvalidInput, match="tells no callers apart"):
        actions.set_timeout("catalog", timeout=0.3, source="frontend-v1", url="/")
    with pytest.raises(errors.NotFound, match="no Service v2"):
        actions.shift_traffic("catalog", {"v2": 1}, url="/")
    with pytest.raises(errors.InvalidInput, match="use the EnvoyFilter carrier"):
        actions.inject_abort("catalog", 503, source="frontend-v1", carrier="virtualservice", url="/")
    assert connect().get("HTTPRoute", "default", "catalog")["metadata"] == before["metadata"]


def test_what_istiod_says_against_an_http_route_rolls_the_change_back(http_route):
    """The lab's control plane has no `retry`; a cluster with Gateway API's standard channel does not even keep it."""
    with pytest.raises(errors.NotProven, match=r"does not take HTTPRoute default/catalog: spec.rules\[0\].retry"):
        actions.set_retries("catalog", attempts=3, retry_on="503", url="/")


@pytest.fixture
def entrance(variants, monkeypatch) -> Iterator[dict]:
    """Somebody's Gateway of Gateway API with an HTTPRoute: the shop, and an old address that leads to one version."""
    with run_on(variants, monkeypatch):
        client = connect()
        address = {"type": "Hostname", "value": "istio-ingressgateway.istio-system.svc.cluster.local"}
        listener = {"name": "http", "port": 8080, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
        entry = written(
            "Gateway",
            {"name": "entry", "namespace": "istio-system"},
            {"gatewayClassName": "istio", "addresses": [address], "listeners": [listener]},
        )
        old = {"matches": [{"path": {"type": "PathPrefix", "value": "/old"}}]}
        spec = {
            "parentRefs": [{"name": "entry", "namespace": "istio-system"}],
            "hostnames": ["shop.example"],
            "rules": [
                {**old, "backendRefs": [{"name": "catalog-v1", "port": 9080}]},
                {"backendRefs": [{"name": "frontend", "port": 9080}], "timeouts": {"request": "9s"}},
            ],
        }
        obj = written("HTTPRoute", {"name": "shop", "namespace": "default"}, spec)
        yield obj
        after = client.get("HTTPRoute", "default", "shop")
        client.delete("HTTPRoute", "default", "shop", uid=obj["metadata"]["uid"])
        client.delete("Gateway", "istio-system", "entry", uid=entry["metadata"]["uid"])
        assert after["spec"] == obj["spec"]
        assert not {"labels", "annotations"} & after["metadata"].keys()


def written(kind: str, meta: dict, spec: dict) -> dict:
    obj = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": meta, "spec": spec}
    found: dict = connect().create(obj)
    return found


def test_what_comes_in_by_a_gateway_of_gateway_api_meets_a_timeout_beside_its_routes_own(entrance):
    """The shop waits for a late catalogue, and the gateway no longer for the shop; the other rule is left alone."""
    shop = {"host": "shop.example"}
    actions.inject_delay("catalog", 1.0, source="frontend-v1", requests="run", url="/", request_headers=shop)
    shown = actions.set_timeout(
        "frontend", 0.3, gateway="istio-system/entry", requests="run", url="/", request_headers=shop
    )
    assert (shown["carrier"], shown["objects"], shown["by"]) == ("httproute", ["HTTPRoute default/shop"], "traces")
    rules = connect().get("HTTPRoute", "default", "shop")["spec"]["rules"]
    assert [rule.get("timeouts") for rule in rules] == [None, {"request": "300ms"}, {"request": "9s"}]
    run = current_run()
    assert [one.status for one in run.send("/", headers=shop)] == [504]
    assert [one.status for one in run.send("/", headers=shop, control=True)] == [200]
    actions.recover()
    with pytest.raises(errors.InvalidInput, match="no HTTPRoute of the Gateway istio-system/entry has a rule"):
        actions.set_timeout("catalog", 0.3, gateway="istio-system/entry", url="/", request_headers=shop)
