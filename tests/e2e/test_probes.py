"""The probes on the lab: real sidecars, a real Prometheus; alone, in a steady state, and as guardrails."""

from __future__ import annotations

import json
import time

import pytest
import yaml

from chaosmesh_ext import actions, probes, tolerances
from chaosmesh_ext.lab import tools
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.observe.metrics import await_scrape
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.run import reset_run

PAGE = "/productpage"


@pytest.fixture
def mesh(lab, monkeypatch):
    """The lab, in this process' environment, with a run of its own."""
    if "PROMETHEUS_URL" not in lab.env:
        pytest.skip("this lab has no Prometheus")
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    reset_run()
    looked_at_twice(lab.env["PROMETHEUS_URL"])
    yield lab
    reset_run()


def looked_at_twice(url: str) -> None:
    """Wait until Prometheus has looked at every proxy before: of what it never saw it cannot tell what is new."""
    prometheus, end = Prometheus(url), time.monotonic() + 60
    while (prometheus.scalar("min(sum_over_time(up[1m]))") or 0) < 2 or (prometheus.scalar("count(up)") or 0) < 7:
        assert time.monotonic() < end, prometheus.query("up")
        time.sleep(0.2)


@pytest.fixture
def rule(mesh):
    """Adds to the DestinationRule of a service; it ends as it began."""
    client, before = connect(), {}

    def add(service: str, policy: dict) -> None:
        found = client.get("DestinationRule", "default", service)
        before[service] = found["spec"].get("trafficPolicy")
        found["spec"]["trafficPolicy"] = {**(before[service] or {}), **policy}
        client.replace(found)

    yield add
    for service, policy in before.items():
        found = client.get("DestinationRule", "default", service)
        found["spec"].pop("trafficPolicy", None)
        if policy is not None:
            found["spec"]["trafficPolicy"] = policy
        client.replace(found)


@pytest.fixture
def narrow(rule):
    """One connection, one request waiting, one request a connection: Istio's own example of a circuit breaker."""
    pool = {
        "tcp": {"maxConnections": 1},
        "http": {"http1MaxPendingRequests": 1, "http2MaxRequests": 1, "maxRequestsPerConnection": 1},
    }
    rule("productpage", {"connectionPool": pool})


def test_a_circuit_breaker_is_seen_by_a_load_and_by_the_meshs_counters(mesh, narrow):
    """Fifty requests on four connections: what one connection and one place in the queue cannot hold is refused, UO."""
    found = probes.load(PAGE, count=50, connections=4)
    refused = found["statuses"].get("503", 0)
    assert found["requests"] == found["statuses"].get("200", 0) + refused == 50
    assert refused > 0
    assert found["flags"] == {"UO": refused}
    assert found["headers"]["x-envoy-overloaded"] == refused
    assert tolerances.status_share([503], 0.01, 0.99, value=found)
    counted = probes.overflow("productpage", source="istio-ingressgateway", wait=30)
    assert counted == pytest.approx(refused, rel=0.35)
    assert probes.success_rate("productpage", source="istio-ingressgateway", wait=30) < 1
    assert probes.overflow("productpage", source="istio-ingressgateway", reporter="envoy") > 0
    assert probes.overflow("reviews") == 0


def test_fortio_sees_the_same_circuit_breaker(mesh, narrow):
    try:
        found = probes.load_by_fortio(PAGE, count=50, connections=4)
    except Exception as error:
        if "neither on PATH" in str(error):
            pytest.skip(str(error))
        raise
    assert set(found["statuses"]) == {"200", "503"}
    assert sum(found["statuses"].values()) == 50


def test_what_the_mesh_counts_of_a_call(mesh):
    """What a proxy never counted before must be scraped twice, with calls in between, before there is a rate of it."""
    for _ in range(2):
        probes.load(PAGE, count=10, connections=2, marked=False)
        await_scrape(Prometheus(mesh.env["PROMETHEUS_URL"]), "min(timestamp(up))", 30)
    edge = {"destination": "details", "source": "productpage-v1", "window": 60}
    assert probes.request_rate(**edge) > 0.1
    assert probes.success_rate(**edge) > 0.5
    assert 0 < probes.latency_quantile(**edge, quantile=0.5, response_code="200") < 5
    assert probes.request_rate(**edge, reporter="destination") > 0.1
    assert probes.request_rate(**edge, reporter="envoy") > 0.1


def test_ejections_are_known_where_outliers_are_looked_for(mesh, rule):
    rule("details", {"outlierDetection": {"consecutive5xxErrors": 3, "interval": "1s", "baseEjectionTime": "3s"}})
    probes.load(PAGE, count=4, connections=2, marked=False)
    assert probes.ejections("details", source="productpage-v1", wait=30) == 0


