"""Waves that fault no more hosts at once than are allowed (the setting max_hosts)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from chaosmesh_ext.explore.waves import PlannedCell, Wave

__all__ = ["portions", "split"]

_One = TypeVar("_One")


def split(waves: Iterable[Wave], hosts: int) -> tuple[Wave, ...]:
    """WAVES, each in as many parts as it takes to fault no more than so many HOSTS at once; numbered on from the first.

    A cell is never divided, even where it faults more by itself.
    """
    found: list[Wave] = []
    first: int | None = None
    for wave in waves:
        first = wave.number if first is None else first
        parts = [list(wave.cells)]
        if len(frozenset[str]().union(*map(_hosts, wave.cells))) > hosts:
            together = sorted(wave.cells, key=lambda cell: (cell.edge.destination, cell.number))
            parts = list(portions([(cell, _hosts(cell)) for cell in together], hosts))
        for turn, cells in enumerate(parts, 1):
            name = f"{wave.name}, part {turn} of {len(parts)}" if len(parts) > 1 else wave.name
            number = first + len(found)
            found.append(msgspec.structs.replace(wave, number=number, name=name, cells=tuple(cells)))
    return tuple(found)


def portions(those: Sequence[tuple[_One, frozenset[str]]], most: int) -> Iterator[list[_One]]:
    """THOSE, each with what it touches, in groups that touch no more than MOST together; in order."""
    group: list[_One] = []
    touched = frozenset[str]()
    for one, touches in those:
        if group and len(touched | touches) > most:
            yield group
            group, touched = [], frozenset[str]()
        group.append(one)
        touched |= touches
    if group:
        yield group


def _hosts(cell: PlannedCell) -> frozenset[str]:
    given = cell.given.edges if cell.given is not None else ()
    return frozenset(edge.destination for edge in (*cell.edges, *given))
