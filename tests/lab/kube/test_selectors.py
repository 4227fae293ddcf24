"""Selectors choose what a real server's would."""

import pytest

from chaosmesh_ext.lab.kube.embedded.kinds import by_kind
from chaosmesh_ext.lab.kube.embedded.selectors import selector

OBJECTS = {
    "one": {"app": "details", "version": "v1", "weight": "5"},
    "two": {"app": "reviews", "version": "v2", "example.com/tier": "back"},
    "bare": {},
}
POD = by_kind("Pod")


def chosen(labels="", fields="", kind=POD):
    choose = selector(kind, labels, fields)
    objects = [
        {
            "metadata": {"name": name, "namespace": "default", "labels": found},
            "spec": {"nodeName": "lab"},
            "status": {"phase": "Running" if name == "one" else "Pending"},
        }
        for name, found in OBJECTS.items()
    ]
    return [obj["metadata"]["name"] for obj in objects if choose(obj)]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ("", ["one", "two", "bare"]),
        ("app=details", ["one"]),
        ("app==details", ["one"]),
        ("app = details", ["one"]),
        ("app!=details", ["two", "bare"]),
        ("app in (details, reviews)", ["one", "two"]),
        ("app in(details)", ["one"]),
        ("app notin (details)", ["two", "bare"]),
        ("version", ["one", "two"]),
        ("!version", ["bare"]),
        ("example.com/tier", ["two"]),
        ("app in (details,reviews),version!=v1", ["two"]),
        ("weight>4", ["one"]),
        ("weight<4", []),
        ("app=", []),
        ("app in ()", []),
    ],
)
def test_a_label_selector_chooses(labels, names):
    assert chosen(labels) == names


@pytest.mark.parametrize("labels", ["a=b=c", "in (x)", "a b", "=x", "a in x", "-a", "a=-", "a>x", "x/y/z=1"])
def test_a_text_that_is_no_label_selector_is_a_bad_request(labels, refusal):
    assert refusal(chosen, labels)["code"] == 400


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ("metadata.name=one", ["one"]),
        ("metadata.name!=one", ["two", "bare"]),
        ("status.phase=Running,spec.nodeName=lab", ["one"]),
        ("metadata.namespace=default,status.phase==Pending", ["two", "bare"]),
        ("status.podIP=", ["one", "two", "bare"]),
    ],
)
def test_a_field_selector_chooses(fields, names):
    assert chosen("", fields) == names


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Pod", "field label not supported: spec.colour"),
        ("VirtualService", "field label not supported: spec.colour"),
        ("ConfigMap", '"spec.colour" is not a known field selector: only "metadata.name", "metadata.namespace"'),
    ],
)
def test_a_field_that_cannot_be_selected_by_is_refused_in_kubernetes_words(kind, message, refusal):
    status = refusal(selector, by_kind(kind), "", "spec.colour=red")
    assert (status["code"], status["message"]) == (400, message)


def test_events_are_selected_by_the_object_they_are_about():
    """What `kubectl describe` asks for."""
    choose = selector(by_kind("Event"), "", "involvedObject.name=x,involvedObject.kind=Pod,involvedObject.uid=u")
    assert choose({"metadata": {}, "involvedObject": {"name": "x", "kind": "Pod", "uid": "u"}})
    assert not choose({"metadata": {}, "involvedObject": {"name": "y", "kind": "Pod", "uid": "u"}})
