"""What every part of a lab is told of the lab that it belongs to."""

from __future__ import annotations

from pathlib import Path

import msgspec

__all__ = ["Place"]


class Place(msgspec.Struct, frozen=True):
    """Where a part lives, and what it serves.

    control: the address on which it listens, of `Network`. directory: the lab's folder; logs go below ``logs/``.
    sampling: percent of unmarked requests that are traced.
    """

    control: str
    directory: Path
    sampling: float = 100.0

    def log(self, name: str) -> Path:
        """The log file of the part NAME."""
        return self.directory / "logs" / f"{name}.log"
