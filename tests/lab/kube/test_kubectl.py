"""The real kubectl, as people have it, on the lab's API."""

import json
import os
import shutil
import subprocess

import pytest
import yaml


@pytest.fixture
def manifest(tmp_path):
    def write(*objects):
        path = tmp_path / "manifest.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        return str(path)

    return write


SETTINGS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}


def test_apply_creates_then_leaves_unchanged_then_configures(kubectl, manifest, virtual_service, deployment):
    path = manifest(virtual_service(), deployment(), SETTINGS)
    names = ["virtualservice.networking.istio.io/details", "deployment.apps/details-v1", "configmap/settings"]
    assert kubectl("apply", "-f", path).splitlines() == [f"{name} created" for name in names]
    assert kubectl("apply", "-f", path).splitlines() == [f"{name} unchanged" for name in names]
    changed = [
        {**virtual_service(), "spec": {"hosts": ["x"]}},
        deployment(replicas=2),
        {**SETTINGS, "data": {"b": "2"}},
    ]
    assert kubectl("apply", "-f", manifest(*changed)).splitlines() == [f"{name} configured" for name in names]
    assert json.loads(kubectl("get", "cm", "settings", "-o", "json"))["data"] == {"b": "2"}
    assert kubectl("get", "vs", "details", "-o", "jsonpath={.spec}") == '{"hosts":["x"]}'


def test_apply_of_a_container_keeps_what_others_added_to_it(kubectl, manifest, deployment):
    """Strategic merge: kubectl's own tables know the merge keys, and so do ours."""
    kubectl("apply", "-f", manifest(deployment()))
    kubectl("set", "env", "deployment/details-v1", "ADDED=by-hand")
    newer = deployment()
    newer["spec"]["template"]["spec"]["containers"][0]["image"] = "details:2"
    kubectl("apply", "-f", manifest(newer))
    containers = json.loads(kubectl("get", "deploy", "details-v1", "-o", "json"))["spec"]["template"]["spec"][
        "containers"
    ]
    assert [(one["image"], one["env"]) for one in containers] == [
        ("details:2", [{"name": "ADDED", "value": "by-hand"}])
    ]


