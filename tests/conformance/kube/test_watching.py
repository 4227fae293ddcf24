"""Kubernetes API: watches."""

import re
import threading

import pytest
from kube_client import TABLE
from kube_samples import path, sample


def _told(events):
    """The events in short: word, name, and labels where there are some."""
    shown = []
    for event in events:
        obj = event["object"]
        if event["type"] == "ERROR" or event["type"].startswith("HTTP"):
            message = re.sub(r"\d{2,}", "N", obj.get("message", ""))
            shown.append(f"{event['type']} {obj.get('code')} {obj.get('reason', '-')} {message!r}")
        else:
            labels = "".join(f" {key}={value}" for key, value in (obj["metadata"].get("labels") or {}).items())
            shown.append(f"{event['type']} {obj['metadata'].get('name', '')}{labels}".strip())
    return ", ".join(shown) or "nothing"


@pytest.mark.parametrize("kind", ["ConfigMap", "Pod", "Deployment", "Lease", "VirtualService"])
def test_resume(api, ns, seen, make, kind):
    """A watch of {kind}s from a version tells every change since, in order"""
    since = api.get(path(kind, ns)).json["metadata"]["resourceVersion"]
    make(kind, "a")
    make(kind, "b")
    api.patch(path(kind, ns, "a"), {"metadata": {"labels": {"x": "y"}}})
    api.delete(path(kind, ns, "a"))
    events = api.watch(path(kind, ns), 4, resourceVersion=since)
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(versions)
    seen(_told(events))


@pytest.mark.parametrize("version", ["none", "0"])
@pytest.mark.parametrize("kind", ["Lease", "VirtualService"])
def test_from_the_start(api, ns, seen, make, kind, version):
    """A watch of {kind}s from resourceVersion {version} begins with what is there"""
    make(kind, "a")
    make(kind, "b")
    events = api.watch(path(kind, ns), 2, **({} if version == "none" else {"resourceVersion": version}))
    seen(", ".join(sorted(_told(events).split(", "))))


@pytest.mark.parametrize("kind", ["Lease", "VirtualService"])
def test_while_it_happens(api, ns, seen, make, kind):
    """A watch of {kind}s tells what happens while it is open"""
    since = make(kind, "a").version
    events = []
    watching = threading.Thread(
        target=lambda: events.extend(api.watch(path(kind, ns), 2, resourceVersion=since)), daemon=True
    )
    watching.start()
    make(kind, "b")
    api.delete(path(kind, ns, "a"))
    watching.join(10)
    seen(_told(events))


def test_an_old_version(api, ns, seen, make):
    """A watch from a version that the server has forgotten"""
    make("VirtualService")
    [event] = api.watch(path("VirtualService", ns), 1, resourceVersion="1")
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    seen(_told([event]))


@pytest.mark.differs("the embedded API refuses it at once, a real one waits for the version")
def test_a_version_to_come(api, ns, seen, side, make):
    """A watch from a version that is still to come"""
    make("VirtualService")
    events = api.watch(path("VirtualService", ns), 1, resourceVersion="99999999", timeoutSeconds="1")
    assert [event["type"] for event in events] == (["ERROR"] if side == "embedded" else [])
    seen(_told(events))


@pytest.mark.parametrize("version", ["x", "-1"])
def test_no_version(api, ns, seen, make, version):
    """A watch from the version '{version}'"""
    make("VirtualService")
    seen(_told(api.watch(path("VirtualService", ns), 1, resourceVersion=version)))


def test_labels(api, ns, seen, make):
    """A watch by labels tells of what comes into the selection and leaves it"""
    since = make("VirtualService", "other").version
    make("VirtualService", "a", labels={"app": "x"})
    make("VirtualService", "b", labels={"app": "y"})
    for app in ("x", "y"):
        api.patch(path("VirtualService", ns, "b"), {"metadata": {"labels": {"app": app}}})
    api.delete(path("VirtualService", ns, "b"))
    api.delete(path("VirtualService", ns, "a"))
    seen(_told(api.watch(path("VirtualService", ns), 4, resourceVersion=since, labelSelector="app=x")))


def test_names(api, ns, seen, make):
    """A watch by fieldSelector=metadata.name tells of that object only"""
    since = make("VirtualService", "other").version
    make("VirtualService", "a")
    make("VirtualService", "b")
    api.patch(path("VirtualService", ns, "a"), {"metadata": {"labels": {"x": "y"}}})
    events = api.watch(path("VirtualService", ns), 2, resourceVersion=since, fieldSelector="metadata.name=a")
    seen(_told(events))


def test_one_object(api, ns, seen, make):
    """A watch at an object's own path"""
    since = make("VirtualService", "other").version
    make("VirtualService", "a")
    api.delete(path("VirtualService", ns, "a"))
    seen(_told(api.watch(path("VirtualService", ns, "a"), 2, resourceVersion=since)))


def test_pods_fields(api, ns, seen):
    """A watch of Pods by status.phase tells of those that come into it and leave it"""
    since = api.get(path("Pod", ns)).json["metadata"]["resourceVersion"]
    assert api.post(path("Pod", ns), sample("Pod")).code == 201
    for phase in ("Running", "Failed"):
        assert api.patch(path("Pod", ns, "one", "status"), {"status": {"phase": phase}}).code == 200
    seen(_told(api.watch(path("Pod", ns), 2, resourceVersion=since, fieldSelector="status.phase=Running")))


