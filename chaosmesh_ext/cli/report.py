"""`chaos mesh report`: the reports again, from journals; needs neither the mesh nor Jaeger."""

from __future__ import annotations

import json
from pathlib import Path

import click

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
    from chaosmesh_ext.report import load_journal

    documents = {
        str(document["run"]["id"]): document for path in journals for document in reports.documents(load_journal(path))
    }
    written: list[Path] = []
    for run, document in documents.items():
        folder = out if len(documents) == 1 else out / run
        written += reports.write_reports(document, reports.directory(folder))
    if as_json:
        click.echo(json.dumps({"files": [str(path) for path in written]}))
        return
    for path in written:
        click.echo(path)
