"""Every file of experiments/, by `chaos mesh run`: each answers its question as its tags say, and leaves all as it
found it. On a machine that has nothing else to do, none should take longer than half a minute.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab_under_test import LabUnderTest, start_lab, stop_lab
from rates import rates_lab
from shipped_experiments import BOOKINFO, EXPERIMENTS, WEAKNESS, Experiment, shipped

from chaosmesh_ext import mesh
from chaosmesh_ext.mesh import Client

_SLOW = 240
"""Seconds on a machine that is busy."""


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


def answers(lab: LabUnderTest, experiment: Experiment, folder: Path, side: str, request) -> None:
    """Run EXPERIMENT on LAB, whose control plane is SIDE, and see that it did as it should."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", lab.env["KUBECONFIG"])
        client = mesh.connect()
    before = everything(client)
    done = lab.chaos("mesh", "run", str(EXPERIMENTS / f"{experiment.name}.yaml"), timeout=_SLOW, cwd=folder)
    after, said = everything(client), done.stdout + done.stderr
    assert done.returncode == experiment.exit_code, (
        f"{said}\nexit code {done.returncode}; if that is its answer on its application, the tag {WEAKNESS} says 1"
    )
    assert after == before, said
    assert json.loads(lab.chaos("mesh", "runs", "--json").stdout) == [], said
    journal = json.loads((folder / "reports" / "runs" / "latest" / "journal.json").read_text())
    assert [run["status"] for run in journal["rollbacks"]] == ["succeeded"] * len(journal["rollbacks"]), said
    verdict = journal["chaosmesh-ext"]["verdict"]
    request.node.user_properties.append(("answer", (experiment.name, side, verdict)))


@pytest.mark.timeout(_SLOW + 60)
@pytest.mark.parametrize("experiment", [one for one in shipped() if one.application == BOOKINFO], ids=str)
def test_every_experiment_gives_its_answer_and_leaves_nothing(bookinfo, experiment: Experiment, tmp_path, request):
    answers(bookinfo, experiment, tmp_path, request.node.callspec.params["bookinfo"], request)


@contextmanager
def on_istiod(experiment: Experiment, state_home: Path) -> Iterator[LabUnderTest]:
    """A lab with the real control plane and the service graph that EXPERIMENT is for."""
    name, real = f"graph-{os.getpid()}", ("--control-plane", "istiod", "--traces", "jaeger")
    if Path(experiment.application).stem == "rates":
        with rates_lab(name, state_home, *real) as lab:
            yield lab
        return
    lab = start_lab(name, state_home, *real, "--topology", str(EXPERIMENTS.parent / experiment.application))
    try:
        yield lab
    finally:
        stop_lab(lab)


@pytest.mark.timeout(_SLOW + 120)
@pytest.mark.parametrize("experiment", [one for one in shipped() if one.application != BOOKINFO], ids=str)
def test_those_for_another_service_graph_do_so_on_istiod_too(experiment: Experiment, tmp_path, request):
    if not request.config.getoption("--real"):
        pytest.skip("runs with --real only: on the lab they have tests of their own")
    with on_istiod(experiment, tmp_path / "state") as lab:
        answers(lab, experiment, tmp_path, "istiod", request)


def test_those_for_another_service_graph_have_a_test_with_a_lab_of_their_own():
    others = [one.name for one in shipped() if one.application != BOOKINFO]
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    assert [name for name in others if not any(f'"{name}"' in text for text in texts)] == []