def test_get_prints_the_columns_that_people_know(kubectl, api, manifest, virtual_service, deployment, pod):
    kubectl("apply", "-f", manifest(virtual_service(), deployment()))
    status = {
        "phase": "Running",
        "podIP": "127.80.1.1",
        "containerStatuses": [{"name": "details", "ready": True, "restartCount": 1, "image": "", "imageID": ""}],
    }
    api.call(api.kube.create({**pod(app="details"), "status": status}))

    def table(*arguments):
        return [line.split() for line in kubectl("get", *arguments).splitlines()]

    assert table("pods")[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert table("pods", "-l", "app=details")[1][:4] == ["details-v1-abc", "1/1", "Running", "1"]
    assert "127.80.1.1" in table("pods", "-o", "wide")[1]
    assert table("pods", "-A")[0][0] == "NAMESPACE"
    assert table("vs")[0] == ["NAME", "GATEWAYS", "HOSTS", "AGE"]
    assert table("vs")[1][:2] == ["details", '["details"]']
    assert table("deploy")[1][:4] == ["details-v1", "0/1", "0", "0"]
    assert kubectl("get", "pods", "--field-selector", "status.phase=Pending") == ""
    assert kubectl("get", "pods,vs", "-o", "name", "--sort-by", "metadata.name").split() == [
        "virtualservice.networking.istio.io/details",
        "pod/details-v1-abc",
    ]


def test_patch_in_its_three_kinds(kubectl, manifest, virtual_service):
    kubectl("apply", "-f", manifest(virtual_service(), SETTINGS))
    kubectl("patch", "vs", "details", "--type=merge", "-p", '{"spec": {"gateways": ["mesh"]}}')
    kubectl("patch", "vs", "details", "--type=json", "-p", '[{"op": "remove", "path": "/spec/http"}]')
    assert json.loads(kubectl("get", "vs", "details", "-o", "json"))["spec"] == {
        "hosts": ["details"],
        "gateways": ["mesh"],
    }
    kubectl("patch", "cm", "settings", "-p", '{"data": {"b": "2"}}')
    assert json.loads(kubectl("get", "cm", "settings", "-o", "json"))["data"] == {"a": "1", "b": "2"}
    refused = kubectl("patch", "vs", "details", "-p", '{"spec": {}}', fails=True)
    assert "the body of the request was in an unknown format" in refused


def test_describe_shows_the_events(kubectl, api, manifest, virtual_service, deployment, pod):
    """How a user learns which field of theirs the lab refuses."""
    kubectl("apply", "-f", manifest(virtual_service(), deployment(), pod()))
    for kind, name in (("VirtualService", "details"), ("Pod", "details-v1-abc"), ("Deployment", "details-v1")):
        about = api.call(api.kube.get(kind, "default", name))
        api.call(api.kube.record(about, "Refused", "spec.http[0].corsPolicy is not implemented"))
        shown = kubectl("describe", kind.lower(), name)
        assert "Refused" in shown
        assert "spec.http[0].corsPolicy is not implemented" in shown
    assert "virtualservice/details" in kubectl("get", "events")


def test_delete_waits_until_it_is_gone(kubectl, manifest, virtual_service, pod):
    path = manifest(virtual_service(), pod())
    kubectl("apply", "-f", path)
    assert kubectl("delete", "-f", path).splitlines()[0] == 'virtualservice.networking.istio.io "details" deleted'
    assert "NotFound" in kubectl("get", "vs", "details", fails=True)
    assert kubectl("delete", "vs", "--all") == "No resources found\n"


def test_a_watch_prints_changes_as_they_come(kubectl, api, virtual_service):
    environ = {**os.environ, "KUBECONFIG": str(api.kubeconfig)}
    api.call(api.kube.create(virtual_service()))
    command = [shutil.which("kubectl"), "get", "vs", "-w", "--output-watch-events", "--no-headers"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout.readline().split()[:2] == ["ADDED", "details"]
            api.call(api.kube.apply({**virtual_service(), "spec": {"hosts": ["other"]}}))
            assert watching.stdout.readline().split()[:3] == ["MODIFIED", "details", '["other"]']
            api.call(api.kube.delete("VirtualService", "default", "details"))
            assert watching.stdout.readline().split()[:2] == ["DELETED", "details"]
        finally:
            watching.terminate()


def test_scale_rollout_and_label(kubectl, manifest, deployment):
    kubectl("apply", "-f", manifest(deployment()))
    kubectl("scale", "deploy", "details-v1", "--replicas=3")
    kubectl("rollout", "restart", "deploy/details-v1")
    kubectl("label", "deploy", "details-v1", "team=a")
    found = json.loads(kubectl("get", "deploy", "details-v1", "-o", "json"))
    assert found["spec"]["replicas"] == 3
    assert "kubectl.kubernetes.io/restartedAt" in found["spec"]["template"]["metadata"]["annotations"]
    assert found["metadata"]["labels"] == {"app": "details", "team": "a"}
    assert found["metadata"]["generation"] == 3


def test_what_kubectl_creates_itself_arrives(kubectl):
    """kubectl 1.32 sends these in protobuf, older ones in JSON."""
    kubectl("create", "namespace", "shop")
    kubectl("create", "-n", "shop", "configmap", "settings", "--from-literal=a=1")
    kubectl("create", "-n", "shop", "secret", "generic", "key", "--from-literal=a=1")
    kubectl("create", "-n", "shop", "deployment", "web", "--image=web:1", "--replicas=2", "--port=80", "--", "serve")
    kubectl("create", "-n", "shop", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "-n", "shop", "rolebinding", "readers", "--role=reader", "--serviceaccount=shop:default")
    assert json.loads(kubectl("get", "-n", "shop", "cm", "settings", "-o", "json"))["data"] == {"a": "1"}
    assert json.loads(kubectl("get", "-n", "shop", "secret", "key", "-o", "json"))["data"] == {"a": "MQ=="}
    web = json.loads(kubectl("get", "-n", "shop", "deploy", "web", "-o", "json"))["spec"]
    container = web["template"]["spec"]["containers"][0]
    assert (web["replicas"], container["image"], container["command"]) == (2, "web:1", ["serve"])
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    rules = json.loads(kubectl("get", "-n", "shop", "role", "reader", "-o", "json"))["rules"]
    assert rules == [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]
    assert kubectl("auth", "can-i", "create", "virtualservices").strip() == "yes"
    kubectl("delete", "namespace", "shop")
    assert "NotFound" in kubectl("get", "namespace", "shop", fails=True)


def test_dry_run_and_diff_write_nothing(kubectl, api, manifest, virtual_service):
    kubectl("apply", "-f", manifest(virtual_service()))
    path = manifest({**virtual_service(), "spec": {"hosts": ["other"]}})
    assert kubectl("apply", "--dry-run=server", "-f", path).endswith("configured (server dry run)\n")
    assert api.call(api.kube.get("VirtualService", "default", "details"))["spec"]["hosts"] == ["details"]


def test_server_side_apply_says_that_it_is_not_there(kubectl, manifest, virtual_service):
    refused = kubectl("apply", "--server-side", "-f", manifest(virtual_service()), fails=True)
    assert "does not implement server-side apply" in refused


def test_logs_come_from_the_lab_or_are_refused(kubectl, api, manifest, pod):
    kubectl("apply", "-f", manifest(pod()))
    assert "does not implement pods/log: this lab keeps no logs" in kubectl("logs", "details-v1-abc", fails=True)
    api.kube.serve_pod_logs(lambda pod, container: "one\ntwo\n")
    assert kubectl("logs", "details-v1-abc", "--tail=1") == "two\n"


def test_the_server_names_its_version_and_resources(kubectl):
    assert "Server Version: v1.36.0" in kubectl("version")
    resources = kubectl("api-resources", "-o", "name").split()
    assert {"pods", "virtualservices.networking.istio.io", "leases.coordination.k8s.io"} <= set(resources)
    assert "virtualservices.networking.istio.io" in kubectl("get", "crd")
