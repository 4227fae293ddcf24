"""`chaos mesh check`: can I reach it, may I do it, what will I not see. Nothing is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from chaosmesh_ext.cli.consent import consent
from chaosmesh_ext.visible import visible

if TYPE_CHECKING:
    from chaosmesh_ext.cli.dry_run import Rehearsed
    from chaosmesh_ext.run.checks import Check

__all__ = ["check"]

_SIGNS = {True: "✓", False: "✗", None: "–"}


@click.command()
@click.argument("experiment", required=False)
@click.option("--url", default="", help="Where the marked request goes: whole, or a path on APP_URL.")
@consent
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(ctx: click.Context, experiment: str | None, url: str, as_json: bool) -> None:
    """Say what a run would meet here: in the namespaces of EXPERIMENT, or in CHAOSMESH_NAMESPACE.

    One line a check: ✓ it is so, ✗ it is not, and what to do next, – it neither helps nor hinders. One marked request
    is sent to APP_URL; nothing is written.

    \b
    Exit codes: 0 a run would begin, 2 it would be refused,
    3 it could not be reached, permitted or proven.

    \b
    Example:
      chaos mesh check experiments/ratings-abort.yaml
    """  # noqa: D301 - \b is click's word for "do not wrap"
    import msgspec

    from chaosmesh_ext.cli.progress import quiet

    quiet(logging.getLogger("chaostoolkit"))
    found = []
    for one in _checks(ctx, experiment, url):
        found.append(one)
        if not as_json:
            next_step = f" → {one.what_next}" if one.what_next else ""
            click.echo(visible(f"{_SIGNS[one.ok]} {one.name}: {one.found}{next_step}"))
    codes = {one.exit_code for one in found if one.ok is False}
    code = 2 if 2 in codes else 3 if codes else 0
    if as_json:
        click.echo(json.dumps({"exit_code": code, "checks": msgspec.to_builtins(found)}, ensure_ascii=False))
    ctx.exit(code)


def _checks(ctx: click.Context, experiment: str | None, url: str) -> Iterator[Check]:
    from chaosmesh_ext.cli.dry_run import rehearse
    from chaosmesh_ext.errors import ChaosMeshError, InvalidInput
    from chaosmesh_ext.mesh import connect
    from chaosmesh_ext.observe.reach import several_stores
    from chaosmesh_ext.run.checks import cluster, observed
    from chaosmesh_ext.settings import load

    settings, namespaces, urls = load(), [], []
    steps: list[Check] = []
    client = connect()
    if experiment:
        loaded = _loaded(ctx, experiment)
        try:
            rehearsed = rehearse(loaded, {}, {})
        except ChaosMeshError as error:  # the whole of it is refused
            steps = [_refused("experiment", str(error), error.exit_code)]
        else:
            settings, namespaces, urls = rehearsed.settings, rehearsed.namespaces, rehearsed.urls
            steps = list(_steps(rehearsed))
    if several := several_stores(settings):
        raise InvalidInput(several)
    checks = cluster(client, settings, namespaces or [settings.namespace])
    first = next(checks)
    yield first
    if first.ok:
        yield from checks
        yield from steps
    yield from observed(settings, url or next(iter(urls), ""))


def _loaded(ctx: click.Context, source: str) -> dict[str, Any]:
    from chaoslib.settings import load_settings

    from chaosmesh_ext.cli import experiments

    settings = load_settings((ctx.obj or {}).get("settings_path", "")) or {}
    loaded = experiments.load(source, settings)
    experiments.validate(loaded, source)
    return loaded


def _refused(name: str, why: str, code: int) -> Check:
    from chaosmesh_ext.run.checks import Check

    return Check(name, ok=False, found=why, exit_code=code if code in (2, 3) else 2)


def _steps(rehearsed: Rehearsed) -> Iterator[Check]:
    """What each injection of the experiment would come to."""
    from chaosmesh_ext.run.checks import Check

    for step in rehearsed.steps:
        if step.refused:
            yield _refused(step.name, step.refused, step.exit_code)
        elif step.carrier:
            instead = f" ({step.replaces})" if step.replaces else ""
            names = ", ".join(f"{one['kind']} {one['namespace']}/{one['name']}" for one in step.objects)
            yield Check(step.name, ok=True, found=f"{step.place} by {step.carrier}{instead}: {names}")
