"""Kubernetes' rules for writing, in Kubernetes' own words; no sockets."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosmesh_ext.lab.kube.embedded.deletion import DeleteOptions
from chaosmesh_ext.lab.kube.embedded.json_patch import json_patch, merge_patch
from chaosmesh_ext.lab.kube.embedded.jsons import copied
from chaosmesh_ext.lab.kube.embedded.kinds import by_kind
from chaosmesh_ext.lab.kube.embedded.objects import Objects
from chaosmesh_ext.lab.kube.embedded.refusals import Refused
from chaosmesh_ext.lab.kube.embedded.seed import seed
from chaosmesh_ext.lab.kube.embedded.store import Store

VS, POD, MAP, NAMESPACE = (by_kind(name) for name in ("VirtualService", "Pod", "ConfigMap", "Namespace"))
LEASE, SERVICE, DEPLOYMENT = by_kind("Lease"), by_kind("Service"), by_kind("Deployment")
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def config_map(name="settings", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_a_new_object_gets_what_the_server_gives(objects, virtual_service):
    sent = {**virtual_service(uid="mine", generation=7, managedFields=[{}]), "status": {"x": 1}}
    made = objects.create(VS, "default", sent)
    metadata = made["metadata"]
    assert re.fullmatch(r"[0-9a-f-]{36}", metadata["uid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])
    assert metadata["generation"] == 1
    assert metadata["namespace"] == "default"
    assert metadata["resourceVersion"] == str(objects.store.version)
    assert "managedFields" not in metadata
    assert "status" not in made


def test_a_second_object_of_the_name_is_refused(objects, virtual_service, refusal):
    objects.create(VS, "default", virtual_service())
    status = refusal(objects.create, VS, "default", virtual_service())
    assert (status["code"], status["reason"]) == (409, "AlreadyExists")
    assert status["message"] == 'virtualservices.networking.istio.io "details" already exists'
    assert status["details"] == {"name": "details", "group": "networking.istio.io", "kind": "virtualservices"}


def test_a_generated_name_has_five_letters_more(objects):
    made = objects.create(MAP, "default", {"metadata": {"generateName": "run-"}})
    assert re.fullmatch(r"run-[bcdfghjklmnpqrstvwxz2456789]{5}", made["metadata"]["name"])


@pytest.mark.parametrize(
    ("kind", "name", "part"),
    [
        (
            VS,
            "Details",
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
        ),
        (NAMESPACE, "a.b", "a lowercase RFC 1123 label must consist of"),
        (SERVICE, "a.b", "a lowercase RFC 1123 label must consist of"),
        (MAP, "x" * 254, "must be no more than 253 characters"),
        (MAP, "", "Required value: name or generateName is required"),
    ],
)
def test_a_name_that_dns_could_not_carry_is_invalid(kind, name, part, objects, refusal):
    body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 1}]}}
    status = refusal(objects.create, kind, "default" if kind.namespaced else "", body)
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert part in status["message"]
    assert status["message"].startswith(f'{kind.qualified} "{name}" is invalid: metadata.name: ')
    assert status["details"]["causes"][0]["field"] == "metadata.name"


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"labels": {"a b": "c"}}, 422),
        ({"labels": {"a": "-"}}, 422),
        ({"labels": {"a": 1}}, 400),
        ({"annotations": {"a": []}}, 400),
        ({"annotations": {"chaosmesh-ext/undo": "x" * 262_144}}, 422),
        ({"namespace": "other"}, 400),
        ({"finalizers": "x"}, 400),
    ],
)
def test_metadata_that_kubernetes_would_not_take_is_refused(metadata, code, objects, virtual_service, refusal):
    """Undo data lives in an annotation: the lab must have the limit that a cluster has."""
    assert refusal(objects.create, VS, "default", virtual_service(**metadata))["code"] == code


def test_nothing_is_created_in_a_namespace_that_is_not_there(objects, virtual_service, refusal):
    status = refusal(objects.create, VS, "nowhere", virtual_service())
    assert (status["code"], status["message"]) == (404, 'namespaces "nowhere" not found')


def test_a_resource_version_may_not_be_set_on_a_new_object(objects, virtual_service, refusal):
    status = refusal(objects.create, VS, "default", virtual_service(resourceVersion="1"))
    assert status["message"] == "resourceVersion should not be set on objects to be created"


def test_a_put_of_an_old_copy_is_a_conflict_in_kubernetes_words(objects, virtual_service, refusal):
    old = objects.create(VS, "default", virtual_service())
    objects.patch(VS, "default", "details", lambda obj: merge_patch(obj, {"spec": {"hosts": ["other"]}}))
    status = refusal(objects.update, VS, "default", "details", {**copied(old), "spec": {}})
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        f'Operation cannot be fulfilled on virtualservices.networking.istio.io "details": {MODIFIED}'
    )
    assert status["details"] == {"name": "details", "group": "networking.istio.io", "kind": "virtualservices"}


def test_a_patch_that_carries_an_old_resource_version_is_a_conflict(objects, virtual_service, refusal):
    old = objects.create(VS, "default", virtual_service())
    version = old["metadata"]["resourceVersion"]
    guarded = {"metadata": {"resourceVersion": version, "labels": {"a": "b"}}}
    objects.patch(VS, "default", "details", lambda obj: merge_patch(obj, guarded))
    assert refusal(objects.patch, VS, "default", "details", lambda obj: merge_patch(obj, guarded))["code"] == 409


def test_a_custom_object_cannot_be_put_without_its_resource_version(objects, virtual_service, refusal):
    objects.create(VS, "default", virtual_service())
    status = refusal(objects.update, VS, "default", "details", virtual_service())
    assert status["code"] == 422
    assert status["message"] == (
        'virtualservices.networking.istio.io "details" is invalid: metadata.resourceVersion: Invalid value: 0: '
        "must be specified for an update"
    )


def test_a_config_map_can_be_put_without_a_resource_version(objects):
    objects.create(MAP, "default", config_map(a="1"))
    changed, created = objects.update(MAP, "default", "settings", config_map(a="2"))
    assert (changed["data"], created) == ({"a": "2"}, False)


def test_a_put_of_a_lease_creates_it_but_not_one_of_another_uid(objects, refusal):
    body = {"metadata": {"name": "run"}, "spec": {"holderIdentity": "me"}}
    made, created = objects.update(LEASE, "default", "run", body)
    assert created
    objects.delete(LEASE, "default", "run")
    status = refusal(objects.update, LEASE, "default", "run", copied(made))
    assert status["code"] == 409
    assert "Precondition failed: UID in precondition" in status["message"]


def test_the_name_in_the_body_must_be_the_one_in_the_path(objects, virtual_service, refusal):
    objects.create(VS, "default", virtual_service())
    status = refusal(objects.update, VS, "default", "details", virtual_service("other"))
    assert status["message"] == "the name of the object (other) does not match the name on the URL (details)"


def test_a_write_that_changes_nothing_is_no_write(objects, virtual_service):
    old = objects.create(VS, "default", virtual_service())
    same, _ = objects.update(VS, "default", "details", copied(old))
    assert same["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]
    assert objects.store.version == int(old["metadata"]["resourceVersion"])


def test_generation_counts_changes_of_the_spec_only(objects, virtual_service):
    objects.create(VS, "default", virtual_service())

    def changed(patch, **named):
        return objects.patch(VS, "default", "details", lambda obj: merge_patch(obj, patch), **named)["metadata"]

    assert changed({"metadata": {"labels": {"a": "b"}}})["generation"] == 1
    assert changed({"status": {"conditions": []}}, subresource="status")["generation"] == 1
    assert changed({"spec": {"hosts": ["other"]}})["generation"] == 2
    assert changed({"metadata": {"generation": 99}})["generation"] == 2


def test_status_and_the_rest_are_written_by_their_own_paths_only(objects, virtual_service):
    objects.create(VS, "default", virtual_service())
    both = {"spec": {"hosts": ["other"]}, "status": {"seen": True}}
    main = objects.patch(VS, "default", "details", lambda obj: merge_patch(obj, both))
    assert (main["spec"]["hosts"], "status" in main) == (["other"], False)
    both = {"spec": {"hosts": ["third"]}, "status": {"seen": True}}
    status = objects.patch(VS, "default", "details", lambda obj: merge_patch(obj, both), subresource="status")
    assert (status["spec"]["hosts"], status["status"]) == (["other"], {"seen": True})


def test_what_the_server_gave_cannot_be_changed(objects, virtual_service, refusal):
    old = objects.create(VS, "default", virtual_service())
    patch = {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7}}
    new = objects.patch(VS, "default", "details", lambda obj: merge_patch(obj, patch))
    assert new["metadata"] == old["metadata"]
    for field, value in (("deletionTimestamp", "2001-01-01T00:00:00Z"), ("uid", "mine")):
        patch = {"metadata": {field: value}}
        status = refusal(objects.patch, VS, "default", "details", lambda obj, patch=patch: merge_patch(obj, patch))
        assert (status["code"], status["details"]["causes"][0]["field"]) == (422, f"metadata.{field}")


def test_a_dry_run_answers_and_writes_nothing(objects, virtual_service):
    version = objects.store.version
    made = objects.create(VS, "default", virtual_service(), dry_run=True)
    assert made["metadata"]["uid"]
    assert objects.store.version == version
    objects.create(VS, "default", virtual_service())
    version = objects.store.version
    patch = {"spec": {"hosts": ["other"]}}
    tried = objects.patch(VS, "default", "details", lambda obj: merge_patch(obj, patch), dry_run=True)
    assert tried["spec"]["hosts"] == ["other"]
    objects.delete(VS, "default", "details", DeleteOptions(dry_run=True))
    assert objects.get(VS, "default", "details")["spec"]["hosts"] == ["details"]
    assert objects.store.version == version


def test_a_service_keeps_its_cluster_ip_and_has_the_same_in_every_lab(objects):
    body = {"metadata": {"name": "details"}, "spec": {"ports": [{"port": 9080}]}}
    ip = objects.create(SERVICE, "default", body)["spec"]["clusterIP"]
    assert re.fullmatch(r"10\.96\.\d+\.\d+", ip)
    changed, _ = objects.update(SERVICE, "default", "details", {**body, "spec": {"ports": [{"port": 80}]}})
    assert changed["spec"]["clusterIP"] == ip
    other = Objects(Store())
    seed(other)
    assert other.create(SERVICE, "default", body)["spec"]["clusterIP"] == ip


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"selector": {"matchLabels": {"app": "other"}}}, "spec.selector"),
        ({"replicas": -1}, "spec.replicas"),
        ({"template": {"metadata": {"labels": {"app": "x"}}}}, "spec.template.metadata.labels"),
        ({"template": {"spec": {"containers": [{"name": "a"}]}}}, "spec.template.spec.containers[0].image"),
    ],
)
def test_a_deployment_that_could_not_work_is_invalid(change, field, objects, deployment, refusal):
    objects.create(DEPLOYMENT, "default", deployment())
    patch = {"spec": change}
    status = refusal(objects.patch, DEPLOYMENT, "default", "details-v1", lambda obj: merge_patch(obj, patch))
    assert status["code"] == 422
    assert field in [cause["field"] for cause in status["details"]["causes"]]


def test_a_running_pod_may_get_another_image_and_little_else(objects, pod, refusal):
    objects.create(POD, "default", pod())
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "details:2"}]
    objects.patch(POD, "default", "details-v1-abc", lambda obj: json_patch(obj, image))
    command = [{"op": "add", "path": "/spec/containers/0/command", "value": ["x"]}]
    status = refusal(objects.patch, POD, "default", "details-v1-abc", lambda obj: json_patch(obj, command))
    assert "pod updates may not change fields other than" in status["message"]


EDITS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["read", "write"])), max_size=40)


@settings(max_examples=100, deadline=None)
@given(EDITS)
def test_concurrent_editors_who_name_the_version_they_read_never_lose_an_edit(steps):
    """D2, compare-and-swap: a counter that each successful write raises by one ends at the number of successes."""
    objects = Objects(Store())
    seed(objects)
    objects.create(MAP, "default", config_map(count="0"))
    copies = {}
    successes = 0
    for editor, step in steps:
        if step == "read":
            copies[editor] = copied(objects.get(MAP, "default", "settings"))
        elif editor in copies:
            mine = copied(copies[editor])
            mine["data"]["count"] = str(int(mine["data"]["count"]) + 1)
            fresh = mine["metadata"]["resourceVersion"] == str(objects.store.version)
            if fresh:
                objects.update(MAP, "default", "settings", mine)
                successes += 1
            else:
                with pytest.raises(Refused, match=MODIFIED):
                    objects.update(MAP, "default", "settings", mine)
    assert objects.get(MAP, "default", "settings")["data"]["count"] == str(successes)
