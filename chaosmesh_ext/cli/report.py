"""`chaos mesh report`: the reports again, from journals; needs neither the mesh nor Jaeger."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from chaosmesh_ext.errors import InvalidInput

__all__ = ["report"]


@click.command()
@click.argument("journals", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The folder to write to.")
@click.option("--json", "as_json", is_flag=True, help="Print the files written as JSON.")
def report(journals: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Write report.md and findings.json from JOURNALS that Chaos Toolkit wrote.

    Of several runs each gets a folder of its own below --out, named by the run.

    \b
    Example:
      chaos mesh report reports/runs/latest/journal.json --out /tmp/report
    """  # noqa: D301 - \b is click's word for "do not wrap"
    from chaosmesh_ext.cli import reports

    documents = {_name(document, path): document for path in journals for document in _documents(path)}
    written: list[Path] = []
    for name, document in documents.items():
        folder = out if len(documents) == 1 else out / name
        written += reports.write_reports(document, reports.directory(folder))
    if as_json:
        click.echo(json.dumps({"files": [str(path) for path in written]}))
        return
    for path in written:
        click.echo(path)


def _documents(path: Path) -> list[dict[str, Any]]:
    """Those of the journal at PATH; raises InvalidInput that names it."""
    from chaosmesh_ext.cli import reports
    from chaosmesh_ext.report import load_journal

    journal = load_journal(path)
    try:
        return reports.documents(journal)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None


def _name(document: Mapping[str, Any], path: Path) -> str:
    """The folder of one run among several: its token, or the journal's name where that has none."""
    run = str(document["run"]["id"])
    if run == "-":
        return path.stem
    if not re.fullmatch(r"\w[\w.-]*", run):
        raise InvalidInput(f"{path}: the run's id is {run!r}, which cannot name a folder; was the file edited?")
    return run
