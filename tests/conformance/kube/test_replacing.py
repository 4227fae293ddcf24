"""Kubernetes API: replacing objects."""

import pytest
from kube_samples import CUSTOM, KINDS, path, sample


@pytest.mark.parametrize("kind", KINDS)
def test_replace(api, ns, seen, make, kind):
    """PUT replaces a {kind}; labels do not count as a generation"""
    made = make(kind)
    changed = {**made.json, "metadata": {**made.meta, "labels": {"a": "b"}}}
    answer = api.put(path(kind, ns, "one"), changed)
    assert answer.code == 200
    assert answer.meta["labels"] == {"a": "b"}
    assert int(answer.version) > int(made.version)
    seen(f"200, generation {made.meta.get('generation')} to {answer.meta.get('generation')}")


@pytest.mark.parametrize("kind", KINDS)
def test_replace_by_itself(api, ns, seen, make, kind):
    """PUT of the same {kind} is no write"""
    made = make(kind)
    answer = api.put(path(kind, ns, "one"), made.json)
    assert answer.version == made.version
    seen("200, the same resourceVersion")


@pytest.mark.parametrize("kind", KINDS)
def test_replace_an_old_one(api, ns, seen, make, kind):
    """PUT of a {kind} as it was before somebody else's change"""
    made = make(kind)
    assert api.patch(path(kind, ns, "one"), {"metadata": {"labels": {"a": "b"}}}).code == 200
    answer = api.put(path(kind, ns, "one"), made.json)
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")
    seen(str(answer))


@pytest.mark.parametrize("kind", KINDS)
def test_replace_whatever_is_there(api, ns, seen, make, kind):
    """PUT of a {kind} without a resourceVersion"""
    made = make(kind)
    bare = {key: value for key, value in made.meta.items() if key not in ("resourceVersion", "managedFields")}
    answer = api.put(path(kind, ns, "one"), {**made.json, "metadata": {**bare, "labels": {"a": "b"}}})
    seen(str(answer))


@pytest.mark.parametrize("kind", KINDS)
def test_replace_what_is_not_there(api, ns, seen, kind):
    """PUT of a {kind} that is not there"""
    answer = api.put(path(kind, ns, "one"), sample(kind, namespace=ns))
    seen(str(answer))


_OTHERS = {
    "another name": {"name": "two"},
    "another namespace": {"namespace": "other"},
    "another uid": {"uid": "another"},
    "a resourceVersion that is none": {"resourceVersion": "text"},
    "a deletionTimestamp": {"deletionTimestamp": "2001-01-01T00:00:00Z"},
}


@pytest.mark.parametrize("kind", ["ConfigMap", "Lease", "VirtualService"])
@pytest.mark.parametrize("what", _OTHERS)
def test_replace_with_another(api, ns, seen, make, kind, what):
    """PUT of a {kind} with {what}"""
    made = make(kind)
    answer = api.put(path(kind, ns, "one"), {**made.json, "metadata": {**made.meta, **_OTHERS[what]}})
    assert answer.code >= 400
    seen(str(answer))


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_lies_about_metadata(api, ns, seen, make, kind):
    """PUT cannot change creationTimestamp and generation of a {kind}"""
    made = make(kind)
    lies = {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7}
    answer = api.put(path(kind, ns, "one"), {**made.json, "metadata": {**made.meta, **lies}})
    assert answer.code == 200
    seen(", ".join(f"{key} {'kept' if answer.meta.get(key) == made.meta.get(key) else 'changed'}" for key in lies))


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", *CUSTOM])
def test_generation(api, ns, seen, make, kind):
    """A change of spec makes another generation of a {kind}"""
    made = make(kind)
    spec = {**made.json["spec"], **_OTHER.get(kind, {})}
    answer = api.put(path(kind, ns, "one"), {**made.json, "spec": spec})
    seen(f"{answer}, generation {made.meta.get('generation')} to {answer.meta.get('generation')}")


_OTHER = {
    "Deployment": {"replicas": 3},
    "ReplicaSet": {"replicas": 3},
    "VirtualService": {"hosts": ["other"]},
    "DestinationRule": {"host": "other"},
    "ServiceEntry": {"hosts": ["b.example"]},
    "EnvoyFilter": {"priority": 3},
    "AuthorizationPolicy": {"action": "DENY"},
    "PeerAuthentication": {"mtls": {"mode": "PERMISSIVE"}},
    "Telemetry": {"accessLogging": [{"disabled": False}]},
    "HTTPRoute": {"hostnames": ["a.example"]},
}


@pytest.mark.parametrize("kind", ["Service", "Pod", "ConfigMap", "Secret", "Lease"])
def test_generation_of_core_kinds(api, ns, seen, make, kind):
    """Whether a change of what a {kind} holds is counted"""
    made = make(kind)
    change = {
        "Service": {"spec": {"selector": {"app": "b"}}},
        "Pod": {"spec": {"containers": [{"name": "app", "image": "app:2"}]}},
        "Lease": {"spec": {"holderIdentity": "you"}},
    }.get(kind, {"data": {"a": "Mg=="}})
    content = "application/strategic-merge-patch+json"
    answer = api.patch(path(kind, ns, "one"), change, content)
    assert answer.code == 200
    seen(f"generation {made.meta.get('generation')} to {answer.meta.get('generation')}")
