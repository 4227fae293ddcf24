"""Kubernetes API: nodes, and what maintenance does with them: cordon, evict, drain."""

import pytest
from kube_client import JSON_PATCH, MERGE, STRATEGIC, TABLE
from kube_samples import path, sample

_NODES = "/api/v1/nodes"
_READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "x"}


@pytest.fixture
def node(api, ns):
    """A Node of this test's own, ready; gone at the end."""
    labels = {"kubernetes.io/hostname": ns, "node-role.kubernetes.io/worker": ""}
    made = api.post(_NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": ns, "labels": labels}})
    assert made.code == 201, str(made)
    assert api.patch(f"{_NODES}/{ns}/status", {"status": {"conditions": [_READY]}}).code == 200
    yield ns
    api.delete(f"{_NODES}/{ns}")


@pytest.fixture
def placed(api, ns, node):
    """A Pod on the Node."""
    pod = sample("Pod")
    pod["spec"]["nodeName"] = node
    assert api.post(path("Pod", ns), pod).code == 201
    yield path("Pod", ns, "one")
    api.delete(path("Pod", ns, "one"), {"gracePeriodSeconds": 0})


def _row(api, node):
    table = api.get(f"{_NODES}/{node}", accept=TABLE)
    columns = [one["name"] for one in table.json["columnDefinitions"]]
    return dict(zip(columns, table.json["rows"][0]["cells"], strict=True))


def test_a_new_node(api, ns, seen):
    """What the server fills into a new Node, and its row"""
    made = api.post(_NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": ns}})
    row = _row(api, ns)
    seen(f"{made.code}, spec {made.json['spec']}, generation {made.meta.get('generation')}")
    seen(f"{row['Status']} {row['Roles']}")
    seen(str(api.delete(f"{_NODES}/{ns}")))


def test_a_nodes_row(api, node, seen):
    """A Node's row while it is ready, cordoned, and not ready"""
    seen(f"{_row(api, node)['Status']} {_row(api, node)['Roles']}")
    api.patch(f"{_NODES}/{node}", {"spec": {"unschedulable": True}})
    seen(_row(api, node)["Status"])
    api.patch(f"{_NODES}/{node}/status", {"status": {"conditions": [{**_READY, "status": "False"}]}})
    seen(_row(api, node)["Status"])


@pytest.mark.parametrize("how", [MERGE, STRATEGIC, JSON_PATCH])
def test_cordon(api, node, seen, how):
    """A Node is cordoned and released with {how}"""
    where = f"{_NODES}/{node}"
    for wanted in (True, False):
        body = {"spec": {"unschedulable": wanted}}
        if how == JSON_PATCH:
            body = [{"op": "add", "path": "/spec/unschedulable", "value": wanted}]
        answer = api.patch(where, body, how)
        assert answer.code == 200, str(answer)
        found = api.get(_NODES, fieldSelector=f"spec.unschedulable=true,metadata.name={node}")
        assert bool(found.json["items"]) is wanted
        seen(f"{answer.json['spec'].get('unschedulable')}, taints {answer.json['spec'].get('taints')}")


_BAD = {
    "unschedulable that is text": {"spec": {"unschedulable": "yes"}},
    "a taint without an effect": {"spec": {"taints": [{"key": "a"}]}},
    "a taint with an unknown effect": {"spec": {"taints": [{"key": "a", "effect": "Never"}]}},
}


@pytest.mark.parametrize("what", _BAD)
def test_bad_nodes(api, node, seen, what):
    """PATCH of a Node with {what}"""
    answer = api.patch(f"{_NODES}/{node}", _BAD[what])
    assert answer.code == 422
    seen(answer.json["message"].split("patch: Invalid value", maxsplit=1)[0].replace(node, "NS"))


def _eviction(ns, name="one", **more):
    metadata = {"name": name, "namespace": ns}
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata, **more}


@pytest.mark.parametrize("grace", ["none", 5, 0])
def test_eviction_from_a_node(api, ns, seen, placed, grace):
    """Eviction of a Pod on a node, gracePeriodSeconds {grace}"""
    options = {} if grace == "none" else {"deleteOptions": {"gracePeriodSeconds": grace}}
    answer = api.post(f"{placed}/eviction", _eviction(ns, **options))
    assert answer.code == 201, str(answer)
    left = api.get(placed)
    seen(f"{answer}; {'gone' if left.code == 404 else left.meta.get('deletionGracePeriodSeconds')}")
    if left.code == 200:
        again = api.post(f"{placed}/eviction", _eviction(ns, **options))
        seen(f"again: {again}")


_ODD = {
    "a Pod that is not there": lambda ns: _eviction(ns, "two"),
    "no body": lambda ns: None,
    "an Eviction of another Pod's name": lambda ns: _eviction(ns, "two"),
    "an Eviction without a name": lambda ns: {"apiVersion": "policy/v1", "kind": "Eviction"},
    "an Eviction in v1beta1": lambda ns: {**_eviction(ns), "apiVersion": "policy/v1beta1"},
    "another kind": lambda ns: {**_eviction(ns), "kind": "Odd"},
    "another uid": lambda ns: _eviction(ns, deleteOptions={"preconditions": {"uid": "x"}}),
    "dryRun": lambda ns: _eviction(ns, deleteOptions={"dryRun": ["All"]}),
}


@pytest.mark.parametrize("what", _ODD)
def test_odd_evictions(api, ns, seen, placed, what):
    """POST to a Pod's eviction with {what}"""
    where = path("Pod", ns, "two", "eviction") if "not there" in what else f"{placed}/eviction"
    answer = api.post(where, _ODD[what](ns))
    left = api.get(placed)
    seen(f"{answer}; {'marked' if 'deletionTimestamp' in left.meta else 'untouched'}")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_verbs(api, seen, ns, placed, method):
    """{method} of a Pod's eviction"""
    answer = api.ask(method, f"{placed}/eviction", _eviction(ns) if method == "PUT" else None)
    assert answer.code >= 400
    seen(str(answer))


def test_kubectl_cordon(kubectl, node, seen):
    """kubectl cordon and uncordon, each twice"""
    for word in ("cordon", "cordon", "uncordon", "uncordon"):
        seen(kubectl(word, node))


def test_kubectl_drain(kubectl, node, placed, seen):
    """kubectl drain, of a node whose Pod nothing would bring back, and with --force"""
    seen(kubectl("drain", node))
    seen(kubectl("drain", node, "--force", "--grace-period=0"))
    seen(kubectl("get", "node", node, "--no-headers").split()[1])
