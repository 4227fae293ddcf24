"""`chaos mesh lab`: a real mesh on this machine, without containers or a cluster."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import click

from chaosmesh_ext.cli.errors import one_line
from chaosmesh_ext.cli.lab_start import Wanted, deferred_signals, ended_by_signals, ignore_signals, start
from chaosmesh_ext.cli.lab_tools import tools
from chaosmesh_ext.errors import InvalidInput, LabError
from chaosmesh_ext.lab.parts import names

if TYPE_CHECKING:
    from chaosmesh_ext.lab.state import LabState

__all__ = ["lab"]

_NAME = click.option("--name", default="default", show_default=True, help="Which lab; several may run at once.")


@click.group()
def lab() -> None:
    """A real mesh on this machine: Envoy sidecars, Bookinfo, traces, metrics and a Kubernetes API.

    \b
    Example:
      chaos mesh lab up
      eval "$(chaos mesh lab env)"
      curl $APP_URL/productpage
    """  # noqa: D301 - \b is click's word for "do not wrap"


lab.add_command(tools)


def _up_options(command: Any) -> Any:
    for option in (
        click.option("--topology", type=click.Path(dir_okay=False), help="A service graph instead of Bookinfo."),
        click.option(
            "--control-plane",
            type=click.Choice(names("controlplane")),
            default="embedded",
            show_default=True,
            help="Who turns Istio's resources into Envoy's configuration.",
        ),
        click.option(
            "--traces",
            type=click.Choice(names("traces")),
            default="embedded",
            show_default=True,
            help="Who keeps the traces and answers Jaeger's API.",
        ),
        click.option(
            "--sampling",
            type=click.FloatRange(0, 100),
            default=100.0,
            show_default=True,
            help="Percent of ordinary requests that are traced.",
        ),
        click.option("--without-prometheus", is_flag=True, help="Leave the metrics out."),
    ):
        command = option(command)
    return command


@lab.command()
@_NAME
@_up_options
@click.option("--json", "as_json", is_flag=True, help="Print the lab as JSON.")
def up(
    name: str,
    topology: str | None,
    control_plane: str,
    traces: str,
    sampling: float,
    without_prometheus: bool,
    as_json: bool,
) -> None:
    """Start a lab and wait until it answers; it then runs in the background.

    \b
    Example:
      chaos mesh lab up --topology experiments/topologies/shop.yaml --name shop
    """  # noqa: D301 - \b is click's word for "do not wrap"
    wanted = Wanted(topology or "", control_plane, traces, sampling)
    with one_line(), ended_by_signals():
        state = start(name, wanted, prometheus=not without_prometheus, quiet=as_json)
        if as_json:
            click.echo(json.dumps(_public(state)))
            return
        click.echo(f"The lab {state.name!r} is ready after {state.ready_s:.1f} s at {state.env['APP_URL']}.")
        flag = "" if name == "default" else f" --name {name}"
        page = "" if topology else "productpage"
        click.echo(f'Next: eval "$(chaos mesh lab env{flag})" && curl $APP_URL/{page}')


@lab.command()
@_NAME
@click.option("--all", "everything", is_flag=True, help="Stop every lab of yours.")
def down(name: str, everything: bool) -> None:
    """Stop a lab; nothing of it is left. Does nothing when there is none. Runs in it are halted and roll back first.

    Example: chaos mesh lab down --all
    """
    from chaosmesh_ext.cli.lab_down import end_runs
    from chaosmesh_ext.lab import state as states

    with one_line():
        for each in states.labs() if everything else [name]:
            directory = states.directory_of(each)
            known = directory.exists()
            if states.is_up(each):
                end_runs(directory / "kubeconfig")
            killed = states.stop(directory)
            states.remove(directory)
            note = f"; {killed} processes had to be killed" if killed else ""
            click.echo(f"The lab {each!r} is down{note}." if known or killed else f"No lab named {each!r} was up.")


@lab.command()
@_NAME
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(name: str, as_json: bool) -> None:
    """Say what runs, what was refused, and how much memory it takes.

    Example: chaos mesh lab status --json
    """
    from chaosmesh_ext.lab import state as states

    with one_line():
        state = states.load(name)
        if not state.alive:
            raise LabError(f"the lab {name!r} died; clear it away with `chaos mesh lab down --name {name}`")
        facts = _ask(state)
        if as_json:
            click.echo(json.dumps({**_public(state), **facts}))
            return
        _print_status(state, facts)


@lab.command()
@_NAME
def env(name: str) -> None:
    """Print the lines that point a shell at a lab.

    Example: eval "$(chaos mesh lab env)"
    """
    from chaosmesh_ext.lab import state as states

    with one_line():
        state = states.load(name)
        for variable, value in state.env.items():
            click.echo(f"export {variable}={shlex.quote(value)}")
        if "PROMETHEUS_URL" not in state.env:
            click.echo("unset PROMETHEUS_URL")
            click.echo("this lab has no Prometheus: metric probes will say so", err=True)


@lab.command(context_settings={"ignore_unknown_options": True})
@_up_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    topology: str | None,
    control_plane: str,
    traces: str,
    sampling: float,
    without_prometheus: bool,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND with a lab of its own, then stop that lab; exits with COMMAND's status.

    \b
    Example:
      chaos mesh lab run -- chaos mesh run experiments/ratings-abort.yaml
    """  # noqa: D301 - \b is click's word for "do not wrap"
    from chaosmesh_ext.lab import state as states

    name = f"run-{uuid.uuid4().hex[:12]}"
    directory = states.directory_of(name)
    status_code = 1
    wanted = Wanted(topology or "", control_plane, traces, sampling)
    with one_line(), ended_by_signals():
        try:
            state = start(name, wanted, prometheus=not without_prometheus, bound=True)
            status_code = _run_command(command, {**os.environ, **state.env})
        finally:
            ignore_signals()
            states.stop(directory)
            states.remove(directory)
    sys.exit(status_code)