def test_graceful_deletion(api, ns, seen):
    """What a watch tells of a Pod that is deleted, and let go by its kubelet"""
    pod = sample("Pod")
    pod["spec"]["nodeName"] = "lab"
    since = api.post(path("Pod", ns), pod).version
    api.delete(path("Pod", ns, "one"))
    api.delete(path("Pod", ns, "one"), {"gracePeriodSeconds": 0})
    events = api.watch(path("Pod", ns), 3, resourceVersion=since, timeoutSeconds="2")
    seen(", ".join(f"{e['type']} grace {e['object']['metadata'].get('deletionGracePeriodSeconds')}" for e in events))


def test_finalizers(api, ns, seen, make):
    """What a watch tells of an object with a finalizer that is deleted"""
    since = make("VirtualService", finalizers=["example.com/a"]).version
    api.delete(path("VirtualService", ns, "one"))
    api.patch(path("VirtualService", ns, "one"), {"metadata": {"finalizers": None}})
    events = api.watch(path("VirtualService", ns), 2, resourceVersion=since)
    seen(
        ", ".join(
            f"{e['type']} {'marked' if 'deletionTimestamp' in e['object']['metadata'] else 'not marked'}, finalizers {e['object']['metadata'].get('finalizers')}"
            for e in events
        )
    )


def test_bookmarks(api, ns, seen, make):
    """A watch tells a bookmark before it ends, if it is asked to"""
    since = make("VirtualService").version
    query = {"resourceVersion": since, "allowWatchBookmarks": "true", "timeoutSeconds": "4"}
    # a real one looks only now and then whether a watch is about to end, and may be too late
    events = next(filter(None, (api.watch(path("VirtualService", ns), 1, **query) for _ in range(5))), [])
    assert [event["type"] for event in events] == ["BOOKMARK"]
    bookmark = events[0]["object"]
    assert int(bookmark["metadata"]["resourceVersion"]) >= int(since)
    assert api.watch(path("VirtualService", ns), 9, resourceVersion=since, timeoutSeconds="1") == []
    seen(f"BOOKMARK {bookmark['kind']} {bookmark['apiVersion']} {sorted(bookmark['metadata'])}, none where not asked")


@pytest.mark.differs("a real API server does it over etcd 3.5.13 or later, and the lab's is older")
def test_initial_events(api, ns, seen, side, make):
    """sendInitialEvents tells what is there, and when that was all"""
    make("VirtualService", "a")
    make("VirtualService", "b")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    events = api.watch(path("VirtualService", ns), 3, **query)
    last = events[-1]["object"]["metadata"]
    assert [event["type"] for event in events] == (["ADDED", "ADDED", "BOOKMARK"] if side == "embedded" else ["ERROR"])
    seen(f"{_told(events)}, annotations {last.get('annotations')}")


_QUERIES = {
    "sendInitialEvents alone": {"sendInitialEvents": "true"},
    "sendInitialEvents without bookmarks": {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"},
    "resourceVersionMatch alone": {"resourceVersionMatch": "NotOlderThan"},
    "a timeout that is none": {"timeoutSeconds": "x"},
    "a bad selector": {"labelSelector": "a b"},
    "an unknown field": {"fieldSelector": "spec.x=y"},
    "a limit": {"limit": "1"},
    "a continue": {"continue": "x"},
}


@pytest.mark.parametrize("what", _QUERIES)
def test_queries(api, ns, seen, make, what):
    """A watch with {what}"""
    make("VirtualService", "a")
    seen(_told(api.watch(path("VirtualService", ns), 1, **_QUERIES[what])))


def test_metadata_only(api, ns, seen, make):
    """A watch as PartialObjectMetadata"""
    make("VirtualService")
    accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    [event] = api.watch(path("VirtualService", ns), 1, accept=accept)
    assert "spec" not in event["object"]
    seen(f"{event['type']} {event['object']['kind']} {event['object']['apiVersion']}")


def test_tables(api, ns, seen, make):
    """A watch as Table names its columns in the first event only"""
    make("VirtualService", "a")
    make("VirtualService", "b")
    events = api.watch(path("VirtualService", ns), 2, accept=TABLE)
    shown = [(e["type"], len(e["object"].get("columnDefinitions") or []), len(e["object"]["rows"])) for e in events]
    seen(str(shown))


def test_other_versions(api, ns, seen, make):
    """A watch in an older version tells objects in it"""
    make("VirtualService")
    [event] = api.watch(path("VirtualService", ns).replace("/v1/", "/v1alpha3/"), 1)
    seen(f"{event['type']} {event['object']['apiVersion']}")


@pytest.mark.differs("no client of today asks there")
def test_the_deprecated_paths(api, ns, seen, side, make):
    """A watch at /watch/"""
    make("VirtualService")
    where = path("VirtualService", ns).replace("/v1/", "/v1/watch/")
    answer = api.get(where, timeoutSeconds="1")
    assert answer.code == (501 if side == "embedded" else 200)
    seen(str(answer) if side == "embedded" else "200, a watch")
