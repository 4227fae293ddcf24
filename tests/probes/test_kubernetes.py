"""Probes of the cluster, against a real Kubernetes API with Pods whose istiod is a server that says what istiod said."""

from __future__ import annotations

import json
import random
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from allowed import caller, namespace
from api_server import ApiServer

from chaosmesh_ext import probes
from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable
from chaosmesh_ext.mesh.sync import states
from chaosmesh_ext.run import reset_run

SAID = json.loads((Path(__file__).parents[1] / "data" / "istiod" / "syncz.json").read_text())
"""What a real istiod 1.31 says at /debug/syncz."""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    server = ApiServer()
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(server.kube.kubeconfig()))
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setenv("KUBERNETES_CONTEXT", "")
    reset_run()

    def put(*objs):
        for obj in objs:
            server.apply(obj)
            if obj.get("status"):
                server.call(server.kube.patch_status(obj, obj["status"]))

    put(namespace(), namespace("istio-system"))
    server.put = put
    yield server
    server.stop()


@pytest.fixture
def istiod():
    """Several istiods, each at a loopback address of its own, on the port that istiod has."""
    running = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = self.server.says
            data = json.dumps(body).encode()
            self.send_response(status if self.path == "/debug/syncz" else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    def start(host: str, said: object, status: int = 200):
        server = ThreadingHTTPServer((host, 15014), Handler)
        server.says = (status, said)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def istiod_pod(name: str, ip: str) -> dict:
    pod = caller(name, {"app": "istiod"}, sidecar=False, namespace="istio-system")
    pod["metadata"]["namespace"] = "istio-system"
    pod["status"] |= {"podIP": ip, "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": "True"}]}
    return pod


def entry(pod: str, **more: str) -> dict:
    whole = {
        f"{kind}_{what}": "v1" for kind in ("cluster", "listener", "route", "endpoint") for what in ("sent", "acked")
    }
    return {"proxy": f"{pod}.default", "proxy_type": "sidecar", **whole, **more}


@pytest.fixture
def free_addresses():
    """Finds a loopback address where nobody has istiod's port."""

    def find() -> str:
        while True:
            address = f"127.{random.randint(64, 254)}.{random.randint(1, 254)}.9"
            with socket.socket() as trial:
                try:
                    trial.bind((address, 15014))
                except OSError:
                    continue
            return address

    return find


@pytest.fixture
def host(free_addresses):
    return free_addresses()


# --- proxies in sync --------------------------------------------------------------------------------------------------


def test_what_a_real_istiod_said_is_understood():
    found = states(SAID)
    assert len(found) == 7
    assert set(found.values()) == {"SYNCED"}


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "SYNCED"),
        ({"route_acked": "v0"}, "STALE"),
        ({"listener_acked": ""}, "STALE"),
        ({"route_sent": "", "route_acked": ""}, "SYNCED"),
        (
            {f"{kind}_{w}": "" for kind in ("cluster", "listener", "route", "endpoint") for w in ("sent", "acked")},
            "NOT SENT",
        ),
        ({"resources": {"a/envoy.config.route.v3.RouteConfiguration": {"lastError": "no\nsuch"}}}, None),
    ],
)
def test_a_proxys_state(more, state):
    refused = "REFUSED a/envoy.config.route.v3.RouteConfiguration".rpartition(".")[2]
    assert states([entry("a", **more)]) == {"a.default": state or f"REFUSED {refused}: no such"}


@pytest.mark.parametrize("nonsense", [None, {}, "x", [1], [{"name": "a"}]])
def test_what_is_no_istiod_is_not_believed(nonsense):
    with pytest.raises(Unreachable, match="no istiod"):
        states(nonsense)


def test_istiod_is_asked_through_the_api_server(cluster, istiod, host):
    cluster.put(caller("page-1", {"app": "page"}), istiod_pod("istiod-1", host))
    istiod(host, [entry("page-1"), entry("elsewhere-1") | {"proxy": "elsewhere-1.other"}])
    found = probes.proxies_in_sync()
    assert (found["by"], found["in_sync"]) == ("istiod", True)
    assert found["proxies"] == {"page-1.default": "SYNCED"}
    assert "API server's pod proxy" in found["how"]


