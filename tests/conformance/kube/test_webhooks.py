"""Kubernetes API: kinds of which a lab has none, and clients wait for their lists all the same."""

import pytest
from kube_client import TABLE

KINDS = pytest.mark.parametrize("plural", ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"])
_BASE = "/apis/admissionregistration.k8s.io/v1/"


@KINDS
def test_lists(api, seen, plural):
    """GET of the {plural}"""
    answer = api.get(_BASE + plural)
    assert answer.code == 200
    seen(f"{answer.json['kind']} {answer.json['apiVersion']}, {len(answer.json.get('items') or [])} items")


@pytest.mark.differs("a real API server does it over etcd 3.5.13 or later, and the lab's is older")
@KINDS
def test_first_of_a_watch(api, seen, plural):
    """The first events of a watch of {plural}, as informers begin one"""
    wanted = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    [event] = api.watch(_BASE + plural, 1, **wanted)
    seen(
        f"{event['type']} {event['object']['kind']} {event['object'].get('message')} {sorted(event['object']['metadata'].get('annotations') or {})}"
    )


@KINDS
def test_tables(api, seen, plural):
    """The columns of {plural}"""
    answer = api.get(_BASE + plural, accept=TABLE)
    seen(f"{[one['name'] for one in answer.json['columnDefinitions']]}, {len(answer.json['rows'])} rows")


@KINDS
def test_one(api, seen, plural):
    """GET of one of the {plural}"""
    seen(str(api.get(f"{_BASE}{plural}/nobodys")))


@pytest.mark.differs("nothing there would ask a webhook: it says so")
@KINDS
def test_writing(api, seen, side, plural):
    """POST of one of the {plural}"""
    kind = {"m": "MutatingWebhookConfiguration", "v": "ValidatingWebhookConfiguration"}[plural[0]]
    body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "one"}}
    answer = api.post(_BASE + plural, body)
    api.delete(f"{_BASE}{plural}/one")
    assert answer.code == (501 if side == "embedded" else 201)
    seen(f"{answer.code} {answer.json.get('reason', '-')} {answer.json.get('message', '')}")
