"""Kubernetes API: lists, selectors and pages."""

import functools
import operator

import pytest
from kube_samples import KINDS, path, sample

_LABELS = {"a": {"app": "x", "tier": "1"}, "b": {"app": "y", "tier": "2"}, "c": {"tier": "3"}, "d": {}}


@pytest.fixture
def four(api, ns):
    """Four VirtualServices with labels."""
    for name, labels in _LABELS.items():
        assert api.post(path("VirtualService", ns), sample("VirtualService", name, labels=labels)).code == 201
    return path("VirtualService", ns)


_SELECTORS = [
    "app=x",
    "app==x",
    "app!=x",
    "app in (x,y)",
    "app in (x)",
    "app notin (x)",
    "app",
    "!app",
    "tier>1",
    "tier<3",
    "app=x,tier=1",
    "app=x,tier=2",
    "app,tier in (2,3)",
    "app=",
    "app in ()",
    " app = x ",
    "app=x,",
    ",",
    "=x",
    "app=x y",
    "app>x",
    "app in x",
    "app in (x",
    "a b",
    "-app",
    "app=-x",
    "!app=x",
    "app=x;tier=1",
    "example.com/app=x",
    "Example.com/app=x",
    "a/b/c=x",
]


@pytest.mark.parametrize("selector", _SELECTORS)
def test_label_selectors(api, seen, four, selector):
    """labelSelector={selector}"""
    answer = api.get(four, labelSelector=selector)
    seen(" ".join(answer.names) or "none" if answer.code == 200 else str(answer))


_FIELDS = [
    "metadata.name=a",
    "metadata.name==a",
    "metadata.name!=a",
    "metadata.name=a,metadata.name=b",
    "metadata.namespace!=",
    "metadata.namespace=other",
    "metadata.uid=x",
    "spec.hosts=details",
    "metadata.name",
    "metadata.name=",
    "metadata.labels.app=x",
    "metadata.name>a",
]


@pytest.mark.parametrize("selector", _FIELDS)
def test_field_selectors(api, seen, four, selector):
    """fieldSelector={selector} on VirtualServices"""
    answer = api.get(four, fieldSelector=selector)
    seen(" ".join(answer.names) or "none" if answer.code == 200 else str(answer))


_OF_KINDS = [
    ("Pod", "spec.nodeName=lab"),
    ("Pod", "spec.nodeName="),
    ("Pod", "status.phase=Pending"),
    ("Pod", "status.phase!=Pending"),
    ("Pod", "spec.serviceAccountName=default"),
    ("Pod", "spec.image=app:1"),
    ("Service", "spec.type=ClusterIP"),
    ("Service", "spec.clusterIP=None"),
    ("Service", "spec.selector=x"),
    ("Secret", "type=Opaque"),
    ("ConfigMap", "data=x"),
    ("ReplicaSet", "status.replicas=0"),
    ("Deployment", "status.replicas=0"),
    ("Event", "involvedObject.name=a"),
    ("Event", "reason=Tried"),
    ("Event", "type=Normal"),
    ("Event", "message=x"),
    ("Lease", "spec.holderIdentity=me"),
]


@pytest.mark.parametrize(("kind", "selector"), _OF_KINDS)
def test_fields_of_kinds(api, ns, seen, kind, selector):
    """fieldSelector={selector} on {kind}s"""
    body = sample(kind, namespace=ns)
    if kind == "Pod":
        body["spec"]["serviceAccountName"] = "default"
    if kind == "Event":
        body["type"] = "Normal"
    assert api.post(path(kind, ns), body).code == 201
    answer = api.get(path(kind, ns), fieldSelector=selector)
    seen(" ".join(answer.names) or "none" if answer.code == 200 else str(answer))


@pytest.mark.parametrize("selector", ["metadata.name=default", "status.phase=Active", "name=default", "spec.x=y"])
def test_fields_of_namespaces(api, seen, selector):
    """fieldSelector={selector} on Namespaces"""
    answer = api.get("/api/v1/namespaces", fieldSelector=selector)
    seen(f"default: {'default' in answer.names}" if answer.code == 200 else str(answer))


@pytest.mark.parametrize("kind", KINDS)
def test_list(api, ns, seen, kind):
    """The list of {kind}s of a namespace is in order of names, and says its version"""
    for name in ("c", "a", "b"):
        assert api.post(path(kind, ns), sample(kind, name, namespace=ns)).code == 201
    answer = api.get(path(kind, ns))
    assert [name for name in answer.names if len(name) == 1] == ["a", "b", "c"]
    assert int(answer.json["metadata"]["resourceVersion"]) >= max(
        int(item["metadata"]["resourceVersion"]) for item in answer.json["items"]
    )
    typed = sorted({"kind" in item for item in answer.json["items"]})
    seen(f"{answer.json['apiVersion']} {answer.json['kind']}, items name their kind: {typed}")


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_list_everywhere(api, ns, seen, kind):
    """The list of {kind}s of all namespaces holds this one's"""
    assert api.post(path(kind, ns), sample(kind)).code == 201
    found = [item for item in api.get(path(kind)).json["items"] if item["metadata"]["namespace"] == ns]
    assert "one" in [item["metadata"]["name"] for item in found]
    seen("it does")


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_list_nowhere(api, seen, kind):
    """The list of {kind}s of a namespace that is not there is empty"""
    answer = api.get(path(kind, "nowhere"))
    assert answer.code == 200
    seen(f"items {answer.json['items']}")


