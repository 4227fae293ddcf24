"""Kubernetes API: deletion and finalizers."""

import re

import pytest
from kube_samples import KINDS, SOME, path, sample

_FINALIZER = "example.com/one"


@pytest.mark.parametrize("kind", KINDS)
def test_delete(api, ns, seen, make, kind):
    """DELETE of a {kind} removes it"""
    made = make(kind)
    answer = api.delete(path(kind, ns, "one"))
    assert answer.code == 200
    assert api.get(path(kind, ns, "one")).code == 404
    if answer.json["kind"] == "Status":
        assert answer.json["details"]["uid"] == made.meta["uid"]
        seen(f"200 Status {answer.json['status']}, details {', '.join(sorted(answer.json['details']))}")
    else:
        assert answer.meta["uid"] == made.meta["uid"]
        marks = [key for key in ("deletionTimestamp", "deletionGracePeriodSeconds") if key in answer.meta]
        seen(f"200 {answer.json['kind']} {marks}")


@pytest.mark.parametrize("kind", SOME)
def test_delete_what_is_not_there(api, ns, seen, kind):
    """DELETE of a {kind} that is not there"""
    answer = api.delete(path(kind, ns, "one"))
    assert answer.code == 404
    seen(str(answer))


_OPTIONS = {
    "another uid": {"preconditions": {"uid": "another"}},
    "another resourceVersion": {"preconditions": {"resourceVersion": "1"}},
    "a propagation policy that is none": {"propagationPolicy": "Odd"},
    "a policy and orphanDependents": {"propagationPolicy": "Background", "orphanDependents": True},
    "a dry run that is none": {"dryRun": ["Some"]},
    "a grace period below 0": {"gracePeriodSeconds": -1},
    "another kind": {"kind": "Pod", "apiVersion": "v1"},
    "an unknown field": {"odd": True},
}


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
@pytest.mark.parametrize("what", _OPTIONS)
def test_delete_options(api, ns, seen, make, kind, what):
    """DELETE of a {kind} with {what}"""
    make(kind)
    seen(re.sub(r"record \(\d+\)", "record (N)", str(api.delete(path(kind, ns, "one"), _OPTIONS[what]))))


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_preconditions_that_hold(api, ns, seen, make, kind):
    """DELETE of a {kind} with its uid and resourceVersion"""
    made = make(kind)
    wanted = {"uid": made.meta["uid"], "resourceVersion": made.version}
    answer = api.delete(path(kind, ns, "one"), {"preconditions": wanted})
    assert answer.code == 200
    seen(str(answer))


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
@pytest.mark.parametrize("body", ["half", "list"])
def test_bad_options(api, ns, seen, make, kind, body):
    """DELETE of a {kind} with {body} of a body"""
    make(kind)
    answer = api.delete(path(kind, ns, "one"), b"{" if body == "half" else b"[]")
    assert answer.code == 400
    seen(str(answer))


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment", "Pod", "VirtualService", "HTTPRoute"])
def test_finalizers(api, ns, seen, make, kind):
    """A {kind} with a finalizer is only marked, and goes with its last finalizer"""
    made = make(kind, finalizers=[_FINALIZER])
    where = path(kind, ns, "one")
    marked = api.delete(where)
    assert marked.code == 200
    assert "deletionTimestamp" in marked.meta
    again = api.delete(where)
    assert again.code == 200
    assert again.meta["deletionTimestamp"] == marked.meta["deletionTimestamp"]
    seen(
        f"marked: grace {marked.meta.get('deletionGracePeriodSeconds')}, generation {made.meta.get('generation')} to "
        f"{marked.meta.get('generation')}"
    )
    last = api.patch(where, {"metadata": {"finalizers": None}})
    assert api.get(where).code == 404
    seen(f"last finalizer: {last}, then gone")


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_no_new_finalizer(api, ns, seen, make, kind):
    """A {kind} that is being deleted takes no new finalizer"""
    make(kind, finalizers=[_FINALIZER])
    where = path(kind, ns, "one")
    api.delete(where)
    seen(str(api.patch(where, {"metadata": {"finalizers": [_FINALIZER, "example.com/two"]}})))
    seen(f"label: {api.patch(where, {'metadata': {'labels': {'a': 'b'}}})}")
    assert api.patch(where, {"metadata": {"finalizers": []}}).code == 200
    assert api.get(where).code == 404


@pytest.mark.parametrize("name", ["one", "a b", "example.com/", "/x", "example.com/one"])
@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_names_of_finalizers(api, ns, seen, kind, name):
    """The finalizer '{name}' of a {kind}"""
    seen(str(api.post(path(kind, ns), sample(kind, finalizers=[name]))))
    api.patch(path(kind, ns, "one"), {"metadata": {"finalizers": None}})


