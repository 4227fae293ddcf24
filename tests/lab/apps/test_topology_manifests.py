"""A topology becomes the objects that a person would have written for it."""

from __future__ import annotations

import json

import pytest

from chaosmesh_ext.lab.apps import image_app
from chaosmesh_ext.lab.apps.topology import load_topology, manifests
from chaosmesh_ext.model.topology import parse_topology
from chaosmesh_ext.settings import shipped

TEXT = """
apiVersion: chaosmesh-ext/v1alpha1
kind: Topology
metadata: {name: mixed}
spec:
  entry: web
  services:
  - name: web
    port: 8000
    versions:
    - {name: v1, replicas: 3, calls: [{to: details}, {to: tool}]}
    - {name: v2}
  - name: details
    versions: [{name: v1, app: bookinfo-details}]
  - name: tool
    port: 7000
    versions:
    - name: v1
      run: {command: [python3, -m, http.server], env: {MODE: fast}}
"""


@pytest.fixture
def objects():
    return {(o["kind"], o["metadata"]["name"]): o for o in manifests(parse_topology(TEXT))}


def container(objects, name):
    (only,) = objects["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return only


def test_each_version_is_a_deployment_behind_its_service(objects):
    assert set(objects) == {
        ("Service", "web"), ("Service", "details"), ("Service", "tool"),
        ("ServiceAccount", "mixed-web"), ("ServiceAccount", "mixed-details"), ("ServiceAccount", "mixed-tool"),
        ("Deployment", "web-v1"), ("Deployment", "web-v2"), ("Deployment", "details-v1"), ("Deployment", "tool-v1"),
        ("DestinationRule", "web"), ("Gateway", "mixed-gateway"), ("VirtualService", "mixed"),
    }  # fmt: skip
    web = objects["Deployment", "web-v1"]["spec"]
    assert web["replicas"] == 3
    assert web["template"]["metadata"]["labels"] == web["selector"]["matchLabels"] == {"app": "web", "version": "v1"}
    assert web["template"]["spec"]["serviceAccountName"] == "mixed-web"
    assert objects["Service", "web"]["spec"] == {"ports": [{"name": "http", "port": 8000}], "selector": {"app": "web"}}
    assert container(objects, "web-v1")["ports"] == [{"containerPort": 8000}]


def test_the_gateway_sends_everything_to_the_entry(objects):
    spec = objects["VirtualService", "mixed"]["spec"]
    assert (spec["hosts"], spec["gateways"]) == (["*"], ["mixed-gateway"])
    assert spec["http"] == [{"route": [{"destination": {"host": "web", "port": {"number": 8000}}}]}]
    assert objects["Gateway", "mixed-gateway"]["spec"]["servers"][0]["port"]["number"] == 8080


def test_a_service_with_several_versions_has_a_subset_for_each(objects):
    assert objects["DestinationRule", "web"]["spec"] == {
        "host": "web",
        "subsets": [{"name": v, "labels": {"version": v}} for v in ("v1", "v2")],
    }


def test_each_kind_of_program_is_told_what_to_do(objects):
    (env,) = container(objects, "web-v1")["env"]
    assert json.loads(env["value"])["ports"] == {"details": 9080, "tool": 7000}
    assert image_app(container(objects, "details-v1")["image"]) == "bookinfo-details"
    tool = container(objects, "tool-v1")
    assert image_app(tool["image"]) == "command"
    assert tool["command"] == ["python3", "-m", "http.server"]
    assert {e["name"]: e["value"] for e in tool["env"]} == {
        "MODE": "fast", "CHAOSMESH_LAB_COMMAND": '["python3","-m","http.server"]',
    }  # fmt: skip


@pytest.mark.parametrize("file", sorted((shipped("experiments") / "topologies").glob("*.yaml")), ids=lambda f: f.name)
def test_every_topology_that_ships_can_be_run(file):
    topology = load_topology(file)
    names = [(o["kind"], o["metadata"]["name"]) for o in manifests(topology)]
    assert len(names) == len(set(names))
    assert all(image_app(o["spec"]["template"]["spec"]["containers"][0]["image"])
               for o in manifests(topology) if o["kind"] == "Deployment")  # fmt: skip


def test_a_service_that_speaks_grpc_says_so_in_its_ports():
    """Istio goes by the Service's port; a sidecar of the lab's real control plane by the container's."""
    text = f"{TEXT}  - {{name: rpc, protocol: grpc}}\n".replace("{to: tool}]", "{to: tool}, {to: rpc, path: /a.B/C}]")
    found = {(o["kind"], o["metadata"]["name"]): o for o in manifests(parse_topology(text))}
    assert found["Service", "rpc"]["spec"]["ports"] == [{"name": "grpc", "port": 9080}]
    assert container(found, "rpc-v1")["ports"] == [{"containerPort": 9080, "name": "grpc"}]
    assert image_app(container(found, "rpc-v1")["image"]) == "grpc-service"
    (env,) = container(found, "rpc-v1")["env"]
    assert json.loads(env["value"])["methods"] == ["/a.B/C", "/chaosmesh.Echo/Call"]
    (env,) = container(found, "web-v1")["env"]
    assert json.loads(env["value"])["grpc"] == ["rpc"]
