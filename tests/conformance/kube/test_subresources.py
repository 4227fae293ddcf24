"""Kubernetes API: status, scale and other subresources."""

import re

import pytest
from kube_client import JSON_PATCH, MERGE, STRATEGIC
from kube_samples import KINDS, path, sample

WITH_STATUS = ("Pod", "Service", "Deployment", "ReplicaSet", "VirtualService", "EnvoyFilter", "HTTPRoute")


def _condition(kind):
    if kind == "HTTPRoute":
        return {"parents": []}
    when = "2026-01-01T00:00:00Z"
    condition = {"type": "Seen", "status": "True", "reason": "Test", "message": "x", "lastTransitionTime": when}
    return {"conditions": [condition], **({"replicas": 0} if kind == "ReplicaSet" else {})}


@pytest.mark.parametrize("kind", KINDS)
def test_which_have_a_status(api, ns, seen, make, kind):
    """GET of a {kind}'s status"""
    made = make(kind)
    answer = api.get(path(kind, ns, "one", "status"))
    if answer.code == 200:
        assert answer.json == made.json
    seen(str(answer))


@pytest.mark.parametrize("kind", WITH_STATUS)
@pytest.mark.parametrize("how", ["PUT", MERGE, JSON_PATCH])
def test_the_status_alone(api, ns, seen, make, kind, how):
    """{how} of a {kind}'s status leaves its spec and generation alone"""
    made = make(kind)
    where = path(kind, ns, "one", "status")
    if how == "PUT":
        answer = api.put(
            where, {**made.json, "spec": {**made.json["spec"], **_OTHER[kind]}, "status": _condition(kind)}
        )
    elif how == MERGE:
        answer = api.patch(where, {"spec": _OTHER[kind], "status": _condition(kind)})
    else:
        answer = api.patch(where, [{"op": "add", "path": "/status", "value": _condition(kind)}], JSON_PATCH)
    assert answer.code == 200, str(answer)
    found = api.get(path(kind, ns, "one")).json
    assert found["spec"] == made.json["spec"]
    assert found["metadata"].get("generation") == made.meta.get("generation")
    for written in found["status"].get("conditions") or []:
        assert _condition(kind)["conditions"][0].items() <= written.items()
    assert len(found["status"].get("conditions") or []) == len(_condition(kind).get("conditions", []))
    seen("the status is written, the spec is not")


_OTHER = {
    "Pod": {"terminationGracePeriodSeconds": 3},
    "Service": {"selector": {"app": "b"}},
    "Deployment": {"replicas": 3},
    "ReplicaSet": {"replicas": 3},
    "VirtualService": {"hosts": ["other"]},
    "EnvoyFilter": {"priority": 3},
    "HTTPRoute": {"hostnames": ["a.example"]},
}


@pytest.mark.parametrize("kind", WITH_STATUS)
def test_the_rest_alone(api, ns, seen, make, kind):
    """PUT and PATCH of a {kind} leave its status alone"""
    made = make(kind)
    before = made.json.get("status")
    api.put(path(kind, ns, "one"), {**made.json, "status": _condition(kind)})
    answer = api.patch(path(kind, ns, "one"), {"status": _condition(kind)})
    assert answer.code == 200
    assert answer.json.get("status") == before
    seen(f"status {before}, {'no write' if answer.version == made.version else 'a write'}")


@pytest.mark.parametrize("kind", ["Deployment", "VirtualService"])
def test_the_first_status(api, ns, seen, kind):
    """A new {kind} comes without the status that it was sent with"""
    answer = api.post(path(kind, ns), {**sample(kind), "status": _condition(kind)})
    seen(f"{answer}, status {answer.json.get('status')}")


