"""Kubernetes API: patches."""

import re

import pytest
from kube_client import JSON_PATCH, MERGE, STRATEGIC
from kube_samples import CORE, CUSTOM, SOME, path, sample


@pytest.mark.parametrize("kind", SOME)
@pytest.mark.parametrize("content_type", [JSON_PATCH, MERGE, STRATEGIC])
def test_labels_by_each_kind_of_patch(api, ns, seen, make, kind, content_type):
    """A label is added to a {kind} by {content_type}"""
    made = make(kind)
    patch = {"metadata": {"labels": {"a": "b"}}}
    if content_type == JSON_PATCH:
        patch = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
    answer = api.patch(path(kind, ns, "one"), patch, content_type)
    if content_type == STRATEGIC and kind in CUSTOM:
        assert answer.code == 415
        seen(str(answer))
        return
    assert answer.meta["labels"] == {"a": "b"}
    assert int(answer.version) > int(made.version)
    seen(f"{answer}, generation {answer.meta.get('generation')}")


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/apply-patch+xml", ""])
def test_no_kind_of_patch(api, ns, seen, make, kind, content_type):
    """PATCH of a {kind} with the content type '{content_type}'"""
    make(kind)
    answer = api.patch(path(kind, ns, "one"), b"{}", content_type)
    assert answer.code == 415
    seen(str(answer))


@pytest.mark.differs("field ownership hangs on managedFields, which only a real API server keeps")
@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_server_side_apply(api, ns, seen, side, kind):
    """Server-side apply of a {kind}"""
    answer = api.patch(path(kind, ns, "one"), sample(kind), "application/apply-patch+yaml", fieldManager="test")
    assert answer.code == (501 if side == "embedded" else 201)
    seen(str(answer))


@pytest.mark.differs("field ownership hangs on managedFields, which only a real API server keeps")
def test_managed_fields(api, seen, make):
    """A new object's managedFields"""
    seen("there" if "managedFields" in make("ConfigMap").meta else "none")


_JSON_PATCHES = {
    "add to an object": [{"op": "add", "path": "/data/b", "value": "2"}],
    "add what is there": [{"op": "add", "path": "/data/a", "value": "2"}],
    "add below what is not there": [{"op": "add", "path": "/nothing/b", "value": "2"}],
    "replace": [{"op": "replace", "path": "/data/a", "value": "2"}],
    "replace what is not there": [{"op": "replace", "path": "/data/b", "value": "2"}],
    "remove": [{"op": "remove", "path": "/data/a"}],
    "remove what is not there": [{"op": "remove", "path": "/data/b"}],
    "copy": [{"op": "copy", "from": "/data/a", "path": "/data/b"}],
    "move": [{"op": "move", "from": "/data/a", "path": "/data/b"}],
    "move what is not there": [{"op": "move", "from": "/data/b", "path": "/data/c"}],
    "a test that holds": [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "add", "path": "/data/b", "value": "2"},
    ],
    "a test that fails": [
        {"op": "test", "path": "/data/a", "value": "2"},
        {"op": "add", "path": "/data/b", "value": "2"},
    ],
    "a test of what is not there": [{"op": "test", "path": "/data/b", "value": "2"}],
    "a test for null of what is not there": [{"op": "test", "path": "/data/b", "value": None}],
    "an escaped path": [
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/a.b~1c", "value": "x"},
    ],
    "an unknown operation": [{"op": "merge", "path": "/data/a", "value": "2"}],
    "an operation without a path": [{"op": "add", "value": "2"}],
    "an operation without a value": [{"op": "add", "path": "/data/b"}],
    "no operation": [],
    "no list": {"op": "add", "path": "/data/b", "value": "2"},
    "a change of the name": [{"op": "replace", "path": "/metadata/name", "value": "two"}],
    "a change of the uid": [{"op": "replace", "path": "/metadata/uid", "value": "two"}],
    "removing the resourceVersion": [{"op": "remove", "path": "/metadata/resourceVersion"}],
    "an old resourceVersion": [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}],
    "a number where text belongs": [{"op": "add", "path": "/data/b", "value": 2}],
}


