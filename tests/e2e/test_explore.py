"""`chaos mesh explore` on Bookinfo: everything that is known of it is found, and nothing else."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from lab_under_test import CHAOS

from chaosmesh_ext.mesh import connect
from chaosmesh_ext.run import runs

SLOW = {
    ("missing-timeout", "istio-ingressgateway", "productpage", 12.0),
    ("missing-fallback", "productpage", "details", None),
    ("missing-fallback", "productpage", "reviews", None),
    ("timeout", "productpage", "details", 3.0),
    ("timeout", "productpage", "reviews", 3.0),
    ("retry", "productpage", "reviews", 1.0),
    ("timeout", "reviews-v2", "ratings", 10.0),
    ("timeout", "reviews-v3", "ratings", 2.5),
    ("fallback", "reviews-v3", "ratings", None),
    ("timeout-inversion", "reviews-v2", "ratings", 7.0),
}
"""While a call is slow. The gateway waits, as is Istio's default. Where productpage has left, what reviews-v2 would have
shown its users is not to be seen.
"""

BY_CHANCE = {("missing-fallback", "reviews-v2", "ratings", None)}
"""What is seen, and true, where productpage's first and second attempt came to reviews-v2 in three requests."""

FAILING = {
    ("missing-fallback", "istio-ingressgateway", "productpage", None),
    ("missing-fallback", "productpage", "details", None),
    ("missing-fallback", "productpage", "reviews", None),
    ("fallback", "reviews", "ratings", None),
    ("retry", "productpage", "details", 0.0),
    ("retry", "productpage", "reviews", 1.0),
    ("retry", "reviews", "ratings", 0.0),
    ("error-propagation", "productpage", "details", None),
    ("error-propagation", "productpage", "reviews", None),
    ("error-propagation", "reviews", "ratings", None),
}
"""While a call is answered 507: each of these errors is absorbed, but that of the page itself."""


@pytest.fixture
def command(lab, monkeypatch):
    """The words of an exploration of Bookinfo's page, in the environment of its lab; nothing is left afterwards."""
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    yield [CHAOS, "mesh", "explore", f"{lab.env['APP_URL']}/productpage"]
    assert runs(connect()) == []


def found(folder: Path, condition: str) -> set[tuple[str, str, str, float | None]]:
    findings = json.loads((folder / "findings.json").read_text())["findings"]
    return {
        (each["rule"], each["source"], each["destination"], None if each["value"] is None else round(each["value"], 1))
        for each in findings
        if each.get("condition") == condition
    }


def test_bookinfo_is_explored_and_every_known_answer_found(command, tmp_path):
    done = subprocess.run([*command, "--out", str(tmp_path), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    slow = found(tmp_path, "slow")
    assert slow - BY_CHANCE == SLOW
    assert found(tmp_path, "status") == FAILING
    told = json.loads(done.stdout)
    assert (told["verdict"], told["problems"]) == ("weakness found", [])
    further = re.findall(r"further \w+: (\d+) cells done", done.stderr)  # where calls were too few to tell
    assert told["cells"] - sum(map(int, further)) == 11
    assert len(told["findings"]) == len(slow) + len(FAILING)
    assert "gives up on details after 3.0 s" in (tmp_path / "report.md").read_text()
    assert f"chaos mesh fix {tmp_path}\n" in done.stderr


def test_what_was_found_before_an_interruption_is_written_and_nothing_stays_behind(command, tmp_path):
    words = [*command, "--delay", "4", "--out", str(tmp_path)]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith("wave 1, delay:"):
            break
    deadline = time.monotonic() + 20
    while not runs(connect()) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=60)
    assert running.returncode == 4, rest
    assert "verdict: aborted" in rest
    assert ("timeout", "productpage", "details", 3.0) in found(tmp_path, "slow"), rest