def _run_command(command: tuple[str, ...], environment: dict[str, str]) -> int:
    # what comes between its start and our knowing its pid must reach it too
    with deferred_signals() as came:
        try:
            process = subprocess.Popen(command, env=environment)
        except OSError as error:
            raise InvalidInput(f"{command[0]}: {error.strerror}; give a program after `--`") from None
    if came:
        process.terminate()
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # the terminal's Ctrl-C reached the command too; a SIGTERM to us has to be passed on
            process.terminate()
            continue
        return 128 - code if code < 0 else code


def _public(state: LabState) -> dict[str, Any]:
    return {"name": state.name, "pid": state.pid, "env": state.env, "ready_s": state.ready_s}


def _ask(state: LabState) -> dict[str, Any]:
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{state.status_url}/status", timeout=5) as answer:
            facts: dict[str, Any] = json.load(answer)
            return facts
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise LabError(f"the lab {state.name!r} does not answer at {state.status_url}: {error}") from error


def _print_status(state: LabState, facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = 200  # nobody's screen to fit in: a script wants whole names
    console.print(
        f"Lab {state.name!r}: {facts['processes']} processes, {facts['pss_mb']:.0f} MB, up in {state.ready_s:.1f} s"
    )
    table = Table("workload", "address", "ready", "in sync", "restarts", "envoy", "application", box=None)
    for pod in facts["pods"]:
        table.add_row(
            f"{pod['namespace']}/{pod['name']}",
            pod["address"],
            "yes" if pod["ready"] else "no",
            "yes" if pod["synced"] else "no",
            str(pod["restarts"]),
            str(pod["envoy_pid"] or "-"),
            str(pod["app_pid"] or "-"),
        )
    console.print(table)
    for variable, value in state.env.items():
        console.print(f"{variable}={value}", soft_wrap=True, highlight=False)
    for words in facts["dead"]:
        console.print(words, soft_wrap=True, highlight=False, markup=False)
    for problem in facts["problems"]:
        console.print(f"refused: {problem}", soft_wrap=True, highlight=False, markup=False)
    for pod in facts["pods"]:
        if words := pod["last_words"]:
            line = words if pod["name"] in words else f"{pod['name']}: {words}"
            console.print(line, soft_wrap=True, highlight=False, markup=False)
