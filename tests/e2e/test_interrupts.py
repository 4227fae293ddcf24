"""However a command is ended: nothing of it stays, and what it saw is written down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from waiting import until

CHAOS = str(Path(sys.executable).with_name("chaos"))


def provider(module: str, func: str, **arguments: object) -> dict:
    return {"type": "python", "module": f"chaosmesh_ext.{module}", "func": func, "arguments": arguments}


EXPERIMENT = {
    "title": "t",
    "description": "d",
    "controls": [{"name": "c", "provider": {"type": "python", "module": "chaosmesh_ext.controls"}}],
    "method": [
        {
            "type": "action",
            "name": "fault",
            "provider": provider(
                "actions",
                "inject_delay",
                source="productpage-v1",
                destination="details",
                fixed_delay=2,
                url="/productpage",
            ),
        },
        {
            "type": "probe",
            "name": "pages",
            "provider": provider("probes", "response_time", url="/productpage", count=20),
        },
    ],
    "rollbacks": [{"type": "action", "name": "undo", "provider": provider("actions", "recover")}],
}


def injected(lab) -> list[dict]:
    return json.loads(lab.chaos("mesh", "runs", "--json").stdout)


def start(lab, directory: Path, *words: str) -> subprocess.Popen[str]:
    """An experiment under way whose fault is in the mesh."""
    (directory / "e.json").write_text(json.dumps(EXPERIMENT))
    process = subprocess.Popen(
        [CHAOS, *words, "e.json"],
        cwd=directory,
        env=lab.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # a run's Lease is there before its fault
    until(lambda: any(run["objects"] for run in injected(lab)) or process.poll() is not None)
    assert process.poll() is None, process.communicate()[0]
    return process


def of(directory: Path) -> list[psutil.Process]:
    """The processes of labs that keep their state in DIRECTORY."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CHAOSMESH_LAB_DIRECTORY", "").startswith(str(directory)):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.is_running()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_however_often_one_asks_a_run_to_stop_it_rolls_back_and_writes_its_report(lab, tmp_path, number):
    """The signals come until the process is gone: while it injects, rolls back, writes, and leaves."""
    process = start(lab, tmp_path, "mesh", "run", "--out", "o")
    while process.poll() is None:
        process.send_signal(number)
        time.sleep(0.02)
    output = process.communicate()[0]
    assert process.returncode == 4, output
    assert "verdict: aborted" in output
    assert "Traceback" not in output
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"journal.json", "report.md", "findings.json"}
    assert json.loads((tmp_path / "o" / "journal.json").read_text())["chaosmesh-ext"]["exit_code"] == 4
    assert injected(lab) == []


def test_a_lab_that_goes_down_amid_a_run_ends_it_first_and_its_watchdog(tmp_path):
    """A watchdog whose API is gone looks for it until the run's deadline, and ten minutes longer."""
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    words = [CHAOS, "mesh", "lab", "up", "--name", "goes", "--without-prometheus", "--json"]
    up = subprocess.run(words, env=environ, capture_output=True, text=True, check=True, timeout=60)
    down = [CHAOS, "mesh", "lab", "down", "--name", "goes"]
    try:
        lab = SimpleNamespace(environ={**environ, **json.loads(up.stdout)["env"]})
        lab.chaos = lambda *words: subprocess.run(
            [CHAOS, *words], env=lab.environ, capture_output=True, text=True, check=True, timeout=60
        )
        process = start(lab, tmp_path, "mesh", "run", "--out", "o")
        watchdogs = [one for one in psutil.Process(process.pid).children() if "watchdog" in " ".join(one.cmdline())]
        assert watchdogs
        subprocess.run(down, env=environ, check=True, capture_output=True, timeout=60)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == 4, output
        assert "the lab is going down" in output
        assert "left something" not in output
        until(lambda: not any(one.is_running() for one in watchdogs))
    finally:
        subprocess.run(down, env=environ, check=False, capture_output=True, timeout=60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_lab_whose_start_is_stopped_leaves_nothing(tmp_path, number):
    process = subprocess.Popen(
        [CHAOS, "mesh", "lab", "up", "--name", "stopped", "--without-prometheus"],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: of(tmp_path))
    process.send_signal(number)
    _, words = process.communicate(timeout=30)
    assert process.returncode == 4, words
    assert words.splitlines()[-1] == "Interrupted."
    assert of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGKILL, -9)])
def test_a_lab_of_ones_own_goes_with_its_command_however_that_ends(tmp_path, number, status):
    process = subprocess.Popen(
        [CHAOS, "mesh", "lab", "run", "--without-prometheus", "--", "sh", "-c", "echo $$; exec sleep 60"],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    command = psutil.Process(int(process.stdout.readline()))
    try:
        process.send_signal(number)
        assert process.wait(timeout=30) == status
        until(lambda: not of(tmp_path) and not list(tmp_path.iterdir()))
        assert number == signal.SIGKILL or not command.is_running()
    finally:
        if command.is_running():  # a command is not bound to `lab run`, which nothing could tell of its end
            command.kill()
        process.stdout.close()
