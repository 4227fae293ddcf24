"""Kubernetes API: creating objects."""

import pytest
from kube_samples import KINDS, SOME, path, sample


@pytest.mark.parametrize("kind", KINDS)
def test_create(make, seen, kind):
    """POST creates a {kind}: 201, with what the server adds to its metadata"""
    made = make(kind)
    assert made.json["kind"] == kind
    assert made.meta["uid"]
    assert made.meta["resourceVersion"].isdecimal()
    added = {key: made.meta[key] for key in sorted(made.meta) if key not in ("name", "namespace", "managedFields")}
    shown = ", ".join(f"{key}={value}" if key == "generation" else key for key, value in added.items())
    seen(f"201; {shown}")


@pytest.mark.parametrize("kind", ["Namespace", *KINDS])
def test_what_is_filled_in(api, ns, seen, make, kind):
    """What the server fills into a new {kind} outside its metadata"""
    if kind == "Namespace":
        made = api.get(f"/api/v1/namespaces/{ns}").json
        sent = {"metadata": {}}
        seen(f"labels {made['metadata']['labels']}".replace(ns, "its name"))
    else:
        sent, made = sample(kind, namespace=ns), make(kind).json
    added = {key: _added(sent.get(key), value) for key, value in made.items() if key != "metadata"}
    added = {key: value for key, value in added.items() if value is not _SAME and key not in ("kind", "apiVersion")}
    seen(api.steady(_text(added) or "nothing"))


_SAME = object()


def _added(sent, made):
    if isinstance(sent, dict) and isinstance(made, dict):
        found = {key: _added(sent.get(key, _SAME), value) for key, value in made.items()}
        return {key: value for key, value in found.items() if value is not _SAME} or _SAME
    if isinstance(sent, list) and isinstance(made, list) and len(sent) == len(made):
        found = [_added(*pair) for pair in zip(sent, made, strict=True)]
        return [value for value in found if value is not _SAME] or _SAME
    return _SAME if sent == made else made


def _text(value):
    if isinstance(value, dict):
        return ", ".join(
            f"{key}: {_text(value[key]) if value[key] != {} else '{}'}" for key in sorted(value) if key not in _VARYING
        )
    if isinstance(value, list):
        return "[" + "; ".join(_text(item) for item in value) + "]"
    return str(value)


_VARYING = ("clusterIP", "clusterIPs")


@pytest.mark.parametrize("kind", SOME)
def test_create_again(api, ns, seen, make, kind):
    """POST of a {kind} that is there already is refused"""
    make(kind)
    again = api.post(path(kind, ns), sample(kind, namespace=ns))
    assert (again.code, again.json["reason"]) == (409, "AlreadyExists")
    seen(str(again))


@pytest.mark.parametrize("kind", ["ConfigMap", "Pod", "VirtualService"])
def test_create_nowhere(api, seen, kind):
    """POST of a {kind} into a namespace that is not there"""
    answer = api.post(path(kind, "nowhere"), sample(kind))
    assert (answer.code, answer.json["reason"]) == (404, "NotFound")
    seen(str(answer))


def test_create_in_all_namespaces(api, seen):
    """POST to the collection of all namespaces"""
    answer = api.post(path("ConfigMap"), sample("ConfigMap"))
    assert answer.code == 405
    seen(str(answer))


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_generate_name(api, ns, seen, kind):
    """generateName ends in five letters and digits without vowels ({kind})"""
    body = sample(kind)
    body["metadata"] = {"generateName": "made-"}
    names = {api.post(path(kind, ns), body).meta["name"] for _ in range(5)}
    assert len(names) == 5
    for name in names:
        assert len(name) == 10
        assert set(name.removeprefix("made-")) <= set("bcdfghjklmnpqrstvwxz2456789")
    seen("five names, all different")


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_no_name(api, ns, seen, kind):
    """A {kind} without a name"""
    body = sample(kind)
    body["metadata"] = {}
    answer = api.post(path(kind, ns), body)
    assert answer.code == 422
    seen(str(answer))


_BAD_NAMES = {
    "upper case": ("ConfigMap", "Upper"),
    "upper case in a custom kind": ("VirtualService", "Upper"),
    "254 characters": ("ConfigMap", "a" * 254),
    "a Service's with a capital": ("Service", "Details"),
    "a Role's with a slash": ("Role", "a/b"),
    "an underscore": ("Deployment", "under_score"),
}


