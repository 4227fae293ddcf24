"""Every file of experiments/ that is for Bookinfo, by `chaos mesh run`: each answers its question as its tags say, and
leaves all as it found it. On a machine that has nothing else to do, none should take longer than half a minute.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from shipped_experiments import BOOKINFO, EXPERIMENTS, WEAKNESS, Experiment, shipped

from chaosmesh_ext import mesh
from chaosmesh_ext.mesh import Client

_SLOW = 240
"""Seconds on a machine that is busy."""


@pytest.fixture
def client(bookinfo, monkeypatch) -> Client:
    monkeypatch.setenv("KUBECONFIG", bookinfo.env["KUBECONFIG"])
    return mesh.connect()


def everything(client: Client) -> dict[str, Any]:
    """What may hold something of a run, by kind and name; what a lab on istiod has for each of its pods goes with them."""
    found: dict[str, Any] = {
        f"{kind} {obj['metadata']['namespace']}/{obj['metadata']['name']}": (
            obj.get("spec"),
            obj["metadata"].get("labels"),
            mesh.LABEL in str(obj["metadata"]),
        )
        for kind in mesh.CARRIED_BY
        for obj in client.list(kind)
        if not obj["metadata"]["name"].startswith("lab-")
    }
    return {**found, "Leases": {obj["metadata"]["name"] for obj in client.list("Lease", labels=mesh.LABEL)}}


@pytest.mark.timeout(_SLOW + 60)
@pytest.mark.parametrize("experiment", [one for one in shipped() if one.application == BOOKINFO], ids=str)
def test_every_experiment_gives_its_answer_and_leaves_nothing(
    bookinfo, client, experiment: Experiment, tmp_path, request
):
    side = request.node.callspec.params["bookinfo"]
    before = everything(client)
    done = bookinfo.chaos("mesh", "run", str(EXPERIMENTS / f"{experiment.name}.yaml"), timeout=_SLOW, cwd=tmp_path)
    after, said = everything(client), done.stdout + done.stderr
    assert done.returncode == experiment.exit_code, (
        f"{said}\nexit code {done.returncode}; if that is its answer on Bookinfo, the tag {WEAKNESS} says 1"
    )
    assert after == before, said
    assert json.loads(bookinfo.chaos("mesh", "runs", "--json").stdout) == [], said
    journal = json.loads((tmp_path / "reports" / "runs" / "latest" / "journal.json").read_text())
    assert [run["status"] for run in journal["rollbacks"]] == ["succeeded"] * len(journal["rollbacks"]), said
    verdict = journal["chaosmesh-ext"]["verdict"]
    request.node.user_properties.append(("answer", (experiment.name, side, verdict)))


def test_those_for_another_service_graph_have_a_test_with_a_lab_of_their_own():
    others = [one.name for one in shipped() if one.application != BOOKINFO]
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    assert [name for name in others if not any(f'"{name}"' in text for text in texts)] == []
