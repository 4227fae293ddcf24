"""Real labs that may be broken: one that dies part by part, and starts that fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from lab_under_test import LabUnderTest, start_lab
from real_lab import Remains, chosen_block


@pytest.fixture(scope="module")
def doomed(real: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabUnderTest]:
    """A real lab beside the shared one, for tests that end parts of it."""
    lab = start_lab(
        f"doomed-{os.getpid()}", tmp_path_factory.mktemp("state"), "--control-plane", "istiod", "--traces", "jaeger"
    )
    yield lab
    lab.chaos("mesh", "lab", "down", "--name", lab.name)


@pytest.fixture
def remains(tmp_path: Path) -> Iterator[Remains]:
    """What a lab with a state folder of its own leaves; what a failed test leaves is ended."""
    there = Remains(tmp_path / "state")
    yield there
    for process in there.processes():
        process.kill()
    psutil.wait_procs(there.processes(), timeout=10)


@pytest.fixture
def block() -> Callable[[], int]:
    """The number of a block of addresses on which nobody listens."""
    return chosen_block
