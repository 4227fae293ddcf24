"""Propagation: on which calls our traces and our marker survived, as it was measured."""

from __future__ import annotations

from typing import Final

import msgspec

from chaosmesh_ext.model.workload import Edge

__all__ = ["Propagated"]


_FEW: Final = 5
"""One call in so many at most is sampled anew: nobody samples more who does not sample all."""


class Propagated(msgspec.Struct, frozen=True):
    """What became of the trace and of the marker on one edge, while healthy requests of ours ran.

    counted: calls on it that the mesh's metrics say our requests caused; 0 where nobody counted. traced: calls on it
    in the traces of these requests. marked: how many of `traced` arrived with the marker that faults are matched by;
    None where that was not measured. survives: names of the headers that did keep the marker, for the advice.
    """

    edge: Edge
    counted: int = 0
    traced: int = 0
    marked: int | None = None
    survives: tuple[str, ...] = ()

    @property
    def orphaned(self) -> bool:
        """The metrics have calls of which our traces lack nearly all: a few may be there where the mesh samples anew.

        Where more are there, our trace is passed on, and what is lacking was lost on its way to the store.
        """
        return _FEW * self.traced < self.counted

    @property
    def unmarked(self) -> int:
        """Calls that are in our traces and arrived without the marker."""
        return self.traced - self.marked if self.marked is not None else 0
