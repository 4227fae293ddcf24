"""Random graphs in labs of their own, explored by the command and scored against what their files plant.

One of them in `make test`; five with ``--truth 5``, as .ci/run has it. Their timeouts are long enough for a busy machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from truth import graph

SEEDS = (181, 322, 218, 41, 321)
"""Several versions, retries with every pace, paths of their own, a breaker; the first is the fastest."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("seed", SEEDS[: metafunc.config.getoption("--truth")])


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("t")


@pytest.mark.timeout(400)
def test_an_exploration_finds_what_a_file_plants_and_nothing_else(seed, state, capsys):
    explored, scored = graph(seed, state / "graph", state / "state", stateful=False)
    with capsys.disabled():
        print(f"\ngraph {seed}: {scored.present} items, {explored.cells} cells, {explored.wall:.0f} s")
    assert explored.problem == ""
    assert scored.missed == ()
    assert (scored.precision, scored.recall) == (1.0, 1.0)
    assert scored.present > 10
