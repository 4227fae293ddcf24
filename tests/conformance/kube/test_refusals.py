"""Kubernetes API: requests that it refuses, and other paths."""

import pytest
from kube_client import MERGE
from kube_samples import path, sample

_PATHS = [
    "/",
    "/nothing",
    "/api/v2",
    "/api/v1/unicorns",
    "/api/v1/namespaces/default/unicorns",
    "/api/v1/namespaces/default/unicorns/one",
    "/apis/example.com",
    "/apis/example.com/v1",
    "/apis/example.com/v1/unicorns",
    "/apis/apps/v2/deployments",
    "/apis/networking.istio.io/v1/unicorns",
    "/apis/networking.istio.io/v2/virtualservices",
    "/api/v1/namespaces/default/namespaces/x",
    "/api/v1/namespaces/default/configmaps/a/b/c",
    "/api/v1/configmaps/one",
    "/api/v1//configmaps",
    "/api/v1/namespaces/default/configmaps/",
    "/apis/networking.istio.io/v1/virtualservices/one",
]


@pytest.mark.parametrize("where", _PATHS)
def test_paths(api, seen, where):
    """GET {where}"""
    answer = api.get(where)
    if where == "/":
        assert "/api/v1" in answer.json["paths"]
        seen(f"{answer.code}, paths")
        return
    seen(str(answer))


_VERBS = [
    ("POST", "ConfigMap", "one"),
    ("PUT", "ConfigMap", ""),
    ("PATCH", "ConfigMap", ""),
    ("POST", "VirtualService", "one"),
    ("PUT", "VirtualService", ""),
    ("PATCH", "VirtualService", ""),
    ("TRACE", "VirtualService", "one"),
    ("OPTIONS", "VirtualService", "one"),
]


@pytest.mark.parametrize(("method", "kind", "name"), _VERBS)
def test_verbs(api, ns, seen, method, kind, name):
    """{method} of a {kind} at '{name}'"""
    answer = api.ask(
        method, path(kind, ns, name), sample(kind), content_type=MERGE if method == "PATCH" else "application/json"
    )
    assert answer.code == (_OF_CUSTOM_KINDS.get((method, name), 405) if kind == "VirtualService" else 405)
    seen(str(answer))


_OF_CUSTOM_KINDS = {("POST", "one"): 201, ("PUT", ""): 400, ("PATCH", ""): 400}


@pytest.mark.parametrize("where", ["/healthz", "/readyz", "/livez", "/readyz/ping", "/version"])
def test_health(api, seen, where):
    """GET {where}"""
    answer = api.get(where)
    assert answer.code == 200
    seen(str(answer) if where != "/version" else f"200, {sorted(answer.json)}")


@pytest.mark.parametrize("size", ["2 MB", "4 MB"])
@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_large_bodies(api, ns, seen, kind, size):
    """POST of a {kind} of {size}"""
    body = sample(kind)
    text = "x" * (int(size[0]) * 1024 * 1024)
    body |= {"data": {"a": text}} if kind == "ConfigMap" else {"spec": {"hosts": [text]}}
    answer = api.post(path(kind, ns), body)
    assert answer.code >= 400
    seen(f"{answer.code} {answer.json.get('reason')}")


def test_large_annotations(api, ns, seen):
    """Annotations of more than 256 KiB"""
    answer = api.post(path("ConfigMap", ns), sample("ConfigMap", annotations={"a": "x" * 262_144}))
    assert answer.code == 422
    seen(str(answer))


@pytest.mark.parametrize(
    ("verb", "resource", "group"),
    [("get", "pods", ""), ("delete", "virtualservices", "networking.istio.io"), ("odd", "unicorns", "example.com")],
)
def test_access_reviews(api, seen, verb, resource, group):
    """SelfSubjectAccessReview: may I {verb} {resource}?"""
    attributes = {"verb": verb, "resource": resource, "group": group, "namespace": "default"}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    assert answer.json["status"]["allowed"]
    asked = {key: value for key, value in answer.json["spec"]["resourceAttributes"].items() if value}
    assert asked == {key: value for key, value in attributes.items() if value}
    seen(f"{answer}, allowed")


def test_rules_reviews(api, seen):
    """SelfSubjectRulesReview: what may I do?"""
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"}}
    status = api.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body).json["status"]
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert everything in status["resourceRules"]
    seen(f"everything, incomplete {status['incomplete']}")


def test_who_am_i(api, seen):
    """SelfSubjectReview: who am I?"""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    status = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", body).json["status"]
    seen(f"{status['userInfo']['username']} of {', '.join(sorted(status['userInfo']['groups']))}")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_reviews_are_only_asked(api, seen, method):
    """{method} of SelfSubjectAccessReviews"""
    answer = api.ask(method, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
    assert answer.code == 405
    seen(str(answer))


_NO_SCHEMAS = "the embedded API has no schemas to hold fields against, and keeps what it does not know"
_VALIDATED = {
    "an unknown field of a ConfigMap": ("ConfigMap", {"odd": 1}),
    "an unknown field of a Deployment": ("Deployment", {"odd": 1}),
    "an unknown field of a VirtualService": ("VirtualService", {"odd": 1}),
    "an unknown field of a VirtualService's spec": ("VirtualService", {"spec": {"hosts": ["a"], "odd": 1}}),
}


@pytest.mark.differs(_NO_SCHEMAS)
@pytest.mark.parametrize("mode", ["Strict", "Warn", "Ignore"])
@pytest.mark.parametrize("what", _VALIDATED)
def test_field_validation(api, ns, seen, side, what, mode):
    """fieldValidation={mode}: {what}"""
    kind, change = _VALIDATED[what]
    answer = api.post(path(kind, ns), sample(kind) | change, fieldValidation=mode)
    kept = "odd" in str(answer.json.get("spec")) or "odd" in answer.json
    assert kept is (side == "embedded")
    assert answer.code == (400 if side == "real" and mode == "Strict" else 201)
    said = f", kept {kept}, warning {answer.headers.get('Warning')}" if answer.code == 201 else ""
    seen(f"{answer}{said}")


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment", "VirtualService"])
def test_no_field_validation(api, ns, seen, kind):
    """fieldValidation=Odd in a POST of a {kind}"""
    answer = api.post(path(kind, ns), sample(kind), fieldValidation="Odd")
    assert answer.code == 422
    seen(str(answer))


_LAST = pytest.mark.differs("the embedded API takes the last of two fields of one name, and does not mention it")


@pytest.mark.parametrize("mode", [pytest.param("Strict", marks=_LAST), pytest.param("Warn", marks=_LAST), "Ignore"])
@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_duplicate_fields(api, ns, seen, side, kind, mode):
    """fieldValidation={mode}: a field twice in a {kind}"""
    version = sample(kind)["apiVersion"]
    spec = '"spec":{"hosts":["a"],"hosts":["b"]}' if kind == "VirtualService" else '"data":{"a":"1"},"data":{"a":"2"}'
    body = f'{{"apiVersion":"{version}","kind":"{kind}","metadata":{{"name":"one"}},{spec}}}'
    answer = api.post(path(kind, ns), body.encode(), fieldValidation=mode)
    assert answer.code == (400 if side == "real" and mode == "Strict" else 201)
    said = f", warning {answer.headers.get('Warning')}, {answer.json.get('spec') or answer.json.get('data')}"
    seen(f"{answer}{said if answer.code == 201 else ''}")
