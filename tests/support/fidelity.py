"""docs/fidelity.md: one row a case of tests/conformance, with what either side was seen to do."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

__all__ = ["Case", "Row", "Table", "case_of", "cell", "render"]

_HEAD = """# Fidelity

What the lab's own control plane, Kubernetes API and trace store do, beside what the real istiod, kube-apiserver and
Jaeger do. Each row is a test of `tests/conformance/` that ran on both sides and says what it saw; `make fidelity` writes
this page, and `make conformance` fails when it is out of date.
"""


class Case(NamedTuple):
    """A test: the title of its file, its feature, and why the sides differ (empty when they must not)."""

    group: str
    feature: str
    reason: str


class Row(NamedTuple):
    """A line of the table."""

    embedded: str
    real: str
    reason: str

    def of(self, side: str) -> str:
        """What SIDE was seen to do."""
        return self.embedded if side == "embedded" else self.real


class Table(NamedTuple):
    """The whole page: rows by group and feature."""

    rows: Mapping[tuple[str, str], Row]

    @classmethod
    def read(cls, path: Path) -> Table:
        """The table in PATH; an empty one when there is none."""
        rows: dict[tuple[str, str], Row] = {}
        group = ""
        for line in path.read_text().splitlines() if path.exists() else []:
            if line.startswith("## "):
                group = line[3:]
            elif line.startswith("| ") and not line.startswith("| feature |"):
                feature, embedded, real, same = (
                    part.strip() for part in re.split(r"(?<!\\)\|", line.strip().strip("|"), maxsplit=3)
                )
                rows[group, feature] = Row(embedded, real, same.removeprefix("no: ") if same != "yes" else "")
        return cls(rows)


def case_of(item: pytest.Item) -> Case:
    """The case that a test is."""
    function = item.function
    title = (inspect.getmodule(function).__doc__ or "").strip().splitlines()[0].rstrip(".")
    doc = inspect.getdoc(function)
    assert doc, f"{item.name} has no docstring: its first line is the feature"
    params = {key: value for key, value in getattr(item, "callspec", _NoParams).params.items() if key != "side"}
    feature = doc.splitlines()[0].rstrip(".")
    names = dict(params)
    for key, value in params.items():
        feature = feature.replace("{" + key + "}", str(value))
        del value
    if names and feature == doc.splitlines()[0].rstrip("."):
        feature += f" ({item.callspec.id.replace('embedded', '').replace('real', '').strip('-')})"
    mark = item.get_closest_marker("differs")
    return Case(cell(title), cell(feature), str(mark.args[0]) if mark else "")


class _NoParams:
    params: Mapping[str, object] = {}


def cell(text: str) -> str:
    """TEXT as it stands in a cell of the table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def render(
    found: Mapping[tuple[str, str], Mapping[str, str]], reasons: Mapping[tuple[str, str], str], before: Table
) -> tuple[str, list[str]]:
    """The page, and what is wrong with it: a side that did not run, a difference without a reason, a reason without one.

    Groups that did not run stay as they were BEFORE.
    """
    wrong: list[str] = []
    ran = {group for group, _ in found}
    rows = {key: row for key, row in before.rows.items() if key[0] not in ran}
    for key, sides in found.items():
        reason, name = cell(reasons[key]), ": ".join(key)
        if len(sides) < 2:
            wrong.append(f"{name} ran on one side only")
            continue
        row = rows[key] = Row(cell(sides["embedded"]), cell(sides["real"]), reason)
        if row.embedded != row.real and not reason:
            wrong.append(f"{name} differs without a reason: embedded {row.embedded!r}, real {row.real!r}")
        if row.embedded == row.real and reason:
            wrong.append(f"{name} is marked as different and is not: {row.embedded!r}")
    groups: dict[str, list[str]] = {}
    for (group, feature), row in sorted(rows.items()):
        verdict = f"no: {row.reason}" if row.reason else "yes"
        groups.setdefault(group, []).append(f"| {feature} | {row.embedded} | {row.real} | {verdict} |")
    differ = sum(bool(row.reason) for row in rows.values())
    same = len(rows) - differ
    count = f"{len(rows)} features: {same} the same on both sides, {differ} different, each with its reason."
    parts = [_HEAD, count]
    parts += [
        "\n".join([f"## {group}", "", "| feature | embedded | real | same? |", "|-|-|-|-|", *lines])
        for group, lines in groups.items()
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n", wrong
