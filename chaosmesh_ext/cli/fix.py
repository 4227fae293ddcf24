"""`chaos mesh fix`: the manifests that mend what Istio can mend, and on a lab the proof that they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import click

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.visible import visible

if TYPE_CHECKING:
    from chaosmesh_ext.explore.fix.mending import Weak
    from chaosmesh_ext.report.saved import Saved, SavedFinding

__all__ = ["fix"]

_LATEST = "latest"


@click.command()
@click.argument("findings", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="On a lab: put each fix in, explore again, and take it out.")
@click.option("--only", multiple=True, metavar="ID", help="The finding with this id alone; may be given several times.")
@click.option("--url", "urls", multiple=True, help="With --verify: what was explored, where it is elsewhere now.")
@click.option("--recipe", type=click.Path(path_type=Path), help="With --verify: what to request, as `explore` has it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def fix(
    ctx: click.Context,
    findings: Path,
    verify: bool,
    only: tuple[str, ...],
    urls: tuple[str, ...],
    recipe: Path | None,
    as_json: bool,
) -> None:
    """Print the manifests that mend what Istio can mend of FINDINGS, a findings.json, its folder, or `latest`.

    One YAML stream, with the finding and the advice as comments; what only the application can mend is named first.
    Nothing is written, with --verify only in a lab: there each weakness is looked for again, by a slow callee, one
    that fails or a load, without the fix and with it, and everything is as it was afterwards.

    \b
    Exit codes: 0 printed, and with --verify all weaknesses are gone, 1 one is still there, 2 wrong usage or input,
    3 inconclusive, or no lab, 4 aborted, 5 something left behind.

    \b
    Example:
      chaos mesh fix reports/runs/latest --verify
    """  # noqa: D301 - \b is click's word for "do not wrap"
    from chaosmesh_ext.cli import fixing
    from chaosmesh_ext.explore.fix.mending import mends
    from chaosmesh_ext.explore.recipe import Recipe, load_recipe
    from chaosmesh_ext.report.saved import load_findings

    if (urls or recipe) and not verify:
        raise InvalidInput("--url and --recipe are for --verify: without it nothing is requested")
    if urls and recipe:
        raise InvalidInput(f"{urls[0]}: give --url or --recipe, not both")
    saved = load_findings(_path(findings))
    weak = _weak(saved, only, findings)
    made = mends(weak)
    tried = fixing.Tried()
    if verify and made:
        asked = load_recipe(recipe) if recipe else Recipe.of_urls(urls or _urls(saved, findings))
        known = [_read(one) for one in saved.findings]
        tried = fixing.go(made, asked, lambda line: click.echo(visible(line), err=True), known)
    elif verify and weak:
        tried = fixing.Tried(problems=("Istio can mend none of these weaknesses, so nothing was verified",))
    shown = fixing.as_json(made, weak, tried) if as_json else None
    click.echo(json.dumps(shown, ensure_ascii=False) if as_json else fixing.stream(made, weak, tried), nl=as_json)
    if not weak:
        click.echo(f"{visible(findings)}: no weakness was found, so there is nothing to mend", err=True)
    for problem in tried.problems:
        click.echo(f"problem: {visible(problem)}", err=True)
    if tried.error is not None:
        raise tried.error
    ctx.exit(tried.exit_code)


def _path(given: Path) -> Path:
    """GIVEN, or the newest run's folder where it is the word for that."""
    from chaosmesh_ext.cli.reports import LATEST

    return LATEST if str(given) == _LATEST and not given.exists() else given


def _weak(saved: Saved, only: tuple[str, ...], path: Path) -> list[Weak]:
    """The weaknesses in SAVED, those with an id in ONLY where that names any; raises InvalidInput."""
    known = {finding.id for finding in saved.findings}
    if unknown := [one for one in only if one not in known]:
        raise InvalidInput(f"{path}: no finding has the id {unknown[0]!r}; findings.json has them, e.g. {_some(known)}")
    found = [one for one in saved.findings if not only or one.id in only]
    if idle := [one for one in found if only and one.severity == "info" and not one.fix]:
        raise InvalidInput(f"{path}: {idle[0].id} is a {idle[0].rule}, which is no weakness: there is nothing to mend")
    found = [one for one in found if one.fix or one.severity != "info"]
    return [_read(one) for one in found]


def _read(finding: SavedFinding) -> Weak:
    import msgspec

    from chaosmesh_ext.explore.fix.mending import Weak

    return msgspec.convert(msgspec.to_builtins(finding), Weak)


def _some(known: set[str]) -> str:
    return ", ".join(sorted(known)[:3]) or "none"


def _urls(saved: Saved, path: Path) -> tuple[str, ...]:
    """What was explored; on the setting app_url where there is one, for a lab is elsewhere each time."""
    from chaosmesh_ext import settings

    urls = saved.target.urls or (saved.target.url,)
    if not all(urls):
        raise Inconclusive(f"{path}: it does not say which URL was explored; give it with --url")
    return tuple(dict.fromkeys(map(_path_of, urls))) if settings.load().app_url else urls


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(("", "", parts.path or "/", parts.query, ""))
