"""findings.json read back: a file that anybody may have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.explore.selection import TAUGHT_BY
from chaosmesh_ext.model import SCHEMA

__all__ = ["Saved", "SavedCoverage", "SavedFinding", "SavedSkip", "load_findings"]

_FILE = "findings.json"


class SavedFinding(msgspec.Struct, frozen=True):
    """A finding, as far as one program may want to know it from another one's file."""

    id: str
    rule: str
    severity: Literal["critical", "warning", "info"]
    source: str
    destination: str
    operation: str
    summary: str
    value: float | None = None
    unit: str = ""
    condition: str | None = None
    advice: str = ""
    fix: dict[str, Any] | None = None
    who: str | None = None
    kind: str | None = None
    numbers: dict[str, float] = {}

    @property
    def call(self) -> str:
        """Who calls what."""
        return f"{self.source} → {self.destination} {self.operation}"


class SavedSkip(msgspec.Struct, frozen=True):
    """What was left out. edge: ``productpage-v1 → details``, or ``*``. reason: ``rule: …`` where one rule is meant."""

    edge: str
    reason: str

    @property
    def rule(self) -> str:
        """The rule that it is about; empty where it is about all of them."""
        word, colon, _ = self.reason.partition(": ")
        return word if colon and word in TAUGHT_BY else ""


class SavedCoverage(msgspec.Struct, frozen=True):
    """Counts of edges, and what was left out."""

    edges: int
    tested: int
    skipped: tuple[SavedSkip, ...] = ()


class SavedRun(msgspec.Struct, frozen=True):
    """Which run it was. started: UTC, as ISO 8601."""

    id: str = ""
    started: str = ""


class SavedTarget(msgspec.Struct, frozen=True):
    """What was explored: one URL, or several, of which it is the first."""

    url: str = ""
    urls: tuple[str, ...] = ()


class Saved(msgspec.Struct, frozen=True):
    """A findings.json."""

    schema: str
    findings: tuple[SavedFinding, ...]
    coverage: SavedCoverage
    run: SavedRun = SavedRun()
    target: SavedTarget = SavedTarget()


def load_findings(path: Path) -> Saved:
    """The findings.json at PATH, or in the folder PATH; raises InvalidInput, one line that names the place."""
    file = path / _FILE if path.is_dir() else path
    try:
        text = file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}; give the findings.json of a run, or its folder") from None
    try:
        saved = msgspec.json.decode(text, type=Saved)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at ")
        at = place.strip("`").removeprefix("$").removeprefix(".") or "the whole"
        raise InvalidInput(f"{file}: {at}: {reason}; is it a findings.json?") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidInput(f"{file}: not JSON: {error}; give the findings.json of a run") from None
    if saved.schema != SCHEMA:
        raise InvalidInput(f"{file}: schema is {saved.schema!r}; findings have {SCHEMA!r}")
    return saved