def test_each_istiod_knows_only_its_own_proxies(cluster, istiod, free_addresses):
    """With two of them, whichever a Service chose would not know half of the mesh."""
    one, two = free_addresses(), free_addresses()
    cluster.put(caller("page-1", {}), caller("page-2", {}), istiod_pod("istiod-1", one), istiod_pod("istiod-2", two))
    istiod(one, [entry("page-1")])
    istiod(two, [entry("page-2", route_acked="v0")])
    found = probes.proxies_in_sync()
    assert found["proxies"] == {"page-1.default": "SYNCED", "page-2.default": "STALE"}
    assert (found["in_sync"], found["late"]) == (False, ["page-2.default"])


def test_a_sidecar_that_istiod_does_not_know_is_not_in_sync(cluster, istiod, host):
    cluster.put(caller("page-1", {}), caller("page-2", {}), istiod_pod("istiod-1", host))
    istiod(host, [entry("page-1")])
    assert probes.proxies_in_sync()["proxies"]["page-2.default"] == "NOT CONNECTED"


def test_waiting_ends_when_they_are_in_sync(cluster, istiod, host):
    cluster.put(caller("page-1", {}), istiod_pod("istiod-1", host))
    server = istiod(host, [entry("page-1", route_acked="v0")])
    assert not probes.proxies_in_sync(wait=0.3)["in_sync"]
    later = threading.Timer(0.3, lambda: setattr(server, "says", (200, [entry("page-1")])))
    later.start()
    assert probes.proxies_in_sync(wait=20)["in_sync"]
    later.join()


def test_without_an_istiod_the_pods_are_asked_and_it_says_so(cluster):
    cluster.put(caller("page-1", {}), caller("page-2", {}, ready=False), caller("plain-1", {}, sidecar=False))
    found = probes.proxies_in_sync()
    assert found["by"] == "readiness"
    assert "istiod could not be asked: no pod with the label app=istiod" in found["how"]
    assert found["proxies"] == {"page-1.default": "READY", "page-2.default": "NOT READY"}


def test_an_istiod_that_refuses_leaves_the_pods_word(cluster, istiod, host):
    """Istiod's debug endpoints are for who comes from its own pod, unless it is told otherwise."""
    cluster.put(caller("page-1", {}), istiod_pod("istiod-1", host))
    istiod(host, {"error": "Authentication failed"}, status=401)
    found = probes.proxies_in_sync()
    assert found["by"] == "readiness"


def test_istiods_address_may_be_given(cluster, istiod, host):
    cluster.put(caller("page-1", {}))
    istiod(host, [entry("page-1")])
    found = probes.proxies_in_sync(istiod_url=f"http://{host}:15014/")
    assert (found["by"], found["in_sync"]) == ("istiod", True)
    with pytest.raises(Unreachable, match="istiod_url"):
        probes.proxies_in_sync(istiod_url="http://127.0.0.1:9")


def test_no_proxy_at_all_is_no_data(cluster):
    with pytest.raises(Inconclusive, match="no data"):
        probes.proxies_in_sync()


# --- how workloads are in the mesh ------------------------------------------------------------------------------------


def pod_of(workload: str, **more) -> dict:
    made = {"kind": "ReplicaSet", "apiVersion": "apps/v1", "name": f"{workload}-abc12", "uid": "1", "controller": True}
    labels = {"app": workload.partition("-")[0], "pod-template-hash": "abc12", **more.pop("labels", {})}
    return caller(f"{workload}-abc12-{more.pop('end', 'x')}", labels, ownerReferences=[made], **more)


def test_modes_are_told_by_workload(cluster):
    cluster.put(
        pod_of("page-v1"),
        pod_of("details-v1", native=True),
        pod_of("plain-v1", sidecar=False),
        pod_of("ambient-v1", sidecar=False, labels={"istio.io/dataplane-mode": "ambient"}),
        pod_of("ztunnel-v1", sidecar=False, annotations={"ambient.istio.io/redirection": "enabled"}),
        pod_of("gateway-v1", labels={"istio": "ingressgateway"}),
        caller("alone", {"app": "alone"}),
    )
    assert probes.injected_or_ambient() == {
        "alone": "sidecar",
        "ambient-v1": "ambient",
        "details-v1": "sidecar",
        "page-v1": "sidecar",
        "plain-v1": "none",
        "ztunnel-v1": "ambient",
    }
    assert probes.injected_or_ambient(workload="plain-v1") == {"plain-v1": "none"}


