"""What an exploration is asked for."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from chaosmesh_ext import settings
from chaosmesh_ext.explore.plan import DELAY, STATUS
from chaosmesh_ext.settings import Settings

__all__ = ["LAB_BUDGET", "Options", "affording", "asked_in_flight"]

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


def asked_in_flight() -> int | None:
    """Marked requests at once, as CHAOSMESH_REQUEST_BUDGET has it; None where nobody said."""
    return settings.load().request_budget if os.environ.get("CHAOSMESH_REQUEST_BUDGET") else None


def affording(known: Settings, in_flight: int | None, *, lab: bool) -> Settings:
    """KNOWN with so many marked requests IN_FLIGHT at once; None: `LAB_BUDGET` of them in a LAB, else as it was."""
    if in_flight is None:
        in_flight = LAB_BUDGET if lab else known.request_budget
    return msgspec.structs.replace(known, request_budget=in_flight)