_WHY = pytest.mark.differs("the embedded API also says why it cannot be applied, as a cause")
_INAPPLICABLE = (
    "add below what is not there", "remove what is not there", "move what is not there", "a test that fails",
    "a test of what is not there", "an unknown operation", "an operation without a path",
)  # fmt: skip


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[_WHY] if what in _INAPPLICABLE else []) for what in _JSON_PATCHES]
)
def test_json_patch(api, ns, seen, make, what):
    """JSON patch of a ConfigMap: {what}"""
    make("ConfigMap")
    answer = api.patch(path("ConfigMap", ns, "one"), _JSON_PATCHES[what], JSON_PATCH)
    if answer.code == 200:
        seen(f"200, data {answer.json.get('data')}, annotations {answer.meta.get('annotations')}")
    else:
        seen(_short(answer))


def _short(answer):
    """A refusal without the object that it quotes."""
    return re.sub(r"patch: Invalid value: .*\": ", "patch: Invalid value: …: ", str(answer))


@pytest.mark.parametrize(
    "what",
    [
        "a test of the resourceVersion that holds",
        pytest.param("a test of the resourceVersion that fails", marks=_WHY),
        "a route in front",
    ],
)
def test_json_patch_of_a_custom_kind(api, ns, seen, make, what):
    """JSON patch of a VirtualService: {what}"""
    made = make("VirtualService")
    version = made.version if "holds" in what or "route" in what else "1"
    route = {"name": "mine", "route": [{"destination": {"host": "details"}}]}
    patch = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/spec/http/0", "value": route},
    ]
    answer = api.patch(path("VirtualService", ns, "one"), patch, JSON_PATCH)
    names = [one.get("name") for one in answer.json["spec"]["http"]] if answer.code == 200 else ""
    seen(f"{answer} {names}".strip())


_MERGES = {
    "a new key": {"data": {"b": "2"}},
    "null": {"data": {"a": None}},
    "null for what is not there": {"data": {"b": None}},
    "null for all data": {"data": None},
    "nothing": {},
    "what is there already": {"data": {"a": "1"}},
    "no object": [],
    "the resourceVersion it has": {"metadata": {"resourceVersion": "PRESENT"}, "data": {"b": "2"}},
    "an old resourceVersion": {"metadata": {"resourceVersion": "1"}, "data": {"b": "2"}},
    "the uid it has": {"metadata": {"uid": "PRESENT"}, "data": {"b": "2"}},
    "another uid": {"metadata": {"uid": "other"}, "data": {"b": "2"}},
    "another name": {"metadata": {"name": "two"}},
    "another namespace": {"metadata": {"namespace": "other"}},
    "another kind": {"kind": "Secret"},
    "text where an object belongs": {"data": "text"},
    "metadata null": {"metadata": None},
}


_UNCHECKED = pytest.mark.differs(
    "a real server tries to read the ConfigMap as the other kind, the embedded API ignores it"
)


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[_UNCHECKED] if what == "another kind" else []) for what in _MERGES]
)
def test_merge_patch(api, ns, seen, make, what):
    """Merge patch of a ConfigMap: {what}"""
    made = make("ConfigMap")
    patch = _MERGES[what]
    metadata = patch.get("metadata") if isinstance(patch, dict) else None
    if metadata:
        metadata = {key: made.meta[key] if value == "PRESENT" else value for key, value in metadata.items()}
        patch = {**patch, "metadata": metadata}
    answer = api.patch(path("ConfigMap", ns, "one"), patch)
    if answer.code == 200:
        same = "unchanged" if answer.version == made.version else "written"
        seen(f"200, data {answer.json.get('data')}, {same}")
    else:
        seen(_short(answer))


@pytest.mark.parametrize("content_type", [JSON_PATCH, MERGE, STRATEGIC])
@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_half_a_patch(api, ns, seen, make, kind, content_type):
    """PATCH of a {kind} by half of a {content_type}"""
    make(kind)
    answer = api.patch(path(kind, ns, "one"), b'{"a":', content_type)
    assert answer.code in (400, 415)
    seen(str(answer))


@pytest.mark.parametrize("content_type", [JSON_PATCH, MERGE])
@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_patch_of_what_is_not_there(api, ns, seen, kind, content_type):
    """PATCH of a {kind} that is not there by {content_type}"""
    answer = api.patch(path(kind, ns, "one"), b"[]" if content_type == JSON_PATCH else b"{}", content_type)
    assert answer.code == 404
    seen(str(answer))


