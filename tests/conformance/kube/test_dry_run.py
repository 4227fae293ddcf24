"""Kubernetes API: dry run."""

import pytest
from kube_client import JSON_PATCH, MERGE, STRATEGIC
from kube_samples import CUSTOM, SOME, path, sample


@pytest.mark.parametrize("kind", SOME)
def test_create(api, ns, seen, kind):
    """POST of a {kind} with dryRun=All stores nothing"""
    answer = api.post(path(kind, ns), sample(kind), dryRun="All")
    assert answer.code == 201
    assert api.get(path(kind, ns, "one")).code == 404
    shown = [key for key in ("uid", "creationTimestamp", "resourceVersion", "generation") if key in answer.meta]
    seen(f"{answer}, with {', '.join(shown)}")


@pytest.mark.parametrize("kind", SOME)
def test_replace(api, ns, seen, make, kind):
    """PUT of a {kind} with dryRun=All stores nothing"""
    made = make(kind)
    changed = {**made.json, "metadata": {**made.meta, "labels": {"a": "b"}}}
    answer = api.put(path(kind, ns, "one"), changed, dryRun="All")
    assert answer.meta["labels"] == {"a": "b"}
    assert api.get(path(kind, ns, "one")).json == made.json
    seen(f"{answer}, resourceVersion {'as before' if answer.version == made.version else 'another'}")


@pytest.mark.parametrize("kind", SOME)
@pytest.mark.parametrize("content_type", [JSON_PATCH, MERGE, STRATEGIC])
def test_patch(api, ns, seen, make, kind, content_type):
    """PATCH of a {kind} with dryRun=All stores nothing ({content_type})"""
    made = make(kind)
    patch = {"metadata": {"labels": {"a": "b"}}}
    if content_type == JSON_PATCH:
        patch = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
    answer = api.patch(path(kind, ns, "one"), patch, content_type, dryRun="All")
    assert api.get(path(kind, ns, "one")).json == made.json
    if content_type == STRATEGIC and kind in CUSTOM:
        assert answer.code == 415
    else:
        assert answer.meta["labels"] == {"a": "b"}
    seen(str(answer))


@pytest.mark.parametrize("kind", SOME)
@pytest.mark.parametrize("where", ["query", "body"])
def test_delete(api, ns, seen, make, kind, where):
    """DELETE of a {kind} with dryRun=All in the {where} deletes nothing"""
    made = make(kind)
    if where == "query":
        answer = api.delete(path(kind, ns, "one"), dryRun="All")
    else:
        answer = api.delete(path(kind, ns, "one"), {"dryRun": ["All"]})
    assert answer.code == 200
    assert api.get(path(kind, ns, "one")).json == made.json
    seen(str(answer))


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_delete_collection(api, ns, seen, make, kind):
    """DELETE of a collection of {kind}s with dryRun=All deletes nothing"""
    made = make(kind)
    answer = api.delete(path(kind, ns), dryRun="All")
    assert answer.code == 200
    assert api.get(path(kind, ns, "one")).json == made.json
    seen(str(answer))


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_refusals(api, ns, seen, make, kind):
    """A dry run of a {kind} refuses what a real one would"""
    make(kind)
    there = api.post(path(kind, ns), sample(kind), dryRun="All")
    nameless = api.post(path(kind, ns), sample(kind, "Upper"), dryRun="All")
    assert (there.code, nameless.code) == (409, 422)
    seen(f"{there.code} {there.json['reason']}, {nameless.code} {nameless.json['reason']}")


@pytest.mark.parametrize("kind", ["Deployment", "VirtualService"])
def test_status(api, ns, seen, make, kind):
    """PATCH of a {kind}'s status with dryRun=All stores nothing"""
    made = make(kind)
    answer = api.patch(path(kind, ns, "one", "status"), {"status": {"conditions": []}}, dryRun="All")
    assert answer.code == 200
    assert api.get(path(kind, ns, "one")).json == made.json
    seen(str(answer))


def test_scale(api, ns, seen, make):
    """PATCH of a Deployment's scale with dryRun=All stores nothing"""
    make("Deployment")
    where = path("Deployment", ns, "one", "scale")
    answer = api.patch(where, {"spec": {"replicas": 3}}, dryRun="All")
    assert answer.json["spec"]["replicas"] == 3
    assert api.get(where).json["spec"]["replicas"] == 1
    seen(str(answer))


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("word", ["Some", "true", "all"])
def test_no_dry_run(api, ns, seen, make, verb, word):
    """{verb} with dryRun={word}"""
    made = make("ConfigMap")
    where = path("ConfigMap", ns) if verb == "POST" else path("ConfigMap", ns, "one")
    body = {"POST": sample("ConfigMap", "two"), "PUT": made.json, "PATCH": {}}.get(verb)
    content_type = MERGE if verb == "PATCH" else "application/json"
    answer = api.ask(verb, where, body, content_type=content_type, dryRun=word)
    assert answer.code >= 400
    seen(str(answer))


def test_generate_name(api, ns, seen):
    """A dry run with generateName shows a name"""
    body = sample("ConfigMap")
    body["metadata"] = {"generateName": "made-"}
    answer = api.post(path("ConfigMap", ns), body, dryRun="All")
    assert answer.meta["name"].startswith("made-")
    seen(f"a name of {len(answer.meta['name'])} characters")


@pytest.mark.parametrize("kind", ["ConfigMap", "VirtualService"])
def test_a_body_speaks_for_the_query(api, ns, seen, make, kind):
    """DELETE of a {kind} with dryRun=All in the query and other options in the body"""
    make(kind)
    answer = api.delete(path(kind, ns, "one"), {"propagationPolicy": "Background"}, dryRun="All")
    seen(f"{answer}, then {api.get(path(kind, ns, 'one')).code}")
