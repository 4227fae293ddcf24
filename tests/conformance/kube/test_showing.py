"""Kubernetes API: tables, as kubectl asks for them."""

import pytest
from kube_client import TABLE
from kube_samples import KINDS, path, sample


@pytest.mark.parametrize("kind", KINDS)
def test_columns(api, ns, seen, kind):
    """The columns of {kind}s, and the cells of a new one"""
    assert api.post(path(kind, ns), sample(kind, namespace=ns)).code == 201
    answer = api.get(path(kind, ns), accept=TABLE, fieldSelector="metadata.name=one")
    columns = [f"{one['name']}{'*' if one['priority'] else ''}" for one in answer.json["columnDefinitions"]]
    [row] = answer.json["rows"]
    cells = dict(zip(columns, row["cells"], strict=True))
    for varying in ("Age", "Created At", "Cluster-IP", "Last Seen", "First Seen*"):
        if varying in cells:
            cells[varying] = "…"
    seen(", ".join(f"{key}: {value}" for key, value in cells.items()))


@pytest.mark.parametrize("include", ["None", "Metadata", "Object", "Odd"])
def test_include(api, ns, seen, include):
    """A table's rows with includeObject={include}"""
    assert api.post(path("VirtualService", ns), sample("VirtualService")).code == 201
    answer = api.get(path("VirtualService", ns), accept=TABLE, includeObject=include)
    if answer.code == 200:
        seen(f"200, {(answer.json['rows'][0]['object'] or {}).get('kind')}")
    else:
        seen(str(answer))


def test_one_object(api, ns, seen):
    """A single object as Table"""
    assert api.post(path("VirtualService", ns), sample("VirtualService")).code == 201
    answer = api.get(path("VirtualService", ns, "one"), accept=TABLE)
    definitions = answer.json["columnDefinitions"]
    seen(
        f"{answer.json['kind']} {answer.json['apiVersion']}, {len(answer.json['rows'])} row, {[(d['name'], d['type'], d['format']) for d in definitions]}"
    )


def test_namespaces(api, seen, ns):
    """The table of a Namespace"""
    answer = api.get(f"/api/v1/namespaces/{ns}", accept=TABLE)
    seen(f"{[one['name'] for one in answer.json['columnDefinitions']]}, {answer.json['rows'][0]['cells'][1]}")


def test_a_pods_row(api, ns, seen):
    """A Pod's row from its start to its end"""
    pod = sample("Pod")
    pod["spec"]["nodeName"] = "lab"
    pod["spec"]["containers"].append({"name": "side", "image": "side:1"})
    api.post(path("Pod", ns), pod)
    where = path("Pod", ns, "one")

    def row():
        cells = api.get(where, accept=TABLE).json["rows"][0]["cells"]
        seen(" ".join(str(cell) for cell in [*cells[1:4], *cells[5:7]]))

    row()
    for ready, reason in ((False, "CrashLoopBackOff"), (True, "")):
        state = {"waiting": {"reason": reason}} if reason else {"running": {}}
        status = {"name": "app", "ready": ready, "restartCount": 2, "image": "app:1", "imageID": "", "state": state}
        ip = {"podIP": "127.3.0.1", "podIPs": [{"ip": "127.3.0.1"}]}
        conditions = [{"type": "Ready", "status": str(ready)}]
        side = {**status, "name": "side", "ready": True, "restartCount": 0, "state": {"running": {}}}
        body = {"phase": "Running", **ip, "containerStatuses": [status, side], "conditions": conditions}
        assert api.patch(f"{where}/status", {"status": body}).code == 200
        row()
    api.delete(where)
    row()
    api.delete(where, {"gracePeriodSeconds": 0})
