"""A few of the same on real sidecars, with the times that people get: nothing is scaled."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from lab_under_test import CHAOS, LabUnderTest
from safety_cases import experiment
from safety_ground import until


@contextmanager
def runner(lab: LabUnderTest, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`chaos mesh run` in a session of its own, as a terminal gives it, with a fault that stays for a minute."""
    plan = experiment("filter", lab.env["APP_URL"], "/productpage")
    plan["method"][0]["pauses"] = {"after": 60}
    (folder / "experiment.json").write_text(json.dumps(plan))
    process = subprocess.Popen(
        [CHAOS, "--no-version-check", "mesh", "run", "experiment.json", "--out", "out"],
        env=lab.environ, cwd=folder, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def told(process: subprocess.Popen[bytes], folder: Path) -> str:
    """What it said until now, and what its log has; it ends."""
    process.kill()
    log = folder / "chaostoolkit.log"
    return process.communicate()[0].decode() + (log.read_text() if log.exists() else "")


def runs(lab: LabUnderTest) -> list[dict]:
    return json.loads(lab.chaos("mesh", "runs", "--json").stdout)


class Sidecar:
    """Marked requests of productpage-v1 to details on one warm connection."""

    def __init__(self, lab: LabUnderTest) -> None:
        (pod,) = [one for one in lab.status()["pods"] if one["name"].startswith("productpage-v1")]
        address = pod["address"].rsplit(".", 1)[0] + ".2"
        self.connection = http.client.HTTPConnection(address, 9080, timeout=10)

    def close(self) -> None:
        self.connection.close()

    def delayed(self, marker: str) -> bool:
        """Whether a request with MARKER meets the delay of 50 ms: three of them, for a busy machine is slow too."""
        parent = f"00-{random.randbytes(16).hex()}-{random.randbytes(8).hex()}-01"
        headers = {"Host": "details:9080", "traceparent": parent, "tracestate": f"chaosmesh={marker}"}
        fastest = 1.0
        for _ in range(3):
            began = time.monotonic()
            self.connection.request("GET", "/details/0", headers=headers)
            assert self.connection.getresponse().read()
            fastest = min(fastest, time.monotonic() - began)
        return fastest >= 0.05


@pytest.mark.parametrize(
    ("name", "whole", "within"),
    [("KILL", False, 5.0), ("STOP", False, 20.0), ("TERM", True, 8.0), ("HUP", True, 8.0), ("QUIT", True, 8.0)],
)
def test_a_fault_is_gone_from_the_sidecars_soon_after_its_runner_was_struck(
    lab: LabUnderTest, tmp_path: Path, name: str, whole: bool, within: float
):
    """WHOLE: all of its process group. A stopped runner counts as dead after 10 seconds of silence, any other at once:
    `benchmarks/rollback.py` measures how soon; here the machine may be busy.
    """
    log = tmp_path / "chaostoolkit.log"
    with runner(lab, tmp_path) as process, closing(Sidecar(lab)) as sidecar, ExitStack() as stack:
        found = until(lambda: [one for one in runs(lab) if one["objects"]], 60)
        assert found, told(process, tmp_path)
        marker = f"{found[0]['run']}-1"
        assert until(lambda: sidecar.delayed(marker), 60)
        # before it is proven, a busy machine may end it without us
        assert until(lambda: "is live on" in log.read_text(), 60), told(process, tmp_path)
        number = getattr(signal, f"SIG{name}")
        (watchdog,) = lab.state_home.rglob(f"watchdog-{found[0]['run']}.log")
        said = stack.enter_context(watchdog.open())  # who has it open can read it when it is gone
        began = time.monotonic()
        if whole:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)
        assert until(lambda: not sidecar.delayed(marker), within + 20, 0.001)
        took = time.monotonic() - began
        assert took < within, f"the fault stayed for {took:.1f} s"
        if name == "STOP":
            assert "takes over: the runner was silent for 10 s" in said.read()
            os.kill(process.pid, signal.SIGCONT)
            assert until(lambda: process.poll() is not None, 60), told(process, tmp_path)
            assert process.returncode in (3, 4)
        assert until(lambda: runs(lab) == [], 60), (runs(lab), told(process, tmp_path))
