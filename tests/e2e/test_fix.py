"""`chaos mesh fix --verify` on real sidecars: the weakness is there, the fix takes it away, and all is as it was."""

from __future__ import annotations

import json
import subprocess

from fixable import weakness, write_findings
from lab_under_test import CHAOS, topology_lab

from chaosmesh_ext.findings.fixes.manifests import destination_rule, virtual_service
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.run import runs

KINDS = ("VirtualService", "DestinationRule", "EnvoyFilter")

RETRYING = """
apiVersion: chaosmesh-ext/v1alpha1
kind: Topology
spec:
  entry: web
  services:
  - name: web
    versions:
    - name: v1
      calls:
      - {to: shelf, onFailure: omit, retries: {attempts: 1, on: [5xx]}}
      - {to: orders, method: POST, onFailure: omit}
  - name: shelf
    versions: [{name: v1, calls: [{to: leaf, retries: {attempts: 1, on: [5xx]}}]}]
  - name: leaf
  - name: orders
    versions: [{name: v1, calls: [{to: stock}]}]
  - name: stock
"""


def mesh_of() -> dict[str, dict]:
    """What its owners have, without what each write changes."""
    found = [obj for kind in KINDS for obj in connect().list(kind)]
    kept = ("name", "namespace", "labels", "annotations")
    return {
        f"{obj['kind']}/{obj['metadata']['name']}": {
            "spec": obj["spec"],
            **{key: obj["metadata"][key] for key in kept if key in obj["metadata"]},
        }
        for obj in found
    }


def test_a_weakness_is_found_again_and_gone_with_its_fix_and_nothing_stays(lab, tmp_path, monkeypatch):
    """productpage gives up after 3 s: what lasts 1.5 s it waits for, until the mesh ends it after half a second.

    Findings of a lab that is gone name an origin where nobody answers: APP_URL says where it is now.
    """
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    before = mesh_of()
    fix = virtual_service("details", "default", "timeout", [{"timeout": "0.5s"}])
    slow = weakness("productpage", "details", value=1.5, fix=fix)
    pool = weakness("productpage", "details", rule="bulkhead", fix=fix)
    folder = write_findings(tmp_path, slow, pool)
    words = [CHAOS, "mesh", "fix", str(folder), "--verify", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr  # for the one that cannot be verified
    told = json.loads(done.stdout)
    assert (told["problems"], told["error"]) == ([], None)
    found, unverified = [one["verified"] for one in told["fixes"][0]["findings"]]
    assert found["outcome"] == "gone", done.stderr
    assert "productpage waits for details for 1.5 s and more" in found["before"]
    assert "productpage has its sidecar give up on details after" in found["after"]
    assert unverified["why"].startswith("cannot be verified: ")
    assert runs(connect()) == []
    assert mesh_of() == before


def test_retries_that_multiply_or_repeat_are_gone_with_their_fixes(tmp_path, monkeypatch):
    """The applications' retries multiply at a leaf, until its caller's sidecar leaves it alone; those of web's sidecar
    have orders done twice, until it has none.
    """
    retries = {"attempts": 1, "perTryTimeout": "0.3s", "retryOn": "5xx"}
    ejection = {"consecutive5xxErrors": 8, "baseEjectionTime": "30s", "maxEjectionPercent": 100}
    no_retry = [{"match": [{"method": {"exact": "POST"}}], "retries": {"attempts": 0}}, {}]
    multiply = weakness(
        "shelf",
        "leaf",
        rule="retry-amplification",
        condition="status",
        operation="GET /",
        fix=destination_rule("leaf", "default", "ejection", {"outlierDetection": ejection}),
    )
    repeat = weakness(
        "web",
        "orders",
        rule="unsafe-retry",
        operation="POST /",
        fix=virtual_service("orders", "default", "no-retry", no_retry),
    )
    waits = weakness("orders", "stock", operation="GET /", value=1.0, fix=None)
    folder = write_findings(tmp_path, multiply, repeat, waits, target={"url": "-", "urls": ["http://127.0.0.9:9/"]})
    with topology_lab("retrying", RETRYING, tmp_path) as lab:
        for name, value in lab.env.items():
            monkeypatch.setenv(name, value)
        connect().create(virtual_service("orders", "default", "retries", [{"retries": retries}]))
        before = mesh_of()
        words = ["--only", multiply["id"], "--only", repeat["id"], "--json"]
        done = lab.chaos("mesh", "fix", str(folder), "--verify", *words, timeout=300)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["problems"], told["error"]) == ([], None)
        found = {one["rule"]: one["verified"] for fix in told["fixes"] for one in fix["findings"]}
        assert {rule: one["outcome"] for rule, one in found.items()} == dict.fromkeys(found, "gone")
        assert "one request of a user makes 4 times the healthy calls" in found["retry-amplification"]["before"]
        assert "shelf-v1 reaches leaf 8 times in 2 requests that fail" in found["retry-amplification"]["after"]
        assert "for one request orders is asked twice" in found["unsafe-retry"]["before"]
        assert "web-v1 has orders asked once for each of" in found["unsafe-retry"]["after"]
        assert runs(connect()) == []
        assert mesh_of() == before