@pytest.mark.parametrize("kind", ["Deployment", "VirtualService"])
def test_metadata_through_the_status(api, ns, seen, make, kind):
    """Labels and annotations in a PATCH of a {kind}'s status"""
    make(kind)
    patch = {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["example.com/a"]}}
    answer = api.patch(path(kind, ns, "one", "status"), {**patch, "status": _condition(kind)})
    assert answer.code == 200
    kept = [key for key in ("labels", "annotations", "finalizers") if key in api.get(path(kind, ns, "one")).meta]
    seen(f"written: {kept}")
    api.patch(path(kind, ns, "one"), {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("kind", ["Deployment", "VirtualService"])
def test_conflicts(api, ns, seen, make, kind):
    """PUT of a {kind}'s status with an old resourceVersion"""
    made = make(kind)
    api.patch(path(kind, ns, "one"), {"metadata": {"labels": {"a": "b"}}})
    answer = api.put(path(kind, ns, "one", "status"), {**made.json, "status": _condition(kind)})
    assert answer.code == 409
    seen(str(answer))


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_other_verbs(api, ns, seen, make, method):
    """{method} of a status"""
    made = make("Deployment")
    answer = api.ask(method, path("Deployment", ns, "one", "status"), made.json if method == "POST" else None)
    assert answer.code == 405
    seen(str(answer))


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet"])
def test_scale(api, ns, seen, make, kind):
    """GET of a {kind}'s scale"""
    make(kind)
    answer = api.get(path(kind, ns, "one", "scale"))
    shown = {key: value for key, value in answer.json.items() if key != "metadata"}
    seen(f"{shown}, metadata {sorted(answer.meta)}")


@pytest.mark.parametrize("how", ["PUT", MERGE, STRATEGIC, JSON_PATCH])
def test_scaling(api, ns, seen, make, how):
    """{how} of a Deployment's scale changes its replicas"""
    make("Deployment")
    where = path("Deployment", ns, "one", "scale")
    if how == "PUT":
        answer = api.put(where, {**api.get(where).json, "spec": {"replicas": 3}})
    elif how == JSON_PATCH:
        answer = api.patch(where, [{"op": "replace", "path": "/spec/replicas", "value": 3}], how)
    else:
        answer = api.patch(where, {"spec": {"replicas": 3}}, how)
    assert answer.json["spec"] == {"replicas": 3}
    found = api.get(path("Deployment", ns, "one"))
    assert found.json["spec"]["replicas"] == 3
    seen(f"{answer}, generation {found.meta['generation']}")


_SCALES = {
    "replicas below 0": {"spec": {"replicas": -1}},
    "replicas that are text": {"spec": {"replicas": "x"}},
    "an old resourceVersion": {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 2}},
    "nothing": {},
}


@pytest.mark.parametrize("what", _SCALES)
def test_bad_scales(api, ns, seen, make, what):
    """PATCH of a Deployment's scale with {what}"""
    make("Deployment")
    answer = str(api.patch(path("Deployment", ns, "one", "scale"), _SCALES[what]))
    seen(re.sub(r"patch: Invalid value: .*: json", "patch: Invalid value: …: json", answer))


@pytest.mark.differs("the embedded API names the Deployment, a real one its scale")
def test_scale_of_another(api, ns, seen, make):
    """PATCH of a Deployment's scale with another uid"""
    make("Deployment")
    answer = api.patch(path("Deployment", ns, "one", "scale"), {"metadata": {"uid": "x"}, "spec": {"replicas": 2}})
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")
    seen(str(answer))


@pytest.mark.parametrize("kind", ["ConfigMap", "Pod", "VirtualService"])
@pytest.mark.parametrize("sub", ["scale", "odd"])
def test_none(api, ns, seen, make, kind, sub):
    """GET of a {kind}'s {sub}"""
    make(kind)
    answer = api.get(path(kind, ns, "one", sub))
    assert answer.code == 404
    seen(str(answer))


def _binding(ns, node="lab", **metadata):
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "one", "namespace": ns, **metadata},
        "target": {"kind": "Node", "name": node},
    }


_NO_SCHEDULER = pytest.mark.differs("the lab's own kubelet takes Pods, and no scheduler of anybody else's")


@_NO_SCHEDULER
def test_binding(api, ns, seen, side, make):
    """POST of a Binding puts a Pod on a node, once"""
    make("Pod")
    where = path("Pod", ns, "one", "binding")
    first = api.post(where, _binding(ns))
    assert first.code == (501 if side == "embedded" else 201)
    found = api.get(path("Pod", ns, "one")).json
    assert found["spec"].get("nodeName") == (None if side == "embedded" else "lab")
    conditions = [(one["type"], one["status"]) for one in found["status"].get("conditions", [])]
    seen(f"{first}, conditions {conditions}; again: {api.post(where, _binding(ns))}")


@_NO_SCHEDULER
def test_binding_of_another(api, ns, seen, side, make):
    """POST of a Binding with another uid, and to a Pod that is not there"""
    make("Pod")
    another = api.post(path("Pod", ns, "one", "binding"), _binding(ns, uid="x"))
    nobody = api.post(path("Pod", ns, "two", "binding"), {**_binding(ns), "metadata": {"name": "two"}})
    assert (another.code, nobody.code) == ((501, 501) if side == "embedded" else (409, 404))
    seen(f"{another}; {nobody}")


def test_eviction(api, ns, seen, make):
    """POST of an Eviction deletes a Pod"""
    make("Pod")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one", "namespace": ns}}
    answer = api.post(path("Pod", ns, "one", "eviction"), eviction)
    assert api.get(path("Pod", ns, "one")).code == 404
    seen(str(answer))


def test_logs(api, ns, seen, server):
    """GET of a Pod's log, whole and its last line"""
    server.kube.serve_pod_logs(lambda pod, container: f"one\n{pod['metadata']['name']} {container}\n")
    pod = sample("Pod")
    pod["spec"]["nodeName"] = "lab"
    api.post(path("Pod", ns), pod)
    where = path("Pod", ns, "one", "log")
    for query in ({}, {"container": "app", "tailLines": "1"}, {"container": "other"}, {"tailLines": "x"}):
        seen(str(api.get(where, **query)))


def test_logs_of_several_containers(api, ns, seen, server):
    """GET of the log of a Pod with two containers, without saying which"""
    server.kube.serve_pod_logs(lambda pod, container: "")
    pod = sample("Pod")
    pod["spec"] = {"nodeName": "lab", "containers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}]}
    api.post(path("Pod", ns), pod)
    seen(str(api.get(path("Pod", ns, "one", "log"))))


@pytest.mark.differs("nothing runs in a lab that could be attached to")
@pytest.mark.parametrize("sub", ["exec", "attach", "portforward"])
def test_streams(api, ns, seen, make, sub, side):
    """POST to a Pod's {sub}"""
    make("Pod")
    answer = api.post(path("Pod", ns, "one", sub), {}, command="x")
    assert answer.code == 501 if side == "embedded" else answer.code >= 400
    seen(str(answer))
