"""The last lines that a person sees of a run."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from chaosmesh_ext.cli.progress import Progress


@pytest.mark.parametrize(
    ("exit_code", "verdict", "line"),
    [
        (2, "inconclusive", "verdict: inconclusive (wrong input: exit code 2)"),
        (3, "inconclusive", "verdict: inconclusive"),
        (0, "upheld", "verdict: upheld"),
    ],
)
def test_wrong_input_is_told_from_what_could_not_be_proven(exit_code, verdict, line):
    shown = io.StringIO()
    section = {"verdict": verdict, "exit_code": exit_code, "unmet": [], "problems": ["weights is 5"]}
    Progress(Console(file=shown)).outcome(section)
    assert shown.getvalue().splitlines() == ["problem: weights is 5", line]
