"""Kubernetes API: creating and replacing objects."""

import pytest
from kube_samples import CUSTOM, KINDS, path, sample

_OWNED = ("creationTimestamp", "generation", "resourceVersion", "uid")
SOME = ("ConfigMap", "Service", "Pod", "Deployment", "Lease", "VirtualService", "EnvoyFilter")


@pytest.fixture
def make(api, ns):
    """Create an object of a kind; it must be accepted."""

    def made(kind, name="one", **metadata):
        answer = api.post(path(kind, ns), sample(kind, name, namespace=ns, **metadata))
        assert answer.code == 201, str(answer)
        return answer

    return made


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
        seen(f"labels {made['metadata']['labels']}")
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
    "a prefix with a capital": ("Example.com/ok", "c"),
}


@pytest.mark.parametrize("where", ["labels", "annotations"])
@pytest.mark.parametrize("what", _BAD_ENTRIES)
def test_labels_and_annotations(api, ns, seen, where, what):
    """Among {where}: {what}"""
    key, value = _BAD_ENTRIES[what]
    answer = api.post(path("ConfigMap", ns), sample("ConfigMap", **{where: {key: value}}))
    seen(str(answer).replace("x" * 64, "x…"))


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


_NO_OBJECTS = {
    "half of a JSON document": (b"{", "application/json"),
    "nothing": (b"", "application/json"),
    "a list": (b"[]", "application/json"),
    "half of a YAML document": (b"a: [", "application/yaml"),
    "plain text": (b"{}", "text/plain"),
    "a merge patch": (b"{}", "application/merge-patch+json"),
}


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
@pytest.mark.parametrize("what", _NO_OBJECTS)
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


@pytest.mark.parametrize("kind", SOME)
def test_the_servers_own_metadata(api, ns, seen, kind):
    """uid, creationTimestamp and generation of a new {kind} are the server's alone"""
    lies = {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7, "selfLink": "/x"}
    made = api.post(path(kind, ns), sample(kind, namespace=ns, **lies))
    assert made.meta["uid"] != "mine"
    assert made.meta["creationTimestamp"] != lies["creationTimestamp"]
    seen(f"{made}, generation {made.meta.get('generation')}, selfLink {made.meta.get('selfLink')}")


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
    seen(str(api.patch(path(kind, ns, "one"), change)).split("\\n@@")[0])


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


def test_owner_references(api, ns, seen):
    """An ownerReference needs all of apiVersion, kind, name and uid"""
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}
    for missing in ("", "apiVersion", "kind", "name", "uid"):
        reference = {key: value for key, value in owner.items() if key != missing}
        name = f"without-{missing.lower()}".strip("-")
        answer = api.post(path("ConfigMap", ns), sample("ConfigMap", name, ownerReferences=[reference]))
        seen(str(answer))
