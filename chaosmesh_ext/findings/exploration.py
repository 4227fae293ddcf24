"""An exploration: everything that a run saw, for rules that one subject cannot tell."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.findings.draft import Draft
from chaosmesh_ext.findings.subject import Subject
from chaosmesh_ext.model import Cell, Propagated

__all__ = ["Exploration"]


class Exploration(msgspec.Struct, frozen=True):
    """A whole run.

    cells: all but the control, those with a purpose and faults away from the caller too. calls: every call of a cell
    in order of start, by the cell's id. subjects: what met a delay or an abort at the caller in cells without a
    purpose. drafts: what the rules that look at one subject say, before versions are merged. propagation: what was
    measured of the marker, edge by edge; empty where nobody measured.
    """

    baseline: Baseline
    cells: tuple[Cell, ...]
    calls: Mapping[str, tuple[Call, ...]]
    subjects: tuple[Subject, ...]
    drafts: tuple[Draft, ...] = ()
    propagation: tuple[Propagated, ...] = ()

    def made_for(self, purpose: str) -> tuple[Cell, ...]:
        """The cells that were made for one rule."""
        return tuple(cell for cell in self.cells if cell.purpose == purpose)
