"""Whoever should tell what the fault did falls silent, or lies, while the fault is in: inconclusive, and rolled back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from lab_under_test import CHAOS, LabUnderTest
from numbered_api import Exchange, NumberedApi, Reply, Treatment, hanging, plainly, reset
from safety_cases import experiment
from safety_ground import Ground, Scene, until
from small_mesh import Background

_WRITES = ("envoyfilters", "virtualservices")


def _told(scene: Scene) -> tuple[int, dict]:
    """The exit code, and the journal's section."""
    journal = json.loads((scene.work / "out" / "journal.json").read_text())
    return scene.runner.code, journal["chaosmesh-ext"]


def _when_injected(scene: Scene, what: str) -> None:
    """The trace store does WHAT from the moment at which the fault is written."""

    async def written(exchange: Exchange) -> None:
        reply = await exchange.forward()
        scene.mesh.telemetry = what
        await exchange.answer(reply)

    def treat(exchange: Exchange) -> Treatment:
        fault = (
            exchange.method in ("POST", "PATCH")
            and exchange.path.split("/")[6:7]
            and any(kind in exchange.path for kind in _WRITES)
        )
        return written if fault and not scene.mesh.telemetry else plainly

    scene.mesh.api.treat = treat


_LONG = pytest.mark.long


@pytest.mark.parametrize(
    "what",
    ["stopped", *(pytest.param(what, marks=_LONG) for what in ("slow", "nonsense", "page", "error", "half", "none"))],
)
@pytest.mark.parametrize("variant", ["filter", pytest.param("route", marks=_LONG)])
def test_a_trace_store_that_fails_in_the_middle_of_a_run_ends_it_inconclusive_and_rolled_back(
    ground: Ground, variant: str, what: str
):
    """Nobody could say what the fault did, or that it is gone."""
    with ground.scene(variant) as scene:
        _when_injected(scene, what)
        runner = scene.start(
            scale={
                **ground.scale,
                "chaosmesh_ext.run.hunt:LATEST": 1.0,
                "chaosmesh_ext.run.trace_proof:LATEST": 1.0,
                "chaosmesh_ext.observe.jaeger:Jaeger:__init__:__kwdefaults__": {"headers": None, "timeout": 1.0},
            }
        )
        assert runner.wait(60), scene.story()
        assert until(lambda: not scene.watchdogs(), 60), scene.story()
        code, section = _told(scene)
        assert code == 3, scene.story()
        assert section["verdict"] == "inconclusive"
        assert section["problems"], section
        assert not scene.clean(), (scene.clean(), scene.story())


@pytest.mark.parametrize("what", ["stopped", *(pytest.param(what, marks=_LONG) for what in ("slow", "nonsense"))])
def test_a_trace_store_that_fails_before_the_undo_leaves_no_fault_but_no_verdict_either(ground: Ground, what: str):
    """The fault is out; that it is gone from the proxies nobody could show: exit 5 says so."""
    with ground.scene("filter") as scene:

        async def undone(exchange: Exchange) -> None:
            scene.mesh.telemetry = what
            await plainly(exchange)

        scene.mesh.api.treat = lambda exchange: (
            undone if exchange.method == "DELETE" and "envoyfilters" in exchange.path else None
        )
        runner = scene.start(
            scale={
                **ground.scale,
                "chaosmesh_ext.observe.jaeger:Jaeger:__init__:__kwdefaults__": {"headers": None, "timeout": 1.0},
            }
        )
        assert runner.wait(60), scene.story()
        assert until(lambda: not scene.watchdogs(), 60), scene.story()
        code, section = _told(scene)
        assert code == 5, scene.story()
        assert any("could not be shown to be gone" in problem for problem in section["problems"]), section
        assert not scene.clean(), (scene.clean(), scene.story())


# --- Prometheus, on the lab -------------------------------------------------------------------------------------------


def _said(text: str) -> Treatment:
    async def treat(exchange: Exchange) -> None:
        await exchange.answer(Reply(200, text.encode()))

    return treat


_PROMETHEUS = {
    "stopped": reset,
    "slow": hanging,
    "nonsense": _said('{"status": "success", "data": {"resultType": "vector", "result": "many"}}'),
    "page": _said("<html>Prometheus</html>"),
}


@pytest.mark.parametrize(
    "what", ["stopped", *(pytest.param(what, marks=_LONG) for what in _PROMETHEUS if what != "stopped")]
)
def test_a_prometheus_that_fails_in_the_middle_of_a_run_ends_it_inconclusive_and_rolled_back(
    lab: LabUnderTest, tmp_path: Path, what: str
):
    """Where there are no traces, metrics are the proof."""
    background = Background()
    kubeconfig = yaml.safe_load(Path(lab.env["KUBECONFIG"]).read_text())
    cluster = kubeconfig["clusters"][0]["cluster"]
    api, prometheus = NumberedApi(cluster["server"]), NumberedApi(lab.env["PROMETHEUS_URL"])
    background.do(api.start())
    background.do(prometheus.start())
    try:

        async def written(exchange: Exchange) -> None:
            reply = await exchange.forward()
            prometheus.treat = lambda _: _PROMETHEUS[what]
            await exchange.answer(reply)

        api.treat = lambda one: written if one.method == "POST" and one.path.endswith("/envoyfilters") else None
        cluster["server"] = api.url
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        (tmp_path / "experiment.json").write_text(json.dumps(experiment("filter", lab.env["APP_URL"], "/productpage")))
        environ = {
            **lab.environ,
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            "PROMETHEUS_URL": prometheus.url,
            "JAEGER_URL": "",
            "CHAOSMESH_PROOF_TIMEOUT": "3",
        }
        words = [CHAOS, "--no-version-check", "mesh", "run", "experiment.json", "--out", "out"]
        done = subprocess.run(
            words, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
        )
        told = f"{done.stdout}\n{done.stderr}\n" + "\n".join(map(str, api.log))
        assert done.returncode == 3, told
        assert any(one.method == "DELETE" and one.path.split("/")[-2] == "envoyfilters" for one in api.log), told
        journal = json.loads((tmp_path / "out" / "journal.json").read_text())
        assert journal["chaosmesh-ext"]["verdict"] == "inconclusive"
        assert json.loads(lab.chaos("mesh", "runs", "--json").stdout) == [], told
    finally:
        background.do(api.stop())
        background.do(prometheus.stop())
        background.close()
