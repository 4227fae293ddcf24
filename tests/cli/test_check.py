"""`chaos mesh check` on a real API: each question, what is wrong, what to do next, and the exit code."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml
from allowed import as_lab, caller, namespace
from api_server import ApiServer
from click.testing import CliRunner

from chaosmesh_ext.cli import mesh
from chaosmesh_ext.mesh import Client
from chaosmesh_ext.mesh.lease import time_text

PAGE = {"app": "productpage", "version": "v1"}


def istiod(version: str, ready: int = 1, **env: str) -> dict[str, Any]:
    container = {"name": "discovery", "image": f"docker.io/istio/pilot:{version}"}
    container["env"] = [{"name": name, "value": value} for name, value in env.items()]
    template = {"metadata": {"labels": {"app": "istiod"}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "istiod",
            "namespace": "istio-system",
            "labels": {"app": "istiod", "istio.io/rev": "stable"},
        },
        "spec": {"selector": {"matchLabels": {"app": "istiod"}}, "template": template},
        "status": {"readyReplicas": ready},
    }


def janitor() -> dict[str, Any]:
    spec = {"holderIdentity": "pod-1", "leaseDurationSeconds": 3600, "renewTime": time_text(time.time())}
    meta = {"name": "chaosmesh-janitor", "namespace": "chaosmesh-system"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 9080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


class Cluster:
    def __init__(self) -> None:
        self.server = ApiServer()

    def put(self, *objs: dict[str, Any]) -> None:
        for obj in objs:
            self.server.apply(obj)
            if obj.get("status"):
                self.server.call(self.server.kube.patch_status(obj, obj["status"]))

    def check(self, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
        done = CliRunner().invoke(mesh, ["check", "--json", *words])
        said = json.loads(done.stdout)
        assert said["exit_code"] == done.exit_code
        return done.exit_code, {one["name"]: one for one in said["checks"]}


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Iterator[Cluster]:
    """A cluster with Istio 1.27 and a janitor, where default allows faults; neither application nor telemetry is known."""
    there = Cluster()
    there.put(namespace(), namespace("chaosmesh-system"), janitor(), istiod("1.27.1"), service("details"))
    there.put(caller("page-1", PAGE))
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(there.server.kube.kubeconfig()))
    monkeypatch.setenv("KUBECONFIG", str(file))
    for name in ("APP_URL", "JAEGER_URL", "PROMETHEUS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield there
    there.server.stop()


def test_where_all_is_well_a_run_would_begin(cluster):
    code, found = cluster.check()
    assert code == 0, found
    assert "1.27.1 (stable); supported are 1.22 to 1.31" in found["Istio"]["found"]
    assert found["default: mode"]["found"] == "sidecar: of 1 pods 1 with a sidecar"
    assert found["default: carrier"]["found"].startswith("envoyfilter (")
    assert found["janitor"]["ok"]
    assert [found[name]["ok"] for name in ("Jaeger", "Prometheus", "marked request")] == [None] * 3


def test_for_people_it_is_one_line_a_check_with_what_next(cluster):
    cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {}}})
    done = CliRunner().invoke(mesh, ["check"])
    assert done.exit_code == 2
    lines = done.stdout.splitlines()
    assert {line[0] for line in lines} == {"✓", "✗", "–"}
    assert any(line.startswith("✗ default: faults allowed: ") and "kubectl label" in line for line in lines)
    assert any(line.startswith("– Jaeger: ") and "→ set JAEGER_URL" in line for line in lines)


@pytest.mark.parametrize(
    ("obj", "name", "words", "code"),
    [
        (istiod("1.20.3"), "Istio", "1.20.3 (stable): supported are 1.22", 3),
        (istiod("1.27.1", ready=0), "Istio", "not ready", 2),
        (istiod("1.27.1", CLUSTER_ID="east", EXTERNAL_ISTIOD="true"), "Istio", "cluster east of several; other", 0),
        (caller("page-1", PAGE, ready=False), "default: mode", "not ready: page-1", 0),
        (namespace(istio_io__rev="asm-managed"), "default: carrier", "asm-managed does not read it", 0),
    ],
)
def test_what_stands_in_the_way_is_said(cluster, obj, name, words, code):
    cluster.put(obj)
    exit_code, found = cluster.check()
    assert words in found[name]["found"]
    assert exit_code == code, found


def test_a_halt_and_a_janitor_that_is_gone_refuse_runs(cluster):
    meta = {"name": "chaosmesh-halt", "namespace": "chaosmesh-system"}
    cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"by": "ann", "reason": "sale"}})
    code, found = cluster.check()
    assert code == 2
    assert "halted by ann" in found["halt"]["found"]
    cluster.server.call(cluster.server.kube.delete("Lease", "chaosmesh-system", "chaosmesh-janitor"))
    assert "absent" in cluster.check()[1]["janitor"]["found"]
    cluster.put(*as_lab())
    assert cluster.check()[1]["janitor"]["ok"] is None


def test_each_permission_that_is_lacking_is_named(cluster, monkeypatch):
    may = Client.may
    lacking: set[tuple[str, str]] = set()

    def without(self: Client, verb: str, kind: str, *rest: str) -> bool:
        return (verb, kind) not in lacking and may(self, verb, kind, *rest)

    monkeypatch.setattr(Client, "may", without)
    lacking |= {("create", "EnvoyFilter"), ("list", "Rollout")}
    code, found = cluster.check()
    assert (code, found["default: permissions"]["ok"]) == (0, None)
    assert "create EnvoyFilter" in found["default: permissions"]["found"]
    assert found["default: carrier"]["found"] == "virtualservice (envoyfilter: may not create EnvoyFilter)"
    lacking |= {("patch", "VirtualService"), ("delete", "Lease")}
    code, found = cluster.check()
    assert code == 3
    assert found["default: permissions"]["found"].startswith("lacking: ")
    assert "delete Lease" in found["default: permissions"]["found"]
    assert found["default: carrier"]["found"].startswith("none: ")
    assert found["default: other faults"]["ok"]


@pytest.mark.parametrize(
    ("setting", "lack", "carrier", "code"),
    [
        ("auto", ("patch", "DestinationRule"), "envoyfilter", 0),
        ("destinationrule", ("patch", "DestinationRule"), "envoyfilter", 0),
        ("inbound", ("create", "Sidecar"), "inbound (as set)", 0),
        ("inbound", ("create", "EnvoyFilter"), "none: inbound: may not create EnvoyFilter", 3),
    ],
)
def test_what_carries_a_delay_and_what_carries_other_faults_are_two_lines(
    cluster, monkeypatch, setting, lack, carrier, code
):
    may = Client.may
    monkeypatch.setenv("CHAOSMESH_CARRIER", setting)
    monkeypatch.setattr(
        Client, "may", lambda self, verb, kind, *rest: (verb, kind) != lack and may(self, verb, kind, *rest)
    )
    exit_code, found = cluster.check()
    assert exit_code == code, found
    assert found["default: carrier"]["found"].startswith(carrier)
    others = found["default: other faults"]
    if lack[1] == "EnvoyFilter":
        assert (others["ok"], others["found"]) == (True, "httproute, destinationrule, policy: all that they need")
    else:
        assert others["ok"] is None
        assert " ".join(lack) in others["found"]


def test_an_experiment_is_rehearsed_in_its_own_namespaces(cluster, tmp_path):
    template = {"metadata": {"labels": PAGE}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    meta = {"name": "productpage-v1", "namespace": "default"}
    spec = {"selector": {"matchLabels": PAGE}, "template": template}
    cluster.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    cluster.put(caller("details-1", {"app": "details"}))
    arguments = {"source": "productpage-v1", "destination": "details", "http_status": 503}
    provider = {"type": "python", "module": "chaosmesh_ext.actions", "func": "inject_abort", "arguments": arguments}
    experiment = {
        "title": "t",
        "description": "d",
        "method": [{"type": "action", "name": "break", "provider": provider}],
    }
    (tmp_path / "experiment.json").write_text(json.dumps(experiment))
    code, found = cluster.check("experiment.json")
    assert code == 0, found
    assert "productpage-v1 → details by envoyfilter" in found["break"]["found"]
    arguments["destination"] = "nothing"
    (tmp_path / "experiment.json").write_text(json.dumps(experiment))
    code, found = cluster.check("experiment.json")
    assert (code, "no service nothing" in found["break"]["found"]) == (2, True)


def test_two_trace_stores_are_refused(cluster, monkeypatch):
    for name in ("ZIPKIN_URL", "TEMPO_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    done = CliRunner().invoke(mesh, ["check"])
    assert done.exit_code == 2
    assert done.output.strip().splitlines() == [
        "Error: ZIPKIN_URL and TEMPO_URL are set: leave the one whose store has the mesh's traces"
    ]


def test_what_cannot_be_reached_is_said_and_nothing_more_is_asked(cluster, tmp_path, monkeypatch):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        for name in ("APP_URL", "JAEGER_URL", "PROMETHEUS_URL"):
            monkeypatch.setenv(name, url)
        code, found = cluster.check()
    assert code == 3
    assert all(found[name]["ok"] is False for name in ("Jaeger", "Prometheus", "marked request"))
    cluster.server.stop()
    try:
        code, found = cluster.check()
        assert code == 3
        assert "does not answer" in found["Kubernetes API"]["found"]
        assert "Istio" not in found
    finally:
        cluster.server = ApiServer()
