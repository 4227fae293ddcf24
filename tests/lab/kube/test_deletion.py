"""How objects end: preconditions, finalizers, graceful Pods, owners and Namespaces; no sockets."""

import pytest

from chaosmesh_ext.lab.kube.embedded.deletion import DeleteOptions
from chaosmesh_ext.lab.kube.embedded.json_patch import merge_patch
from chaosmesh_ext.lab.kube.embedded.kinds import by_kind

VS, POD, NAMESPACE, DEPLOYMENT = (by_kind(name) for name in ("VirtualService", "Pod", "Namespace", "Deployment"))


def test_a_delete_for_another_uid_or_version_is_a_conflict(objects, virtual_service, refusal):
    """A created object is undone by its uid: never its successor of the same name."""
    made = objects.create(VS, "default", virtual_service())
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    for options in (DeleteOptions(uid="other"), DeleteOptions(resource_version="1")):
        status = refusal(objects.delete, VS, "default", "details", options)
        assert (status["code"], status["reason"]) == (409, "Conflict")
        assert "in the precondition" in status["message"]
    assert objects.delete(VS, "default", "details", DeleteOptions(uid=uid, resource_version=version)).gone


def test_a_finalizer_holds_an_object_until_it_is_taken_off(objects, virtual_service):
    objects.create(VS, "default", virtual_service(finalizers=["chaosmesh-ext/hold"]))
    held = objects.delete(VS, "default", "details")
    assert not held.gone
    assert held.obj["metadata"]["deletionTimestamp"]
    assert not objects.delete(VS, "default", "details").gone
    objects.patch(VS, "default", "details", lambda obj: merge_patch(obj, {"metadata": {"finalizers": None}}))
    assert objects.store.get(VS, "default", "details") is None


def test_what_an_object_owns_goes_with_it_unless_orphaned(objects, pod, deployment):
    for orphan, left in ((False, []), (True, ["details-v1-abc"])):
        owner = objects.create(DEPLOYMENT, "default", deployment())
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": owner["metadata"]["uid"]}
        owned = pod()
        owned["metadata"]["ownerReferences"] = [reference]
        objects.create(POD, "default", owned)
        objects.delete(DEPLOYMENT, "default", "details-v1", DeleteOptions(orphan=orphan))
        assert [obj["metadata"]["name"] for obj in objects.store.list(POD)] == left
    assert "ownerReferences" not in objects.store.list(POD)[0]["metadata"]


def test_a_namespace_goes_with_all_that_is_in_it(objects, virtual_service, pod):
    objects.create(NAMESPACE, "", {"metadata": {"name": "shop"}})
    objects.create(VS, "shop", virtual_service())
    objects.create(POD, "shop", pod(namespace="shop"))
    told = []
    objects.store.listen(lambda change: told.append((change.type, change.kind.name)))
    assert objects.delete(NAMESPACE, "", "shop").gone
    assert told[0] == ("MODIFIED", "Namespace")
    gone = {("DELETED", "Pod"), ("DELETED", "VirtualService"), ("DELETED", "ServiceAccount")}
    assert set(told[1:-1]) == {("MODIFIED", "Pod"), *gone}
    assert told[-1] == ("DELETED", "Namespace")


def test_a_namespace_waits_for_finalizers_and_takes_nothing_new_meanwhile(objects, virtual_service, pod, refusal):
    objects.create(NAMESPACE, "", {"metadata": {"name": "shop"}})
    objects.create(VS, "shop", virtual_service(finalizers=["a/b"]))
    assert objects.delete(NAMESPACE, "", "shop").obj["status"]["phase"] == "Terminating"
    assert "being terminated" in refusal(objects.create, POD, "shop", pod(namespace="shop"))["message"]
    objects.patch(VS, "shop", "details", lambda obj: merge_patch(obj, {"metadata": {"finalizers": []}}))
    assert objects.store.get(NAMESPACE, "", "shop") is None


@pytest.mark.parametrize("name", ["default", "kube-system"])
def test_a_namespace_of_the_systems_cannot_be_deleted(name, objects, refusal):
    status = refusal(objects.delete, NAMESPACE, "", name)
    assert (status["code"], status["reason"]) == (403, "Forbidden")


def test_a_pod_on_a_node_goes_when_its_kubelet_lets_it_go(objects, pod):
    objects.create(POD, "default", {**pod(), "spec": {**pod()["spec"], "nodeName": "lab"}})
    marked = objects.delete(POD, "default", "details-v1-abc", DeleteOptions(grace=20))
    assert (marked.gone, marked.obj["metadata"]["deletionGracePeriodSeconds"]) == (False, 20)
    labelled = objects.patch(
        POD, "default", "details-v1-abc", lambda obj: merge_patch(obj, {"metadata": {"labels": {"a": "b"}}})
    )
    ends = labelled["metadata"]["deletionTimestamp"]
    assert ends == marked.obj["metadata"]["deletionTimestamp"]
    for grace, left in ((25, 20), (None, 20), (5, 5)):
        again = objects.delete(POD, "default", "details-v1-abc", DeleteOptions(grace=grace))
        assert (again.gone, again.obj["metadata"]["deletionGracePeriodSeconds"]) == (False, left)
        assert again.obj["metadata"]["deletionTimestamp"] <= ends
    assert objects.delete(POD, "default", "details-v1-abc", DeleteOptions(grace=0)).gone
    assert objects.store.get(POD, "default", "details-v1-abc") is None
