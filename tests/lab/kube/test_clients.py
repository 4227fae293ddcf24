"""The Python client and chaostoolkit-kubernetes, unchanged, on the lab's API."""

import json
import threading

import pytest
from chaosk8s.deployment import actions as deployments
from chaosk8s.deployment import probes as deployment_probes
from chaosk8s.pod import actions as pods
from chaosk8s.pod import probes as pod_probes
from chaoslib.exceptions import ActivityFailed
from kubernetes import client, config, watch

from chaosmesh_ext.lab.kube.embedded.kinds import by_kind

_MAP = by_kind("ConfigMap")
ISTIO = ("networking.istio.io", "v1", "default", "virtualservices")


@pytest.fixture
def k8s(api):
    config.load_kube_config(str(api.kubeconfig))
    with client.ApiClient() as made:
        yield made


@pytest.fixture
def chaosk8s(api, monkeypatch):
    """The client reads KUBECONFIG when it is imported, which another test may have caused."""
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(api.kubeconfig))


@pytest.fixture
def running(api, pod):
    """A Pod as the kubelet leaves it."""

    def run(name, **labels):
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "podIP": "127.80.1.1"}
        return api.call(api.kube.create({**pod(name, **labels), "status": status}))

    return run


def test_custom_objects_live_through_the_client(k8s, virtual_service):
    custom = client.CustomObjectsApi(k8s)
    made = custom.create_namespaced_custom_object(*ISTIO, virtual_service())
    assert custom.list_cluster_custom_object("networking.istio.io", "v1beta1", "virtualservices")["items"][0][
        "apiVersion"
    ] == "networking.istio.io/v1beta1"  # fmt: skip
    patched = custom.patch_namespaced_custom_object(*ISTIO, "details", {"spec": {"hosts": ["other"]}})
    assert (patched["spec"]["hosts"], patched["metadata"]["generation"]) == (["other"], 2)
    with pytest.raises(client.ApiException) as stale:
        custom.replace_namespaced_custom_object(*ISTIO, "details", made)
    assert (stale.value.status, '"reason":"Conflict"' in stale.value.body) == (409, True)
    options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="other"))
    with pytest.raises(client.ApiException) as other:
        custom.delete_namespaced_custom_object(*ISTIO, "details", body=options)
    assert other.value.status == 409
    gone = custom.delete_namespaced_custom_object(*ISTIO, "details")
    assert (gone["status"], gone["details"]["uid"]) == ("Success", made["metadata"]["uid"])


def test_a_json_patch_is_sent_by_naming_its_content_type(k8s, virtual_service):
    """The client sends custom objects merge patches, lists too, which a real server refuses as well."""
    custom = client.CustomObjectsApi(k8s)
    custom.create_namespaced_custom_object(*ISTIO, virtual_service())
    operations = [{"op": "replace", "path": "/spec/hosts", "value": ["third"]}]
    with pytest.raises(client.ApiException) as refused:
        custom.patch_namespaced_custom_object(*ISTIO, "details", operations)
    assert refused.value.status == 400
    patched = k8s.call_api(
        "/apis/networking.istio.io/v1/namespaces/default/virtualservices/details",
        "PATCH",
        header_params={"Content-Type": "application/json-patch+json", "Accept": "application/json"},
        body=operations,
        response_type="object",
        _return_http_data_only=True,
    )
    assert patched["spec"]["hosts"] == ["third"]


def test_core_objects_live_through_the_client(k8s, running):
    core = client.CoreV1Api(k8s)
    running("details-v1-abc", app="details")
    found = core.list_namespaced_pod(
        "default", label_selector="app in (details)", field_selector="status.phase=Running"
    )
    assert [one.metadata.name for one in found.items] == ["details-v1-abc"]
    core.patch_namespaced_pod("details-v1-abc", "default", {"metadata": {"labels": {"x": "y"}}})
    assert core.read_namespaced_pod("details-v1-abc", "default").metadata.labels == {"app": "details", "x": "y"}
    core.create_namespaced_config_map("default", client.V1ConfigMap(metadata={"name": "halt"}, data={"a": "1"}))
    assert core.read_namespaced_config_map("halt", "default").data == {"a": "1"}
    assert core.delete_namespaced_pod("details-v1-abc", "default").metadata.name == "details-v1-abc"
    assert [one.metadata.name for one in core.list_namespace().items][:2] == ["default", "istio-system"]
    with pytest.raises(client.ApiException) as missing:
        core.read_namespaced_pod("details-v1-abc", "default")
    assert missing.value.status == 404


