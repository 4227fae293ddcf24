"""Whatever ends or stops a runner, wherever it is: nothing of it is left, and nothing of the owner's is lost.

A quick sample by default; `pytest tests/safety/test_kills.py --safety 200` plays more, `--safety-seed` others, and
`--safety-case NAME` one of them again.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from safety_cases import VARIANTS, Case, cases
from safety_ground import Ground, Outcome

_AT_ONCE = 6
"""Cases at once: most of their time is waiting."""


@pytest.mark.timeout(7200)
def test_whatever_strikes_a_runner_wherever_nothing_of_it_is_left(ground: Ground, request: pytest.FixtureRequest):
    """Every object is as it was, `chaos mesh runs` is empty, a marked request is clean, no process and no file stays."""
    option = request.config.getoption
    if names := option("--safety-case"):
        chosen = [Case.named(name) for name in names]
    else:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            counts = dict(zip(VARIANTS, pool.map(ground.steps, VARIANTS), strict=True))
        print(f"\n--safety-seed {option('--safety-seed')}; requests and file steps of a run: {counts}")
        chosen = list(itertools.islice(cases(counts, option("--safety-seed")), option("--safety")))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        outcomes = list(pool.map(ground.play, chosen))
    failed = [outcome for outcome in outcomes if outcome.wrong]
    missed = [str(outcome.case) for outcome in outcomes if not outcome.struck]
    slowest = sorted(outcomes, key=lambda outcome: -outcome.took)[:3]
    print(
        f"{len(outcomes)} cases, {len(missed)} not reached ({', '.join(missed)}), slowest "
        f"{', '.join(f'{one.case} {one.took:.1f} s' for one in slowest)}"
    )
    assert not failed, (
        "\n\n".join(map(_told, failed[:5]))
        + f"\n{len(failed)} of {len(outcomes)} cases failed: "
        + (" ".join(str(one.case) for one in failed))
    )
    assert len(missed) <= len(outcomes) // 10, f"too many points were not reached: {missed}"


def _told(outcome: Outcome) -> str:
    return f"--safety-case {outcome.case}\n  " + "\n  ".join(outcome.wrong) + f"\n{outcome.story}"