@pytest.mark.parametrize("what", _BAD_NAMES)
def test_bad_name(api, ns, seen, what):
    """A name that is none is refused: {what}"""
    kind, name = _BAD_NAMES[what]
    answer = api.post(path(kind, ns), sample(kind, name))
    assert (answer.code, answer.json["reason"]) == (422, "Invalid")
    seen(str(answer).replace("a" * 254, "a…"))


def test_a_service_may_begin_with_a_digit(api, ns, seen):
    """A Service's name may begin with a digit"""
    seen(str(api.post(path("Service", ns), sample("Service", "1st"))))


_BAD_ENTRIES = {
    "a key with a blank": ("a b", "c"),
    "a value with a blank": ("ok", "a b"),
    "a value of 64 characters": ("ok", "x" * 64),
    "a number": ("ok", 1),
    "null": ("ok", None),
    "a prefix with a capital": ("Example.com/ok", "c"),
}


@pytest.mark.parametrize("where", ["labels", "annotations"])
@pytest.mark.parametrize("what", _BAD_ENTRIES)
def test_labels_and_annotations(api, ns, seen, where, what):
    """Among {where}: {what}"""
    key, value = _BAD_ENTRIES[what]
    answer = api.post(path("ConfigMap", ns), sample("ConfigMap", **{where: {key: value}}))
    seen(str(answer).replace("x" * 64, "x…"))


@pytest.mark.parametrize("kind", SOME)
def test_the_servers_own_metadata(api, ns, seen, kind):
    """uid, creationTimestamp and generation of a new {kind} are the server's alone"""
    lies = {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7, "selfLink": "/x"}
    made = api.post(path(kind, ns), sample(kind, namespace=ns, **lies))
    assert made.meta["uid"] != "mine"
    assert made.meta["creationTimestamp"] != lies["creationTimestamp"]
    seen(f"{made}, generation {made.meta.get('generation')}, selfLink {made.meta.get('selfLink')}")


def test_core_kinds_take_null_as_absence(api, ns, seen):
    """null is absence in a ConfigMap"""
    answer = api.post(path("ConfigMap", ns), sample("ConfigMap") | {"data": None, "binaryData": None})
    seen(f"{answer}, {sorted(set(answer.json) - {'metadata'})}")


def test_string_data(api, ns, seen):
    """A Secret's stringData become data"""
    answer = api.post(path("Secret", ns), {"metadata": {"name": "s"}, "stringData": {"b": "2"}, "data": {"a": "MQ=="}})
    assert answer.json["data"] == {"a": "MQ==", "b": "Mg=="}
    seen(f"data {answer.json['data']}, type {answer.json['type']}")


def test_versions_of_one_object(api, ns, seen, make):
    """A VirtualService is the same object in all its versions"""
    make("VirtualService")
    found = {}
    for version in ("v1", "v1beta1", "v1alpha3"):
        where = path("VirtualService", ns, "one").replace("/v1/", f"/{version}/")
        found[version] = api.get(where).json
    assert len({obj["metadata"]["uid"] for obj in found.values()}) == 1
    seen(", ".join(f"{version}: {obj['apiVersion']}" for version, obj in found.items()))


def test_cluster_ips(api, ns, seen, make):
    """A Service gets an address of 10.96.0.0/16, and may ask for one"""
    made = make("Service").json["spec"]["clusterIP"]
    assert made.startswith("10.96.")
    asked = sample("Service", "two")
    asked["spec"]["clusterIP"] = "10.96.200.7"
    mine = api.post(path("Service", ns), asked)
    again = sample("Service", "three")
    again["spec"]["clusterIP"] = "10.96.200.7"
    seen(f"asked for: {mine.json['spec']['clusterIP']}; taken: {api.post(path('Service', ns), again)}")
    assert api.delete(path("Service", ns, "two")).code == 200


def test_headless_services(api, ns, seen):
    """A headless and an external Service"""
    headless = sample("Service", "headless")
    headless["spec"]["clusterIP"] = "None"
    external = {"metadata": {"name": "out"}, "spec": {"type": "ExternalName", "externalName": "a.example"}}
    for body in (headless, external):
        spec = api.post(path("Service", ns), body).json["spec"]
        seen(", ".join(f"{key}={spec[key]}" for key in sorted(spec) if key not in ("ports", "selector")))
