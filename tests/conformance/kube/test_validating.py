"""Kubernetes API: what objects may hold."""

import re

import pytest
from kube_samples import path, sample

_CHANGES = {
    "a Deployment's selector": ("Deployment", {"spec": {"selector": {"matchLabels": {"app": "b"}}}}),
    "a Deployment's replicas below 0": ("Deployment", {"spec": {"replicas": -1}}),
    "a Deployment's template's labels": ("Deployment", {"spec": {"template": {"metadata": {"labels": {"app": "b"}}}}}),
    "a Pod's node": ("Pod", {"spec": {"nodeName": "lab"}}),
    "a Pod's command": ("Pod", {"spec": {"containers": [{"name": "app", "image": "app:1", "command": ["x"]}]}}),
    "a Pod's grace period": ("Pod", {"spec": {"terminationGracePeriodSeconds": 3}}),
    "a Pod's image": ("Pod", {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}),
    "a Service's ports to none": ("Service", {"spec": {"ports": []}}),
    "a Service's port to 70000": ("Service", {"spec": {"ports": [{"port": 70000}]}}),
    "a Service's address": ("Service", {"spec": {"clusterIP": "10.96.3.3"}}),
    "a Service's type to one that is none": ("Service", {"spec": {"type": "Odd"}}),
    "a Secret's type": ("Secret", {"type": "other"}),
    "a RoleBinding's role": ("RoleBinding", {"roleRef": {"name": "b"}}),
    "a Lease's duration to 0": ("Lease", {"spec": {"leaseDurationSeconds": 0}}),
    "a ConfigMap to immutable": ("ConfigMap", {"immutable": True}),
}


@pytest.mark.parametrize("what", _CHANGES)
def test_fields_that_may_not_change(api, ns, seen, make, what):
    """A change of {what}"""
    kind, change = _CHANGES[what]
    make(kind)
    # the real server ends its refusal of a Pod's change in a diff of Go structs
    seen(re.sub(r'\\n.*?(?=" kind=)', "", str(api.patch(path(kind, ns, "one"), change))))


def test_immutable_config_maps(api, ns, seen, make):
    """An immutable ConfigMap"""
    make("ConfigMap")
    assert api.patch(path("ConfigMap", ns, "one"), {"immutable": True}).code == 200
    seen(f"data: {api.patch(path('ConfigMap', ns, 'one'), {'data': {'a': '2'}})}")
    seen(f"mutable again: {api.patch(path('ConfigMap', ns, 'one'), {'immutable': False})}")
    seen(f"labels: {api.patch(path('ConfigMap', ns, 'one'), {'metadata': {'labels': {'a': 'b'}}})}")


_CONTAINERS = {
    "no container": [],
    "no name": [{"image": "a"}],
    "no image": [{"name": "a"}],
    "one name twice": [{"name": "a", "image": "a"}, {"name": "a", "image": "a"}],
    "a port of 0": [{"name": "a", "image": "a", "ports": [{"containerPort": 0}]}],
}


@pytest.mark.parametrize("what", _CONTAINERS)
def test_pods_containers(api, ns, seen, what):
    """A Pod with {what}"""
    pod = sample("Pod")
    pod["spec"] = {"containers": _CONTAINERS[what]}
    answer = api.post(path("Pod", ns), pod)
    assert answer.code == 422
    seen(str(answer))


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet"])
@pytest.mark.parametrize("wrong", ["no selector", "no template", "labels that it does not select"])
def test_templated(api, ns, seen, kind, wrong):
    """A {kind} with {wrong}"""
    obj = sample(kind)
    if wrong == "no selector":
        del obj["spec"]["selector"]
    elif wrong == "no template":
        del obj["spec"]["template"]
    else:
        obj["spec"]["template"]["metadata"]["labels"] = {"app": "b"}
    answer = api.post(path(kind, ns), obj)
    assert answer.code == 422
    seen(str(answer))


def test_owner_references(api, ns, seen):
    """An ownerReference needs all of apiVersion, kind, name and uid"""
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}
    for missing in ("", "apiVersion", "kind", "name", "uid"):
        reference = {key: value for key, value in owner.items() if key != missing}
        name = f"without-{missing.lower()}".strip("-")
        answer = api.post(path("ConfigMap", ns), sample("ConfigMap", name, ownerReferences=[reference]))
        seen(str(answer))
