"""A lab under test, started and stopped by the commands that a user types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CHAOS", "LabUnderTest", "start_lab", "stop_lab", "topology_lab"]

CHAOS = str(Path(sys.executable).with_name("chaos"))


@dataclass
class LabUnderTest:
    """A running lab: `env` is what `lab env` exports, `state_home` where it keeps its state."""

    name: str
    state_home: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """An environment for a subprocess that shall use this lab."""
        return {**os.environ, **self.env, "XDG_STATE_HOME": str(self.state_home)}

    def chaos(self, *words: str, timeout: float = 110, **kwargs: object) -> subprocess.CompletedProcess[str]:
        """Run `chaos …` against this lab."""
        return subprocess.run(
            [CHAOS, *words], env=self.environ, capture_output=True, text=True, timeout=timeout, check=False, **kwargs
        )

    def status(self) -> dict:
        """What `lab status --json` says."""
        return json.loads(self.chaos("mesh", "lab", "status", "--name", self.name, "--json").stdout)


def start_lab(name: str, state_home: Path, *options: str) -> LabUnderTest:
    """Start a lab by its command; fails with the command's own words."""
    lab = LabUnderTest(name, state_home)
    done = lab.chaos("mesh", "lab", "up", "--name", name, "--json", *options)
    assert done.returncode == 0, done.stderr
    lab.env = json.loads(done.stdout)["env"]
    return lab


def stop_lab(lab: LabUnderTest) -> None:
    """Stop it, and see that nothing is left."""
    done = lab.chaos("mesh", "lab", "down", "--name", lab.name)
    assert done.returncode == 0, done.stderr
    assert "killed" not in done.stdout, done.stdout
    assert not (lab.state_home / "chaosmesh-ext" / "labs" / lab.name).exists()


@contextmanager
def topology_lab(name: str, topology: str, folder: Path) -> Iterator[LabUnderTest]:
    """A lab of this process' own that runs the service graph TOPOLOGY, the text of a file; all of it goes to FOLDER."""
    file = folder / f"{name}.yaml"
    file.write_text(topology)
    lab = start_lab(f"{name}-{os.getpid()}", folder, "--topology", str(file))
    try:
        yield lab
    finally:
        stop_lab(lab)
