"""`chaos mesh diff`: what changed between two runs, and whether it became worse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaosmesh_ext.errors import Inconclusive, Weakness
from chaosmesh_ext.visible import visible

if TYPE_CHECKING:
    from chaosmesh_ext.report.difference import Difference

__all__ = ["diff"]


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def diff(ctx: click.Context, old: Path, new: Path, as_json: bool) -> None:
    """Compare the findings of two runs: OLD and NEW are findings.json files, or the folders they are in.

    Worse are: a new warning or critical finding, a graver one, a timeout or an amplification that grew, a fallback that
    became missing, a breaker or a bulkhead that is gone. What NEW did not test is told apart from what is gone.

    \b
    Exit codes: 0 nothing is worse, 1 something is (a regression), 2 wrong usage or input,
    3 NEW tested nothing of what OLD did.

    \b
    Example:
      chaos mesh diff reports/productpage-details-timeout reports/runs/latest
    """  # noqa: D301 - \b is click's word for "do not wrap"
    from chaosmesh_ext.report.difference import difference
    from chaosmesh_ext.report.saved import load_findings

    before, after = load_findings(old), load_findings(new)
    found = difference(before, after)
    blind = bool(before.coverage.tested) and not after.coverage.tested and not after.findings
    if as_json:
        click.echo(json.dumps(_as_json(found), ensure_ascii=False))
    else:
        for line in _lines(found):
            click.echo(visible(line))
    if found.worse:
        ctx.exit(Weakness.exit_code)
    if blind:
        raise Inconclusive(f"{new}: no call was tested, so nothing can be said of what {old} found")


def _lines(found: Difference) -> Iterator[str]:
    worse = {id(finding) for finding in found.worse}
    yield f"{len(worse)} worse, {found.unchanged} as they were" + (
        f", {len(found.lost)} not tested any more" if found.lost else ""
    )
    for change in found.changed:
        sign = "worse" if change.worse else "changed"
        yield f"{sign}: {change.new.rule} of {change.new.call}{_when(change.new)}: {change.what}"
    for word, findings in (("new", found.new), ("newly tested", found.uncovered), ("gone", found.gone)):
        for finding in findings:
            sign = f"worse, {word}" if id(finding) in worse else word
            yield f"{sign}: {finding.severity} {finding.rule} of {finding.call}{_when(finding)}: {finding.summary}"
    for lost in found.lost:
        finding = lost.finding
        yield f"not tested: {finding.severity} {finding.rule} of {finding.call}{_when(finding)}: {lost.reason}"


def _when(finding: Any) -> str:
    return f" ({finding.condition})" if finding.condition else ""


def _as_json(found: Difference) -> dict[str, Any]:
    import msgspec

    worse = {id(finding) for finding in found.worse}

    def told(finding: Any) -> dict[str, Any]:
        return {**msgspec.to_builtins(finding), "regression": id(finding) in worse}

    return {
        "regression": bool(worse),
        "new": [told(finding) for finding in found.new],
        "newly_tested": [told(finding) for finding in found.uncovered],
        "gone": [told(finding) for finding in found.gone],
        "changed": [
            {
                "id": change.new.id,
                "regression": change.worse,
                "what": change.what,
                "old": msgspec.to_builtins(change.old),
                "new": msgspec.to_builtins(change.new),
            }
            for change in found.changed
        ],
        "coverage_lost": [{"reason": lost.reason, "finding": msgspec.to_builtins(lost.finding)} for lost in found.lost],
        "unchanged": found.unchanged,
    }
