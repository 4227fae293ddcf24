"""Where a run's files go, and how they are written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from chaosmesh_ext.errors import InvalidInput

__all__ = [
    "LATEST",
    "RUNS",
    "can_be_written",
    "directory",
    "documents",
    "move_latest",
    "write_journal",
    "write_reports",
]

RUNS = Path("reports/runs")
LATEST = RUNS / "latest"


def directory(path: Path) -> Path:
    """PATH as a folder that can be written to, made where it is missing; raises InvalidInput."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; give a folder that can be written to") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise InvalidInput(f"{path}: not writable; give another folder")
    return path


def can_be_written(path: Path) -> None:
    """Raise InvalidInput where `directory` would for PATH, as far as that is known before; nothing is made."""
    there = next(each for each in (path, *path.absolute().parents) if each.exists() or each.is_symlink())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "not writable" if there.is_dir() else "no folder"
        raise InvalidInput(f"{there}: {why}; reports go to {path}: begin elsewhere, or give --out")


def move_latest(to: Path) -> None:
    """Point reports/runs/latest to the folder TO beside it, at once: it is never missing in between."""
    fresh = LATEST.with_name(f".latest-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(to.name, target_is_directory=True)
    fresh.replace(LATEST)


def write_journal(journal: Mapping[str, Any], folder: Path) -> Path:
    """Write journal.json."""
    path = folder / "journal.json"
    _write(path, json.dumps(journal, indent=2, ensure_ascii=False, default=_encoded) + "\n")
    return path


def write_reports(document: dict[str, Any], folder: Path) -> list[Path]:
    """Write report.md and findings.json of one run's document."""
    from chaosmesh_ext.report import findings_json, markdown

    report, findings = folder / "report.md", folder / "findings.json"
    _write(report, markdown.render(document))
    _write(findings, findings_json.render(document))
    return [report, findings]


def _write(path: Path, text: str) -> None:
    """Write the file at once: whoever reads it meanwhile, or after this process was killed, finds it whole or not."""
    fresh = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def documents(journal: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The findings documents in JOURNAL, the last of each run: it judges everything since the run began.

    There is always one; where the experiment asked for no findings it says so.
    """
    from chaosmesh_ext.report import from_journal, without_findings

    found = {str(document["run"]["id"]): document for document in from_journal(journal)}
    return list(found.values()) or [without_findings(journal)]


def _encoded(value: Any) -> Any:
    """What JSON has no word for, as Chaos Toolkit writes it; never a reason to lose a journal."""
    try:
        return msgspec.to_builtins(value)
    except TypeError:
        return str(value)
