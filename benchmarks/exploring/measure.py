"""One exploration, as `chaos mesh explore` makes it, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from chaosmesh_ext.explore.explored import Explored
from chaosmesh_ext.explore.explorer import Explorer
from chaosmesh_ext.explore.options import Options
from chaosmesh_ext.explore.recipe import Recipe
from chaosmesh_ext.explore.waves import Plan, Wave
from chaosmesh_ext.model import Judgement
from chaosmesh_ext.run import Run

if TYPE_CHECKING:
    from chaosmesh_ext.explore.discovery import Discovered

__all__ = ["Measured", "measure"]


class Measured(msgspec.Struct, frozen=True):
    """wall: seconds from the first request to the findings, with the run closed and seen to have met nobody else.
    stateful: of these, from the first stateful wave on; None without one. pushes: by kind of fault, seconds from a
    write to the first request that met one of its faults. requests: all that were sent with a marker.
    """

    explored: Explored
    wall: float
    stateful: float | None
    pushes: Mapping[str, float]
    requests: int


class _Watch:
    """A `Watcher` that knows when the first stateful wave began."""

    def __init__(self) -> None:
        self.stateful: float | None = None

    def discovered(self, found: Discovered, plan: Plan, in_flight: int) -> None:
        del found, plan, in_flight

    def wave(self, wave: Wave) -> None:
        if wave.stateful and self.stateful is None:
            self.stateful = time.perf_counter()
        print(f"wave {wave.number}, {wave.name}: {len(wave.cells)} cells", file=sys.stderr, flush=True)

    def met(self, wave: Wave, calls: Mapping[str, int]) -> None:
        del wave, calls

    def judged(self, wave: Wave, judgement: Judgement) -> None:
        del wave, judgement


def measure(url: str, **options: Any) -> Measured:
    """Explore what URL leads to in the environment's mesh. Raises RuntimeError where something kept it from its end."""
    watch, run = _Watch(), Run()
    explorer = Explorer(run, Recipe.of_urls([url]), Options(**options), watch)
    began = time.perf_counter()
    try:
        run.make_ready()
        explorer.discover()
        explorer.inject()
    finally:
        run.close()
    explored = explorer.explored()
    ended = time.perf_counter()
    if problems := [*explored.problems, *map(str, run.problems)]:
        raise RuntimeError(f"the exploration is inconclusive: {'; '.join(problems)}")
    pushes: dict[str, float] = {}
    for proof in explored.proofs:
        word = proof.injected.kind
        pushes[word] = min(proof.live_after, pushes.get(word, proof.live_after))
    parts = ", ".join(f"{part} {took:.2f} s" for part, took in explored.seconds.items())
    print(f"{ended - began:.2f} s: {parts}; {len(explored.judgement.findings)} findings", file=sys.stderr, flush=True)
    return Measured(
        explored=explored,
        wall=ended - began,
        stateful=None if watch.stateful is None else ended - watch.stateful,
        pushes=pushes,
        requests=run.requests.count,
    )
