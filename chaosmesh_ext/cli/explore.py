"""`chaos mesh explore`: how every call of an application fails, and what to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.visible import visible_lines

if TYPE_CHECKING:
    from chaosmesh_ext.model import Graph

__all__ = ["explore"]


@click.command()
@click.argument("urls", nargs=-1)
@click.option("--plan", "plan_only", is_flag=True, help="Show what would be injected, and inject nothing.")
@click.option("--graph", type=click.Path(path_type=Path), help="With --plan: the calls, in JSON, instead of URLS.")
@click.option("--delay", type=float, help="Seconds by which calls are held back.  [default: 12]")
@click.option("--status", type=int, help="HTTP status that calls are aborted with.  [default: 507]")
@click.option("--stateful", is_flag=True, help="Breakers, bulkheads and unsafe retries as well.")
@click.option("--only", multiple=True, metavar="WHAT", help="edge=A:B, edge=A, operation='GET /x*' or rule=NAME.")
@click.option("--skip", multiple=True, metavar="WHAT", help="Leave that out; * stands for anything in both.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explore(
    urls: tuple[str, ...],
    plan_only: bool,
    graph: Path | None,
    delay: float | None,
    status: int | None,
    stateful: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    as_json: bool,
) -> None:
    """Plan what an exploration of the calls in a graph injects: which faults, and which of them at once.

    A graph file is JSON: {"schema": "chaosmesh-ext/graph/v1", "entries": ["shop"], "calls": [{"source": "shop",
    "version": "v1", "destination": "cart", "operation": "GET /cart"}]}. Neither traces nor a cluster are needed.

    \b
    Exit codes: 0 planned, 2 wrong usage or input.

    \b
    Example:
      chaos mesh explore --plan --graph calls.json --only edge=productpage:details
    """  # noqa: D301 - \b is click's word for "do not wrap"
    if not plan_only or graph is None:
        raise InvalidInput("give --plan and --graph FILE: only plans of a given graph can be made")
    if urls:
        raise InvalidInput(f"{urls[0]}: give a URL or --graph, not both")
    _show(_read(graph), delay, status, stateful=stateful, only=only, skip=skip, as_json=as_json)


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
