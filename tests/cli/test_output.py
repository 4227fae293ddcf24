"""Standard output that cannot be written changes nothing of what a command does, and is said."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from chaosmesh_ext import mesh
from chaosmesh_ext.cli.progress import Progress

CHAOS = str(Path(sys.executable).with_name("chaos"))
LOST = "Error: standard output could not be written: "
UPHELD = {
    "title": "t",
    "description": "d",
    "method": [
        {
            "type": "probe",
            "name": "there",
            "tolerance": True,
            "provider": {"type": "python", "module": "os.path", "func": "exists", "arguments": {"path": "/"}},
        }
    ],
}


def shell(command: str, where: Path) -> subprocess.CompletedProcess[str]:
    """COMMAND, in which `chaos` is the one under test, in a shell that tells of each part of a pipe."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=where,
        env={**os.environ, "PATH": f"{Path(CHAOS).parent}:{os.environ['PATH']}", "CHAOSMESH_NAMESPACE": "default"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("command", ["runs", "runs --json", "janitor", "--help", "run --help"])
def test_a_full_disk_is_said_in_one_line_and_never_0(api, tmp_path, command):
    done = shell(f"chaos mesh {command} >/dev/full", tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines() == [
        f"{LOST}No space left on device; what the command did stands, only its words are missing"
    ]


def test_a_halt_is_in_force_although_nobody_reads_that_it_is(api, client, tmp_path):
    done = shell('chaos mesh halt --reason "incident" >/dev/full', tmp_path)
    assert (done.returncode, done.stderr.startswith(LOST)) == (3, True)
    assert mesh.halted(client, "chaosmesh-system").reason == "incident"


def test_a_run_goes_on_and_writes_its_reports(tmp_path):
    (tmp_path / "e.json").write_text(json.dumps(UPHELD))
    done = shell("chaos mesh run --out o e.json >/dev/full", tmp_path)
    assert (done.returncode, done.stderr.count("\n"), LOST in done.stderr) == (3, 1, True)
    assert json.loads((tmp_path / "o" / "journal.json").read_text())["chaosmesh-ext"]["verdict"] == "upheld"


def test_another_exit_code_than_0_stays(tmp_path):
    (tmp_path / "e.json").write_text(json.dumps({**UPHELD, "method": [{**UPHELD["method"][0], "tolerance": False}]}))
    done = shell("chaos mesh run --out o e.json >/dev/full", tmp_path)
    assert done.returncode == 1
    assert LOST in done.stderr


def test_a_closed_output_is_said_too(api, tmp_path):
    done = shell("chaos mesh runs >&-", tmp_path)
    assert (done.returncode, done.stderr.startswith(f"{LOST}it is closed")) == (3, True)


@pytest.mark.parametrize("command", ["runs --json", "--help", "run --out o e.json"])
def test_a_reader_that_has_gone_wanted_no_more(api, tmp_path, command):
    """As other programs do: `chaos mesh runs | head -1` is no error, and a run that somebody pages is not ended."""
    (tmp_path / "e.json").write_text(json.dumps(UPHELD))
    done = shell(f"chaos mesh {command} | true", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("percentage", "words"), [(0.0, "done, for nobody (percentage: 0)"), (0.1, "done"), (100.0, "done")]
)
def test_that_nobody_meets_a_fault_is_seen_while_it_runs(percentage, words):
    """A run with percentage: 0 ended upheld, and its line said no more than done."""
    seen = io.StringIO()
    fault = {"injected": {"kind": "abort", "percentage": percentage}, "live_after": None}
    Progress(Console(file=seen)).activity_completed({"name": "break"}, {"status": "succeeded", "output": fault})
    assert seen.getvalue().rstrip().endswith(words)