def test_pods_of_a_workload_that_differ_are_told(cluster):
    """A Deployment that was not restarted since injection was turned on."""
    cluster.put(pod_of("page-v1"), pod_of("page-v1", end="y", sidecar=False))
    assert probes.injected_or_ambient() == {"page-v1": "none and sidecar"}


def test_a_namespace_in_ambient_mode_with_and_without_a_waypoint(cluster):
    labels = {"chaosmesh-ext/allow": "true", "istio.io/dataplane-mode": "ambient"}
    cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": labels}})
    cluster.put(
        pod_of("page-v1", sidecar=False),
        pod_of("details-v1", sidecar=False),
        pod_of("out-v1", sidecar=False, labels={"istio.io/dataplane-mode": "none"}),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "details", "namespace": "default", "labels": {"istio.io/use-waypoint": "waypoint"}},
            "spec": {"selector": {"app": "details"}, "ports": [{"name": "http", "port": 9080}]},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "waypoint", "namespace": "default"},
            "spec": {
                "gatewayClassName": "istio-waypoint",
                "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
            },
        },
    )
    assert probes.injected_or_ambient() == {
        "details-v1": "ambient with waypoint",
        "out-v1": "none",
        "page-v1": "ambient",
    }


def test_a_workload_that_does_not_run_is_no_data(cluster):
    cluster.put(pod_of("page-v1"))
    with pytest.raises(Inconclusive, match="no pod of details-v1 runs in default, where there is page-v1"):
        probes.injected_or_ambient(workload="details-v1")
    with pytest.raises(Inconclusive, match="no pod runs in other"):
        probes.injected_or_ambient(namespace="other")


# --- istioctl ---------------------------------------------------------------------------------------------------------


def istioctl(folder: Path, script: str) -> str:
    program = folder / "istioctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return str(program)


def test_istioctls_messages_count_and_not_its_exit_code(cluster, tmp_path):
    """It exits with 79 where it found errors."""
    said = json.dumps([{"code": "IST0101", "level": "Error", "message": "m", "origin": "o", "documentationUrl": "u"}])
    program = istioctl(tmp_path, f"echo '{said}'; exit 79")
    assert probes.istioctl_analyze(program=program) == [
        {"code": "IST0101", "level": "Error", "message": "m", "origin": "o"}
    ]
    assert probes.istioctl_analyze(program=program, ignore=["IST0101"]) == []


def test_istioctl_is_told_which_cluster_and_namespace(cluster, tmp_path):
    program = istioctl(tmp_path, f'echo "$KUBECONFIG $*" >> {tmp_path}/told; echo "[]"')
    assert probes.istioctl_analyze(program=program) == []
    assert probes.istioctl_analyze("*", program=program) == []
    first, second = (tmp_path / "told").read_text().splitlines()
    assert first == f"{tmp_path / 'kubeconfig'} analyze --output json -n default"
    assert second.endswith("analyze --output json -A")


@pytest.mark.parametrize("script", ["echo 'Error: no cluster' >&2; exit 1", "echo hello", "true"])
def test_an_istioctl_that_says_no_list_has_found_nothing_out(cluster, tmp_path, script):
    """An empty list is well; no list is not."""
    with pytest.raises(Inconclusive, match="gave no list"):
        probes.istioctl_analyze(program=istioctl(tmp_path, script))


def test_without_istioctl_it_is_said_where_to_get_one(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CHAOSMESH_TOOLS", str(tmp_path))
    reset_run()
    with pytest.raises(InvalidInput, match="neither on PATH nor in"):
        probes.istioctl_analyze()
    with pytest.raises(InvalidInput, match="ignore"):
        probes.istioctl_analyze(ignore="IST0133")