def test_create_while_the_old_one_is_being_deleted(api, ns, seen, make):
    """POST of an object whose old one is being deleted"""
    make("ConfigMap", finalizers=[_FINALIZER])
    api.delete(path("ConfigMap", ns, "one"))
    answer = api.post(path("ConfigMap", ns), sample("ConfigMap"))
    assert answer.code == 409
    seen(str(answer))
    api.patch(path("ConfigMap", ns, "one"), {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("scheduled", ["on a node", "on no node"])
@pytest.mark.parametrize("grace", ["none", "0", "5"])
def test_pods(api, ns, seen, scheduled, grace):
    """DELETE of a Pod {scheduled}, gracePeriodSeconds {grace}"""
    pod = sample("Pod")
    if scheduled == "on a node":
        pod["spec"]["nodeName"] = "lab"
    assert api.post(path("Pod", ns), pod).code == 201
    where = path("Pod", ns, "one")
    answer = api.delete(where, None if grace == "none" else {"gracePeriodSeconds": int(grace)})
    left = api.get(where)
    seen(
        f"{answer}, grace {answer.meta.get('deletionGracePeriodSeconds')}, generation {answer.meta.get('generation')}, "
        f"{'marked' if left.code == 200 else 'gone'}"
    )
    if left.code == 200:
        again = api.delete(where, {"gracePeriodSeconds": 0})
        assert api.get(where).code == 404
        seen(f"then with 0: {again}")


def test_a_grace_period_in_the_query(api, ns, seen):
    """DELETE of a Pod with ?gracePeriodSeconds=0"""
    pod = sample("Pod")
    pod["spec"]["nodeName"] = "lab"
    api.post(path("Pod", ns), pod)
    answer = api.delete(path("Pod", ns, "one"), gracePeriodSeconds="0")
    assert api.get(path("Pod", ns, "one")).code == 404
    seen(str(answer))


@pytest.mark.parametrize("kind", ["ConfigMap", "Lease", "VirtualService"])
def test_delete_collection(api, ns, seen, make, kind):
    """DELETE of a collection of {kind}s removes what the selector chooses"""
    for name, team in (("a", "x"), ("b", "x"), ("c", "y")):
        make(kind, name, labels={"team": team})
    answer = api.delete(path(kind, ns), labelSelector="team=x")
    assert answer.code == 200
    left = [item for item in api.get(path(kind, ns)).names if not item.endswith("root-ca.crt")]
    seen(f"{answer}, {len(answer.json.get('items') or [])} items, left {left}")


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_delete_all_collections(api, seen, kind):
    """DELETE of the collection of {kind}s of all namespaces"""
    answer = api.delete(path(kind))
    assert answer.code == (405 if kind == "ConfigMap" else 404)
    seen(str(answer))


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
def test_dependents(api, ns, seen, make, policy):
    """What a Deployment owned when it is deleted with {policy}"""
    owner = make("Deployment")
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "one", "uid": owner.meta["uid"]}
    make("ReplicaSet", ownerReferences=[reference])
    answer = api.delete(path("Deployment", ns, "one"), {"propagationPolicy": policy})
    assert answer.code == 200
    _until(lambda: api.get(path("Deployment", ns, "one")).code == 404)
    if policy != "Orphan":
        _until(lambda: api.get(path("ReplicaSet", ns, "one")).code == 404)
        seen("gone, and its ReplicaSet")
    else:
        _until(lambda: "ownerReferences" not in api.get(path("ReplicaSet", ns, "one")).meta)
        seen("gone, its ReplicaSet is nobody's")


def test_namespaces(api, seen, ns, make):
    """A Namespace goes with all that is in it"""
    make("VirtualService")
    make("ConfigMap")
    answer = api.delete(f"/api/v1/namespaces/{ns}")
    assert answer.code == 200
    _until(lambda: api.get(f"/api/v1/namespaces/{ns}").code == 404)
    assert api.get(path("VirtualService", ns)).json["items"] == []
    seen(f"{answer}, phase {answer.json.get('status', {}).get('phase')}")


def test_a_namespace_that_is_being_deleted(api, seen, ns, make):
    """A Namespace that waits for an object takes no new one"""
    make("ConfigMap", finalizers=[_FINALIZER])
    api.delete(f"/api/v1/namespaces/{ns}")
    where = f"/api/v1/namespaces/{ns}"
    _until(lambda: api.get(where).json["status"]["phase"] == "Terminating")
    answer = api.post(path("VirtualService", ns), sample("VirtualService"))
    assert answer.code == 403
    seen(str(answer))
    api.patch(path("ConfigMap", ns, "one"), {"metadata": {"finalizers": None}})
    _until(lambda: api.get(where).code == 404)


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_namespaces_that_stay(api, seen, name):
    """The Namespace {name} cannot be deleted"""
    answer = api.delete(f"/api/v1/namespaces/{name}")
    assert answer.code == 403
    seen(str(answer))


def _until(condition, tries=2000):
    """Wait for a controller; each asking takes a millisecond or two."""
    for _ in range(tries):
        if condition():
            return
    raise AssertionError("it did not come")