_WHOLE = pytest.mark.differs("the embedded API answers whole lists, whatever the limit, and gives out no continue")


@_WHOLE
def test_pages(api, seen, side, four):
    """A list is read in pages by limit and continue"""
    pages, query = [], {"limit": "3"}
    while True:
        answer = api.get(four, **query)
        pages.append((answer.names, answer.json["metadata"].get("remainingItemCount")))
        if not answer.json["metadata"].get("continue"):
            break
        query["continue"] = answer.json["metadata"]["continue"]
    assert functools.reduce(operator.iadd, (names for names, _ in pages), []) == ["a", "b", "c", "d"]
    assert len(pages) == (1 if side == "embedded" else 2)
    seen(str(pages))


@_WHOLE
def test_pages_are_of_one_moment(api, seen, side, four):
    """A page that is asked for later is as of the first one's moment"""
    first = api.get(four, limit="2")
    api.delete(f"{four}/d")
    if side == "embedded":
        assert "continue" not in first.json["metadata"]
        seen(f"there is only one page: {first.names}")
        return
    rest = api.get(four, limit="2", **{"continue": first.json["metadata"]["continue"]})
    assert rest.names == ["c", "d"]
    seen(f"{rest.names}, version {'as before' if rest.version == first.version else 'of now'}")


_PAGING = {
    "a limit that is no number": {"limit": "x"},
    "a limit below 0": {"limit": "-1"},
    "a limit of 0": {"limit": "0"},
    "a limit of 100": {"limit": "100"},
    "a continue that is none": {"limit": "2", "continue": "x"},
    "a resourceVersion that is none": {"resourceVersion": "x"},
    "a resourceVersion of 0": {"resourceVersion": "0"},
    "a resourceVersionMatch alone": {"resourceVersionMatch": "Exact"},
    "a resourceVersionMatch that is none": {"resourceVersion": "1", "resourceVersionMatch": "Odd"},
    "an unknown parameter": {"odd": "x"},
}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[_WHOLE] if what == "a continue that is none" else []) for what in _PAGING]
)
def test_paging(api, seen, four, what):
    """A list with {what}"""
    answer = api.get(four, **_PAGING[what])
    seen(" ".join(answer.names) if answer.code == 200 else str(answer))


def test_a_version_to_come(api, seen, four):
    """A list at a resourceVersion that is still to come"""
    answer = api.get(four, resourceVersion="99999999")
    assert answer.code == 504
    seen(str(answer).split("99999999")[0])


def test_exactly_the_present_version(api, seen, four):
    """A list at exactly the present resourceVersion"""
    version = api.get(four).json["metadata"]["resourceVersion"]
    answer = api.get(four, resourceVersion=version, resourceVersionMatch="Exact")
    seen(" ".join(answer.names))


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_get_what_is_not_there(api, ns, seen, kind):
    """GET of a {kind} that is not there"""
    answer = api.get(path(kind, ns, "one"))
    assert answer.code == 404
    seen(str(answer))


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_metadata_only(api, ns, seen, kind):
    """A {kind} and a list of them as PartialObjectMetadata"""
    assert api.post(path(kind, ns), sample(kind, labels={"mine": "yes"})).code == 201
    one = api.get(path(kind, ns, "one"), accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
    many = api.get(
        path(kind, ns),
        accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        labelSelector="mine=yes",
    )
    assert set(one.json) == {"kind", "apiVersion", "metadata"}
    seen(f"{one.json['apiVersion']} {one.json['kind']}, {many.json['kind']} of {many.names}")


@pytest.mark.differs("the embedded API answers in JSON only")
@pytest.mark.parametrize("accept", ["application/xml", "text/html", "application/json;as=Odd;v=v1;g=meta.k8s.io"])
def test_not_acceptable(api, seen, four, accept):
    """A list as {accept}"""
    answer = api.get(four, accept=accept)
    assert answer.code == 406
    seen(str(answer))


@pytest.mark.differs("the embedded API answers in JSON only")
@pytest.mark.parametrize("accept", ["application/yaml", "application/vnd.kubernetes.protobuf"])
def test_other_encodings(api, ns, seen, side, accept):
    """A ConfigMap as {accept}"""
    assert api.post(path("ConfigMap", ns), sample("ConfigMap")).code == 201
    answer = api.get(path("ConfigMap", ns, "one"), accept=accept)
    assert answer.code == (406 if side == "embedded" else 200)
    seen(f"{answer.code}, {answer.headers['Content-Type']}")


def test_a_head_request(api, seen, four):
    """HEAD of an object"""
    answer = api.ask("HEAD", f"{four}/a")
    seen(f"{answer.code}, {len(answer.raw)} bytes")
