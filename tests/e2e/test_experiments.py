"""The shipped experiments on the lab, by plain `chaos run` and by `chaos mesh run`, and what ends them early."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

CHAOS = str(Path(sys.executable).with_name("chaos"))
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
DETAILS, RATINGS = EXPERIMENTS / "productpage-details-timeout.yaml", EXPERIMENTS / "ratings-abort.yaml"
PLAIN, OURS = ("run",), ("mesh", "run")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

INJECT = {
    "title": "Inject and leave it",
    "description": "d",
    "controls": [{"name": "chaosmesh-ext", "provider": {"type": "python", "module": "chaosmesh_ext.controls"}}],
    "method": [
        {
            "type": "action",
            "name": "inject",
            "provider": {
                "type": "python",
                "module": "chaosmesh_ext.actions",
                "func": "inject_delay",
                "arguments": {
                    "source": "productpage-v1",
                    "destination": "details",
                    "fixed_delay": 0.5,
                    "url": "/productpage",
                },
            },
        }
    ],
}
WAIT = {
    "type": "probe",
    "name": "wait",
    "provider": {"type": "process", "path": "sleep", "arguments": "60"},
}


class Desk:
    """A folder to run experiments in, against the lab."""

    def __init__(self, lab, directory: Path) -> None:
        self.lab, self.directory = lab, directory

    def start(self, command: tuple[str, ...], experiment: Path | dict, name: str = "e") -> subprocess.Popen[str]:
        place = self.directory / name
        place.mkdir()
        if isinstance(experiment, dict):
            path = place / "experiment.json"
            path.write_text(json.dumps(experiment))
            experiment = path
        return subprocess.Popen(
            [CHAOS, "--no-version-check", *command, str(experiment)],
            cwd=place,
            env={**self.lab.environ, "CHAOSMESH_PROOF_TIMEOUT": "30"},  # other tests may need the cores, too
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def journal(self, command: tuple[str, ...], name: str = "e") -> dict:
        place = self.directory / name / ("reports/runs/latest" if command == OURS else ".")
        return json.loads((place / "journal.json").read_text())

    def injected(self) -> list[dict]:
        done = self.lab.chaos("mesh", "runs", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def until_injected(self, process: subprocess.Popen[str]) -> list[dict]:
        deadline = time.monotonic() + 80
        while not (found := [run for run in self.injected() if run["objects"]]):  # its Lease is there before
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
        return found

    def page(self) -> str:
        with OPENER.open(f"{self.lab.env['APP_URL']}/productpage", timeout=15) as answer:
            return answer.read().decode()


@pytest.fixture
def desk(lab, tmp_path):
    place = Desk(lab, tmp_path)
    yield place
    assert place.injected() == []


@pytest.mark.timeout(240)
def test_two_experiments_hold_side_by_side_one_by_plain_chaos_run(desk):
    """Two runs on one mesh do not disturb each other: each meets its own faults only. (`test_every_experiment` runs both
    by `chaos mesh run`.)
    """
    details = desk.start(PLAIN, DETAILS, "details")
    ratings = desk.start(OURS, RATINGS, "ratings")
    for process in (details, ratings):
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
    journal = desk.journal(PLAIN, "details")
    assert journal["chaosmesh-ext"]["verdict"] == "upheld"
    found = {each["rule"]: each for each in journal["run"][-1]["output"]["findings"]}
    assert found["timeout"]["value"] == pytest.approx(3.0, rel=0.05)
    assert found["retry"]["value"] == 0
    assert desk.journal(OURS, "ratings")["chaosmesh-ext"]["verdict"] == "upheld"


def test_a_run_that_forgets_to_recover_leaves_nothing_behind(desk):
    """The control closes the run, whatever the experiment says."""
    process = desk.start(PLAIN, INJECT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert desk.journal(PLAIN)["run"][0]["output"]["objects"]
    assert desk.injected() == []


@pytest.mark.parametrize(("command", "number"), [(OURS, signal.SIGINT), (PLAIN, signal.SIGTERM)])
def test_a_signal_takes_the_fault_out(desk, command, number):
    """A person who presses Ctrl-C twice, or a job that is cancelled, leaves a clean mesh."""
    process = desk.start(command, {**INJECT, "method": [*INJECT["method"], WAIT]})
    desk.until_injected(process)
    process.send_signal(number)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (4 if command == OURS else 1), output
    assert desk.injected() == []
    assert desk.journal(command)["chaosmesh-ext"]["verdict"] == "aborted"


def test_what_a_killed_run_left_is_listed_and_recovered_by_name(desk):
    """Runner and watchdog are gone, as with their machine; everything needed to undo it is in the mesh."""
    process = desk.start(OURS, {**INJECT, "method": [*INJECT["method"], WAIT]})
    (found,) = desk.until_injected(process)
    process.send_signal(signal.SIGSTOP)
    for child in psutil.Process(process.pid).children():
        child.kill()
    process.kill()
    process.communicate()
    assert found["objects"]
    assert (found["state"], found["why"]) == ("live", "")
    assert found["run"] in desk.lab.chaos("mesh", "runs").stdout
    unknown = desk.lab.chaos("mesh", "recover", "--run", "ffffffff")
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (2, 1)
    done = desk.lab.chaos("mesh", "recover", "--run", found["run"], "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recovered"] == found["objects"]
    assert desk.lab.chaos("mesh", "runs").stdout == "Nothing is injected.\n"
    assert desk.lab.chaos("mesh", "recover", "--all").stdout == "Nothing was injected.\n"


def test_a_wrong_host_is_one_line_and_nothing_is_written(desk):
    experiment = json.loads(json.dumps(INJECT))
    experiment["method"][0]["provider"]["arguments"]["destination"] = "detials"
    process = desk.start(OURS, experiment)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert output.count("detials") == 1, output


def test_an_unreachable_jaeger_is_inconclusive(desk, monkeypatch):
    """What could not be proven is never called completed."""
    monkeypatch.setitem(desk.lab.env, "JAEGER_URL", "http://127.0.0.1:9")
    process = desk.start(OURS, INJECT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert "127.0.0.1:9" in output


@pytest.mark.parametrize("command", ["runs", "recover"])
def test_without_a_cluster_a_command_says_so_in_one_line(tmp_path, lab, command):
    words = ["mesh", command, *(["--all"] if command == "recover" else [])]
    missing = subprocess.run(
        [CHAOS, *words],
        cwd=tmp_path,
        env={**lab.environ, "KUBECONFIG": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert missing.returncode in (2, 3)
    assert len(missing.stderr.splitlines()) == 1, missing.stderr
    assert missing.stderr.startswith("Error: ")
