"""What an exploration is asked for."""

from __future__ import annotations

from typing import Final

import msgspec

from chaosmesh_ext.explore.plan import DELAY, STATUS

__all__ = ["LAB_BUDGET", "Options"]

LAB_BUDGET: Final = 16
"""Marked requests at once in a lab, where nobody else is harmed (rules, "What decides validity" 10)."""


class Options(msgspec.Struct, frozen=True):
    """What is injected; see `plan`. carrier: auto, or one of mesh.CARRIERS. in_flight: marked requests at once; None
    where nobody said: `LAB_BUDGET` in a lab, else the setting request_budget. stateful: None where nobody said: in a
    lab.
    """

    delay: float = DELAY
    status: int = STATUS
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    carrier: str = ""
    in_flight: int | None = None
    stateful: bool | None = None
