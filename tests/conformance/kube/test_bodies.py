"""Kubernetes API: bodies."""

import pytest
from kube_samples import path, sample

_BAD_CONFIG_MAPS = {
    "another namespace": {"metadata": {"name": "one", "namespace": "other"}},
    "another kind": {"kind": "Service", "data": None},
    "another version": {"apiVersion": "v2"},
    "a resourceVersion": {"metadata": {"name": "one", "resourceVersion": "1"}},
    "metadata that are text": {"metadata": "text"},
    "data that are a list": {"data": [1]},
    "data with a number": {"data": {"a": 1}},
    "a data key with a slash": {"data": {"a/b": "c"}},
}


@pytest.mark.parametrize("what", _BAD_CONFIG_MAPS)
def test_bad_config_map(api, ns, seen, what):
    """POST of a ConfigMap with {what}"""
    answer = api.post(path("ConfigMap", ns), sample("ConfigMap") | _BAD_CONFIG_MAPS[what])
    assert 400 <= answer.code <= 500
    seen(str(answer))


_BAD_VIRTUAL_SERVICES = {
    "another namespace": {"metadata": {"name": "one", "namespace": "other"}},
    "another kind": {"kind": "Gateway"},
    "no kind": {"kind": ""},
    "another group": {"apiVersion": "v1"},
    "no version": {"apiVersion": ""},
    "another version": {"apiVersion": "networking.istio.io/v1beta1"},
    "a resourceVersion": {"metadata": {"name": "one", "resourceVersion": "1"}},
    "a spec that is text": {"spec": "text"},
}


@pytest.mark.parametrize("what", _BAD_VIRTUAL_SERVICES)
def test_bad_virtual_service(api, ns, seen, what):
    """POST of a VirtualService with {what}"""
    answer = api.post(path("VirtualService", ns), sample("VirtualService") | _BAD_VIRTUAL_SERVICES[what])
    assert 400 <= answer.code <= 500
    seen(str(answer))


_YAML = pytest.mark.differs("Python's YAML parser has its own words for what is wrong")
_NO_OBJECTS = {
    "half of a JSON document": (b"{", "application/json"),
    "nothing": (b"", "application/json"),
    "a list": (b"[]", "application/json"),
    "half of a YAML document": (b"a: [", "application/yaml"),
    "plain text": (b"{}", "text/plain"),
    "a merge patch": (b"{}", "application/merge-patch+json"),
}


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
@pytest.mark.parametrize("what", [pytest.param(what, marks=[_YAML] if "YAML" in what else []) for what in _NO_OBJECTS])
def test_no_object(api, ns, seen, kind, what):
    """A POST to {kind} of {what}"""
    body, content_type = _NO_OBJECTS[what]
    answer = api.post(path(kind, ns), body, content_type=content_type)
    assert answer.code in (400, 415)
    seen(str(answer))


def test_yaml(api, ns, seen):
    """A body in YAML creates an object"""
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {a: b}\n"
    answer = api.post(path("ConfigMap", ns), body, content_type="application/yaml")
    assert answer.json["data"] == {"a": "b"}
    seen(str(answer))


def test_built_in_kinds_need_not_say_what_they_are(api, ns, seen):
    """A ConfigMap may leave out apiVersion and kind"""
    answer = api.post(path("ConfigMap", ns), {"metadata": {"name": "one"}})
    assert answer.code == 201
    seen(str(answer))
