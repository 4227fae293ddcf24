"""Runners under test in small meshes; what is scaled down, and how many cases are played."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from safety_ground import Ground


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Its times are divided by --safety-factor."""
    there = Ground(tmp_path_factory.mktemp("safety"), factor=request.config.getoption("--safety-factor"))
    yield there
    there.close()
