"""Strategic merge patch on the core kinds, as kubectl and the Python client send it."""

import pytest

from chaosmesh_ext.lab.kube.embedded.strategic_patch import strategic_merge_patch


def containers(*items):
    return {"spec": {"template": {"spec": {"containers": list(items)}}}}


def patched(target, patch, kind="Deployment"):
    return strategic_merge_patch(kind, target, patch)


TWO = containers(
    {"name": "app", "image": "app:1", "env": [{"name": "A", "value": "1"}]}, {"name": "log", "image": "log:1"}
)


def test_a_container_is_found_by_its_name_and_the_others_stay():
    result = patched(TWO, containers({"name": "app", "image": "app:2"}))
    assert result == containers(
        {"name": "app", "image": "app:2", "env": [{"name": "A", "value": "1"}]}, {"name": "log", "image": "log:1"}
    )


def test_environment_variables_and_ports_merge_by_their_own_keys():
    target = containers(
        {"name": "app", "ports": [{"containerPort": 1, "name": "a"}], "env": [{"name": "A", "value": "1"}]}
    )
    patch = containers(
        {"name": "app", "ports": [{"containerPort": 1, "name": "b"}], "env": [{"name": "B", "value": "2"}]}
    )
    merged = patched(target, patch)["spec"]["template"]["spec"]["containers"][0]
    assert merged["ports"] == [{"containerPort": 1, "name": "b"}]
    assert merged["env"] == [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]


def test_a_delete_directive_takes_one_item_out():
    result = patched(TWO, containers({"$patch": "delete", "name": "log"}))
    assert [one["name"] for one in result["spec"]["template"]["spec"]["containers"]] == ["app"]


def test_a_replace_directive_replaces_the_list_or_the_object():
    assert patched(TWO, containers({"$patch": "replace"}, {"name": "new"})) == containers({"name": "new"})
    target = {"spec": {"selector": {"app": "a", "version": "v1"}}}
    assert patched(target, {"spec": {"selector": {"$patch": "replace", "app": "b"}}}, "Service") == {
        "spec": {"selector": {"app": "b"}}
    }


def test_a_delete_directive_empties_an_object_and_null_removes_a_field():
    target = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"strategy": {"type": "Recreate"}}}
    result = patched(target, {"metadata": {"labels": {"a": None}}, "spec": {"strategy": {"$patch": "delete"}}})
    assert result == {"metadata": {"labels": {"b": "2"}}, "spec": {"strategy": {}}}


def test_finalizers_merge_as_a_set_and_values_can_be_deleted_from_it():
    target = {"metadata": {"finalizers": ["a", "b"]}}
    assert patched(target, {"metadata": {"finalizers": ["b", "c"]}})["metadata"]["finalizers"] == ["a", "b", "c"]
    gone = patched(target, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}})
    assert gone["metadata"]["finalizers"] == ["b"]


def test_conditions_of_a_status_merge_by_their_type():
    target = {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Other", "status": "True"}]}}
    result = patched(target, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "Pod")
    assert [one["status"] for one in result["status"]["conditions"]] == ["True", "True"]


def test_the_order_that_kubectl_apply_sends_is_kept():
    patch = {"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "new"}, {"name": "app"}], "containers": [{"name": "new"}],
    }}}}  # fmt: skip
    names = [one["name"] for one in patched(TWO, patch)["spec"]["template"]["spec"]["containers"]]
    assert names == ["new", "app", "log"]


def test_retain_keys_drops_what_it_does_not_name():
    target = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert patched(target, patch) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_a_list_without_a_merge_key_is_replaced():
    target = {"spec": {"template": {"spec": {"tolerations": [{"key": "a"}]}}}}
    patch = {"spec": {"template": {"spec": {"tolerations": [{"key": "b"}]}}}}
    assert patched(target, patch) == patch


@pytest.mark.parametrize(
    ("patch", "code"), [([], 400), (containers({"image": "x"}), 500), ({"spec": {"$patch": "explode"}}, 500)]
)
def test_what_is_no_strategic_patch_is_refused(patch, code, refusal):
    assert refusal(patched, TWO, patch)["code"] == code
