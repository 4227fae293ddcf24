"""Random graphs in labs of their own, explored by the command and scored against what their files plant.

One of them in `make test`; five with ``--truth 5``, as .ci/run has it. Their timeouts are long enough for a busy machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from truth import graph
from truths.score import total

SEEDS = (181, 322, 218, 41, 321)
"""Several versions, retries with every pace, paths of their own, a breaker; the first is the fastest."""

GOAL = 0.99
"""Of what is stated, how much is right, and of what is planted, how much is found, over all graphs: of the fewest items,
none may be missed.
"""


@pytest.mark.timeout(2000)
def test_an_exploration_finds_what_a_file_plants_and_nothing_else(
    request, tmp_path_factory: pytest.TempPathFactory, capsys
):
    state: Path = tmp_path_factory.mktemp("t")
    scores = []
    for seed in SEEDS[: request.config.getoption("--truth")]:
        explored, scored = graph(seed, state / f"graph-{seed}", state / "state", stateful=False)
        with capsys.disabled():
            print(
                f"\ngraph {seed}: {scored.present} items, {explored.cells} cells, {explored.wall:.0f} s",
                *scored.missed,
                sep="\n  ",
            )
        assert explored.problem == "", seed
        assert scored.present > 10, seed
        scores.append(scored)
    whole = total(scores)
    assert whole.precision >= GOAL, whole.missed
    assert whole.recall >= GOAL, whole.missed
