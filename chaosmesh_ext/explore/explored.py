"""What an exploration tells while it goes on, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from chaosmesh_ext.explore.discovery import Discovered
from chaosmesh_ext.explore.stateful.bystanders import Effect
from chaosmesh_ext.explore.waves import Plan, Wave
from chaosmesh_ext.model import Cell, Edge, Judgement
from chaosmesh_ext.run.proof import Proof

__all__ = ["Explored", "Watcher", "nothing"]


class Watcher(Protocol):
    """Is told how far an exploration is."""

    def discovered(self, found: Discovered, plan: Plan, in_flight: int) -> None:
        """What calls what is known, and what will be injected, with so many requests IN_FLIGHT at once."""

    def wave(self, wave: Wave) -> None:
        """WAVE is about to be injected."""

    def met(self, wave: Wave, calls: Mapping[str, int]) -> None:
        """So many requests met the fault of each cell of WAVE, by its number; called again and again."""

    def judged(self, wave: Wave, judgement: Judgement) -> None:
        """WAVE is over, and this is known by now."""


class Explored(msgspec.Struct, frozen=True):
    """What an exploration came to.

    cells: the control first. proofs: one for each cell that was met. problems: what makes it inconclusive. notes: what
    else is to be said. seconds: by part, how long it took. effects: of stateful waves on others.
    """

    found: Discovered
    plan: Plan
    cells: tuple[Cell, ...]
    judgement: Judgement
    proofs: tuple[Proof, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    effects: tuple[Effect, ...] = ()


def nothing(found: Discovered, barred: Mapping[Edge, str]) -> str:
    """Why there is nothing to fault."""
    urls = ", ".join(found.requests)
    why = "; ".join(
        dict.fromkeys(f"{one.edge}: {one.reason}" if one.edge != "*" else one.reason for one in found.skipped)
    )
    return f"no call that could be faulted was seen behind {urls}" + (
        f": {why}"
        if why
        else "".join((": what answers there calls nobody", *(f", and {one}" for one in dict.fromkeys(barred.values()))))
    )
