"""`chaos mesh fix --verify` on real sidecars: the weakness is there, the fix takes it away, and all is as it was."""

from __future__ import annotations

import json
import subprocess

from fixable import weakness, write_findings
from lab_under_test import CHAOS

from chaosmesh_ext.findings.fixes.manifests import virtual_service
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.run import runs

KINDS = ("VirtualService", "DestinationRule", "EnvoyFilter")


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