_STRATEGIC = {
    "containers are merged by name": (
        "Pod",
        {"spec": {"containers": [{"name": "app", "image": "app:2"}]}},
        lambda obj: [(one["name"], one["image"]) for one in obj["spec"]["containers"]],
    ),
    "env is merged by name": (
        "Deployment",
        {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [{"name": "A", "value": "1"}]}]}}}},
        lambda obj: obj["spec"]["template"]["spec"]["containers"][0]["env"],
    ),
    "a container is removed by $patch: delete": (
        "Deployment",
        {
            "spec": {
                "template": {"spec": {"containers": [{"name": "b", "image": "b"}, {"name": "app", "$patch": "delete"}]}}
            }
        },
        lambda obj: [one["name"] for one in obj["spec"]["template"]["spec"]["containers"]],
    ),
    "containers are replaced by $patch: replace": (
        "Deployment",
        {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b"}, {"$patch": "replace"}]}}}},
        lambda obj: [one["name"] for one in obj["spec"]["template"]["spec"]["containers"]],
    ),
    "containers are ordered by $setElementOrder": (
        "Deployment",
        {
            "spec": {
                "template": {
                    "spec": {
                        "$setElementOrder/containers": [{"name": "b"}, {"name": "app"}],
                        "containers": [{"name": "b", "image": "b"}],
                    }
                }
            }
        },
        lambda obj: [one["name"] for one in obj["spec"]["template"]["spec"]["containers"]],
    ),
    "a Service's ports are merged by port": (
        "Service",
        {"spec": {"ports": [{"port": 81, "name": "b"}, {"port": 80, "name": "a"}]}},
        lambda obj: [(one["port"], one["name"]) for one in obj["spec"]["ports"]],
    ),
    "a selector is merged": (
        "Service",
        {"spec": {"selector": {"b": "c"}}},
        lambda obj: obj["spec"]["selector"],
    ),
    "a map is replaced by $patch: replace": (
        "Service",
        {"spec": {"selector": {"$patch": "replace", "b": "c"}}},
        lambda obj: obj["spec"]["selector"],
    ),
    "an unknown directive": ("Service", {"spec": {"selector": {"$patch": "odd", "b": "c"}}}, lambda obj: obj),
    "a list item without its key": ("Pod", {"spec": {"containers": [{"image": "app:2"}]}}, lambda obj: obj),
    "$retainKeys of a Deployment's strategy": (
        "Deployment",
        {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
        lambda obj: obj["spec"]["strategy"],
    ),
    "finalizers are merged": (
        "ConfigMap",
        {"metadata": {"finalizers": ["example.com/b"]}},
        lambda obj: obj["metadata"]["finalizers"],
    ),
    "finalizers are removed by $deleteFromPrimitiveList": (
        "ConfigMap",
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}},
        lambda obj: obj["metadata"].get("finalizers"),
    ),
}


@pytest.mark.parametrize("what", _STRATEGIC)
def test_strategic_merge_patch(api, ns, seen, make, what):
    """Strategic merge patch: {what}"""
    kind, patch, shown = _STRATEGIC[what]
    make(kind, **({"finalizers": ["example.com/a"]} if "finalizers" in what else {}))
    answer = api.patch(path(kind, ns, "one"), patch, STRATEGIC)
    seen(str(shown(answer.json)) if answer.code == 200 else str(answer))
    api.patch(path(kind, ns, "one"), {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("kind", CORE)
def test_no_write_by_a_patch(api, ns, seen, make, kind):
    """A patch of a {kind} that changes nothing is no write"""
    made = make(kind)
    versions = {api.patch(path(kind, ns, "one"), {}, how).version for how in (MERGE, STRATEGIC)}
    assert versions == {made.version}
    seen("the same resourceVersion")


def test_many_operations(api, ns, seen, make):
    """A JSON patch of 10001 operations"""
    make("ConfigMap")
    patch = [{"op": "test", "path": "/data/a", "value": "1"}] * 10001
    answer = api.patch(path("ConfigMap", ns, "one"), patch, JSON_PATCH)
    assert answer.code == 413
    seen(str(answer))
