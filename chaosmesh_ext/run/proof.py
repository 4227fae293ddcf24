"""What a proof is (D4): a fault is live where it should be and nowhere else; afterwards it is gone."""

from __future__ import annotations

import math
from typing import Final, Protocol

import msgspec

from chaosmesh_ext.model import Answer, Injected

__all__ = ["MOST", "Live", "Proof", "Prover", "enough", "for_nobody"]

MOST: Final = 40
"""Requests after which an edge that was not seen is given up (rules: cap 40; three versions are missed by three
requests 30 % of the time, since Istio balances by least requests)."""

_SURE: Final = 1e-4
"""The chance that a share of the requests, thought to be faulted, spares all that were sent."""


class Proof(msgspec.Struct, frozen=True):
    """That a fault is live, and how it is known.

    by: ``traces``, ``metrics`` or ``nothing``. live_after: seconds from the API's answer to the first request that met
    it was sent; None where nothing could be met or was asked. traces: ids that show it. requests: how many were sent
    to find out. objects: that carry it. replaces: the carrier that was preferred, and why it was not used.
    """

    run: str
    cell: str
    injected: Injected
    carrier: str
    objects: tuple[str, ...]
    by: str
    live_after: float | None = None
    traces: tuple[str, ...] = ()
    requests: int = 0
    replaces: str = ""


class Live(msgspec.Struct, frozen=True):
    """What a prover found. answers: those of the cell from the first one on that met the fault."""

    by: str
    live_after: float | None
    traces: tuple[str, ...]
    requests: int
    answers: tuple[Answer, ...] = ()
    controls: tuple[Answer, ...] = ()


class Prover(Protocol):
    """Proves one fault in one place."""

    def before(self) -> tuple[Answer, ...]:
        """See the call without the fault; the control's answers. Raises NotProven when it is not there, or faulted."""

    def live(self, written: float) -> Live:
        """See the fault, which was written at WRITTEN (epoch), where it should be and nowhere else, or NotProven."""

    def gone(self) -> float | None:
        """See the calls without the fault again; seconds that it took. Raises LeftBehind when it stays."""


def enough(percentage: float) -> int:
    """Requests of which one shows a fault for PERCENTAGE of them, but for a chance of one in ten thousand."""
    if percentage >= 100 or percentage <= 0:
        return 1
    return math.ceil(math.log(_SURE) / math.log(1 - percentage / 100))


def for_nobody(injected: Injected) -> list[str]:
    """The note that INJECTED is for 0 % of the requests; none for any other share."""
    if injected.percentage:
        return []
    return [
        f"nobody meets the {injected}, on calls of {injected.destination}: percentage is 0, so it only rehearses it"
    ]
