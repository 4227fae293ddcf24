"""Planning and rules on the traces of simulated graphs, against the truth: what a lab shows, without its time."""

from __future__ import annotations

import msgspec
import pytest
from simulated import explored
from truth import STATEFUL
from truths.score import Score, score
from truths.truth import truth


def scored(seed: int, **more: float) -> Score:
    topology, judgement = explored(seed, **more)
    return score(truth(topology), msgspec.to_builtins(judgement.findings), without=STATEFUL)


@pytest.mark.parametrize("seed", [3, 10, 22, 61, 93])
def test_everything_that_is_planted_is_found_and_nothing_else(seed):
    """Several versions, several paths, a broken propagation, callers that stop when theirs leaves."""
    found = scored(seed)
    assert found.missed == ()
    assert found.present > 10


@pytest.mark.parametrize("seed", [3, 15])
def test_lost_spans_make_nothing_wrong(seed):
    """One span in fifty never arrives: less is found, and nothing that is not there."""
    found = scored(seed, loss=0.02)
    assert found.precision == 1.0
    assert found.recall > 0.5