def test_a_lease_is_taken_and_renewed_through_the_client(k8s):
    leases = client.CoordinationV1Api(k8s)
    spec = client.V1LeaseSpec(holder_identity="me", lease_duration_seconds=60)
    made = leases.create_namespaced_lease("default", client.V1Lease(metadata={"name": "run"}, spec=spec))
    made.spec.holder_identity = "you"
    renewed = leases.replace_namespaced_lease("run", "default", made)
    assert renewed.spec.holder_identity == "you"
    with pytest.raises(client.ApiException) as stale:
        leases.replace_namespaced_lease("run", "default", made)
    assert stale.value.status == 409


def test_a_watch_of_the_client_tells_changes(k8s, api, virtual_service):
    custom, told, ready = client.CustomObjectsApi(k8s), [], threading.Event()

    def follow():
        for event in watch.Watch().stream(custom.list_namespaced_custom_object, *ISTIO, timeout_seconds=10):
            told.append((event["type"], event["object"]["metadata"]["name"]))
            ready.set()
            if event["type"] == "DELETED":
                return

    api.call(api.kube.create(virtual_service()))
    thread = threading.Thread(target=follow)
    thread.start()
    assert ready.wait(10)
    api.call(api.kube.apply({**virtual_service(), "spec": {"hosts": ["x"]}}))
    api.call(api.kube.delete("VirtualService", "default", "details"))
    thread.join(10)
    assert told == [("ADDED", "details"), ("MODIFIED", "details"), ("DELETED", "details")]


def test_a_watch_from_a_forgotten_version_raises_gone_in_the_client(k8s, api):
    """The client must notice that it missed something."""
    for number in range(5000):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"n": str(number)}}
        api.kube._store.put(_MAP, {**body, "metadata": {"name": "x", "namespace": "default", "uid": "u"}})
    core = client.CoreV1Api(k8s)
    with pytest.raises(client.ApiException) as gone:
        list(watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version="1", timeout_seconds=5))
    assert gone.value.status == 410


def test_chaosk8s_counts_and_terminates_pods(chaosk8s, api, running):
    for index in range(3):
        running(f"details-v1-{index}", app="details")
    assert pod_probes.pods_in_phase("app=details", "Running") is True
    assert pod_probes.pods_in_conditions("app=details", [{"type": "Ready", "status": "True"}]) is True
    assert pod_probes.count_pods("app=details", "Running") == 3
    assert pods.terminate_pods("app=details", qty=2, grace_period=0) == ["details-v1-0", "details-v1-1"]
    assert pod_probes.count_pods("app=details") == 1
    with pytest.raises(ActivityFailed, match="no pods 'app=nobody' were found"):
        pod_probes.pods_in_phase("app=nobody")


def test_chaosk8s_creates_scales_and_restarts_deployments(chaosk8s, api, deployment, tmp_path):
    path = tmp_path / "details.json"
    path.write_bytes(json.dumps(deployment()).encode())
    deployments.create_deployment(str(path))
    deployments.scale_deployment("details-v1", 3)
    deployments.rollout_deployment("details-v1")
    found = api.call(api.kube.get("Deployment", "default", "details-v1"))
    assert found["spec"]["replicas"] == 3
    assert "kubectl.kubernetes.io/restartedAt" in found["spec"]["template"]["metadata"]["annotations"]
    api.call(api.kube.patch_status(found, {"replicas": 3, "readyReplicas": 3, "availableReplicas": 3}))
    assert deployment_probes.deployment_available_and_healthy("details-v1") is True
    assert deployment_probes.deployment_fully_available("details-v1", timeout=5) is True
    deployments.delete_deployment("details-v1")
    assert api.call(api.kube.get("Deployment", "default", "details-v1")) is None