def test_a_fault_is_seen_against_the_control_and_against_the_time_before(mesh):
    query = 'sum(rate(istio_requests_total{reporter="source",response_flags=~".*FI.*"}[3s])) or vector(0)'
    assert probes.metric(query) == 0
    actions.inject_abort("details", 503, source="productpage-v1", url=PAGE)
    found = probes.against_control(PAGE, count=3)
    assert found["statuses"] == found["control_statuses"] == {"200": 3}
    assert "Book Details" in found["lost"]
    assert not tolerances.like_control(value=found)
    assert tolerances.like_control(sections=False, value=found)
    probes.load(PAGE, duration=6, rate=10, connections=4)
    seen = probes.compare(query, length=5)
    assert seen["before"]["mean"] == 0
    assert tolerances.changed_at_least(number=0.5, value=seen)
    assert not tolerances.changed_at_most(number=0.5, value=seen)
    actions.recover()


def test_every_proxy_of_the_lab_is_in_sync_and_every_workload_has_one(mesh):
    found = probes.proxies_in_sync(wait=30)
    assert found["in_sync"], found
    assert found["by"] == "istiod"
    assert set(found["proxies"].values()) == {"SYNCED"}
    assert len(found["proxies"]) >= 6
    assert tolerances.one_of(["sidecar"], value=probes.injected_or_ambient())


def test_probes_hold_a_steady_state_and_stop_a_run_as_guardrails(mesh, tmp_path):
    """By `chaos`, as people write them: a hypothesis with our tolerances, and a guardrail that is crossed."""

    def probe(name: str, func: str, arguments: dict, tolerance: dict) -> dict:
        python = {"type": "python", "module": "chaosmesh_ext.probes", "func": func, "arguments": arguments}
        judge = {"type": "python", "module": "chaosmesh_ext.tolerances", **tolerance}
        return {
            "type": "probe",
            "name": name,
            "provider": python,
            "tolerance": {"type": "probe", "name": name, "provider": judge},
        }

    few = {"func": "at_least", "arguments": {"lower": 0.99}}
    edge = {"destination": "details", "source": "productpage-v1", "window": 5}
    load = probe(
        "load",
        "load",
        {"url": PAGE, "count": 10},
        {"func": "status_share", "arguments": {"statuses": [200], "lower": 1.0}},
    )
    synced = probe("synced", "proxies_in_sync", {"wait": 10}, {"func": "in_sync"})
    inject = {"source": "productpage-v1", "destination": "details", "http_status": 503, "url": PAGE}
    provider = {"type": "python", "module": "chaosmesh_ext.actions", "func": "inject_abort", "arguments": inject}
    more = {
        "type": "python",
        "module": "chaosmesh_ext.probes",
        "func": "response_time",
        "arguments": {"url": PAGE, "duration": 60},
    }
    rail = {**probe("details-answers", "success_rate", edge, few), "on_error": "ignore"}
    made = {
        "title": "guarded by a probe",
        "description": "the mesh's own success rate ends it",
        "configuration": {n: {"type": "env", "key": n.upper()} for n in ("app_url", "jaeger_url", "prometheus_url")},
        "controls": [
            {
                "name": "chaosmesh-ext",
                "provider": {"type": "python", "module": "chaosmesh_ext.controls", "arguments": {"guardrails": [rail]}},
            }
        ],
        "runtime": {"rollbacks": {"strategy": "always"}},
        "steady-state-hypothesis": {"title": "well", "probes": [load, synced]},
        "method": [
            {"type": "action", "name": "break", "provider": provider},
            {"type": "probe", "name": "pages", "provider": more},
        ],
    }
    file = tmp_path / "guarded.yaml"
    file.write_text(yaml.safe_dump(made))
    done = mesh.chaos("mesh", "run", str(file), "--out", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    journal = json.loads((tmp_path / "out" / "journal.json").read_text())
    assert [each["tolerance_met"] for each in journal["steady_states"]["before"]["probes"]] == [True, True]
    assert any("the guardrail details-answers was crossed" in line for line in journal["chaosmesh-ext"]["problems"])


@pytest.mark.skipif(tools.find("istioctl") is None, reason="istioctl is not built: chaos mesh lab tools --only istiod")
def test_istioctl_says_of_the_small_lab_what_is_wrong_in_it(mesh):
    """The embedded API serves every kind that istioctl waits for: a broken route is named, in seconds, and nothing else."""
    own = ["IST0102", "IST0133"]  # nothing is injected here, and the lab's own patches are EnvoyFilters
    assert probes.istioctl_analyze(ignore=own) == []
    client = connect()
    route = {"route": [{"destination": {"host": "ratings", "subset": "v9"}}]}
    meta = {"name": "nowhere", "namespace": "default"}
    broken = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta}
    made = client.create({**broken, "spec": {"hosts": ["nowhere.default.svc.cluster.local"], "http": [route]}})
    try:
        [said] = probes.istioctl_analyze(ignore=own)
    finally:
        client.delete("VirtualService", "default", "nowhere", uid=made["metadata"]["uid"])
    assert (said["code"], said["level"], said["origin"]) == ("IST0101", "Error", "VirtualService default/nowhere")
