"""`chaos mesh explore`: how every call of an application fails, and what to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosmesh_ext.cli.consent import consent
from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.visible import visible_lines

if TYPE_CHECKING:
    from chaosmesh_ext.explore.options import Options
    from chaosmesh_ext.explore.recipe import Recipe
    from chaosmesh_ext.model import Graph

__all__ = ["explore"]


@click.command()
@click.argument("urls", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write here, not below reports/runs.")
@click.option("--recipe", type=click.Path(path_type=Path), help="What to request, where plain URLS do not do.")
@click.option("--delay", type=float, help="Seconds by which calls are held back.  [default: 12]")
@click.option("--status", type=int, help="HTTP status that calls are aborted with.  [default: 507]")
@click.option(
    "--stateful/--no-stateful",
    default=None,
    help="Breakers, bulkheads and unsafe retries as well, which hold up others too.  [default: in a lab only]",
)
@click.option("--only", multiple=True, metavar="WHAT", help="edge=A:B, edge=A, operation='GET /x*' or rule=NAME.")
@click.option("--skip", multiple=True, metavar="WHAT", help="Leave that out; * stands for anything in both.")
@click.option("--plan", "plan_only", is_flag=True, help="Show what would be injected, and inject nothing.")
@click.option("--graph", type=click.Path(path_type=Path), help="With --plan: the calls, in JSON, instead of URLS.")
@consent
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def explore(
    ctx: click.Context,
    urls: tuple[str, ...],
    out: Path | None,
    recipe: Path | None,
    delay: float | None,
    status: int | None,
    stateful: bool | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    plan_only: bool,
    graph: Path | None,
    as_json: bool,
) -> None:
    """Find out how every call behind URLS fails, prove it, and say what to change.

    Healthy requests show what calls what; then every call is delayed, and then aborted, for requests of our own only.
    Writes report.md and findings.json below reports/runs/<run>/; reports/runs/latest points to the newest.

    With --plan nothing is injected: healthy requests are sent; or, without traces and a cluster, a graph is given in
    JSON: {"schema": "chaosmesh-ext/graph/v1", "entries": ["shop"], "calls": [{"source": "shop", "version": "v1",
    "destination": "cart", "operation": "GET /cart"}]}.

    \b
    Exit codes: 0 no weakness, 1 weakness found, 2 wrong usage or input,
    3 inconclusive, 4 aborted, 5 something left behind.

    \b
    Example:
      chaos mesh explore $APP_URL/productpage --out reports/bookinfo
    """  # noqa: D301 - \b is click's word for "do not wrap"
    if graph is not None:
        if not plan_only:
            raise InvalidInput("--graph is for --plan: what is explored is found out by requests; give a URL instead")
        if urls or recipe:
            raise InvalidInput(f"{urls[0] if urls else recipe}: give what to request or --graph, not both")
        _show(_read(graph), delay, status, stateful=bool(stateful), only=only, skip=skip, as_json=as_json)
        return
    if urls and recipe is not None:
        raise InvalidInput(f"{urls[0]}: give URLs or --recipe, not both")
    if plan_only and out is not None:
        raise InvalidInput(f"--out {out}: with --plan nothing is written; leave one of them out")
    chosen = (delay, status, only, skip)
    if plan_only:
        _look(urls, recipe, chosen, stateful=bool(stateful), as_json=as_json)
        return
    ctx.exit(_explore(urls, recipe, out, chosen, stateful=stateful, as_json=as_json))


_Chosen = tuple[float | None, int | None, tuple[str, ...], tuple[str, ...]]
"""--delay, --status, --only, --skip."""


def _explore(
    urls: tuple[str, ...],
    recipe: Path | None,
    out: Path | None,
    chosen: _Chosen,
    *,
    stateful: bool | None,
    as_json: bool,
) -> int:
    """Explore, and print what was found; the exit code."""
    from contextlib import suppress

    from rich.console import Console

    from chaosmesh_ext.cli import exploring, reports

    asked, options = _asked(urls, recipe), _options(chosen, stateful=stateful)
    fresh = out is not None and not out.exists()
    if out is not None:
        reports.directory(out)
    else:
        reports.can_be_written(reports.RUNS)
    try:
        found = exploring.go(asked, options, out, Console(stderr=as_json))
    finally:
        if fresh and out is not None:
            with suppress(OSError):  # what was written stays
                out.rmdir()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    code: int = found["exit_code"]
    return code


def _look(urls: tuple[str, ...], recipe: Path | None, chosen: _Chosen, *, stateful: bool, as_json: bool) -> None:
    """Discover, and print the plan. STATEFUL: what may turn out to be worth it as well."""
    import msgspec
    from rich.console import Console

    from chaosmesh_ext import settings
    from chaosmesh_ext.cli import exploring, planned
    from chaosmesh_ext.explore.plan import plan

    options = _options(chosen, stateful=False)
    found, made, in_flight = exploring.look(_asked(urls, recipe), options, Console(stderr=True))
    if stateful:
        every = plan(
            found.graph,
            delay=options.delay,
            status=options.status,
            stateful=True,
            only=options.only,
            skip=options.skip,
            hosts=settings.load().max_hosts,
        )
        made = planned.on(every, {cell.edge for cell in made.cells})
    made = msgspec.structs.replace(made, skipped=tuple(dict.fromkeys((*found.skipped, *made.skipped))))
    if as_json:
        click.echo(json.dumps({**planned.as_json(found.graph, made, in_flight), "notes": list(found.notes)}))
        return
    notes = [f"note: {note}" for note in found.notes]
    click.echo(visible_lines("\n".join((*planned.lines(found.graph, made, in_flight), *notes))))


def _asked(urls: tuple[str, ...], recipe: Path | None) -> Recipe:
    """What is requested; raises InvalidInput."""
    import logging

    from chaosmesh_ext.cli.progress import quiet
    from chaosmesh_ext.explore.recipe import Recipe, load_recipe

    quiet(logging.getLogger("chaostoolkit"))
    return load_recipe(recipe) if recipe is not None else Recipe.of_urls(urls)


def _options(chosen: _Chosen, *, stateful: bool | None) -> Options:
    """What is injected."""
    from chaosmesh_ext.explore.options import Options, asked_in_flight
    from chaosmesh_ext.explore.plan import DELAY, STATUS

    delay, status, only, skip = chosen
    return Options(
        delay=DELAY if delay is None else delay,
        status=STATUS if status is None else status,
        only=only,
        skip=skip,
        in_flight=asked_in_flight(),
        stateful=stateful,
    )


def _show(
    graph: Graph,
    delay: float | None,
    status: int | None,
    *,
    stateful: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print the plan for GRAPH."""
    from chaosmesh_ext import settings
    from chaosmesh_ext.cli import planned
    from chaosmesh_ext.explore.plan import DELAY, STATUS, plan

    made = plan(
        graph,
        delay=DELAY if delay is None else delay,
        status=STATUS if status is None else status,
        stateful=stateful,
        only=only,
        skip=skip,
        hosts=settings.load().max_hosts,
    )
    in_flight = settings.load().request_budget
    if as_json:
        click.echo(json.dumps(planned.as_json(graph, made, in_flight), ensure_ascii=False))
    else:
        click.echo(visible_lines("\n".join(planned.lines(graph, made, in_flight))))


def _read(path: Path) -> Graph:
    """The graph in the file at PATH; raises InvalidInput."""
    from chaosmesh_ext.model import Graph

    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; give a graph file") from None
    return Graph.from_json(text, str(path))
