"""`chaos mesh run`: an experiment with roll-back whatever happens, a verdict, exact exit codes and reports."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from chaosmesh_ext.cli.consent import consent
from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.visible import visible_lines

__all__ = ["run"]

_STRATEGIES = ("default", "before-method-only", "after-method-only", "during-method-only", "continuously")


def _variables(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> dict[str, Any]:
    from chaoslib import convert_vars

    for word in value:
        if "=" not in word:
            raise click.BadParameter(f"{word!r} is no variable; write key=value or key:type=value")
    try:
        variables: dict[str, Any] = convert_vars(list(value)) or {}
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return variables


@click.command()
@click.argument("experiment")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write here, not below reports/runs.")
@click.option("--var", multiple=True, callback=_variables, help="key=value or key:type=value, for the configuration.")
@click.option(
    "--var-file", multiple=True, type=click.Path(exists=True, dir_okay=False), help="Variables in JSON, YAML or .env."
)
@click.option(
    "--control-file", multiple=True, type=click.Path(exists=True, dir_okay=False), help="More controls, as `chaos run`."
)
@click.option(
    "--hypothesis-strategy",
    type=click.Choice(_STRATEGIES),
    help="When to ask the steady state.",
)
@click.option(
    "--hypothesis-frequency",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds between two questions during the method.",
)
@click.option("--fail-fast", is_flag=True, help="Stop when the steady state is gone during the method.")
@click.option("--no-verify-tls", is_flag=True, help="Do not verify the certificate of an experiment's URL.")
@click.option("--dry-run", is_flag=True, help="Write nothing: show what would be written, and what would be refused.")
@consent
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on standard output.")
@click.pass_context
def run(
    ctx: click.Context,
    experiment: str,
    out: Path | None,
    var: dict[str, Any],
    var_file: tuple[str, ...],
    control_file: tuple[str, ...],
    hypothesis_strategy: str | None,
    hypothesis_frequency: float,
    fail_fast: bool,
    no_verify_tls: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run EXPERIMENT, a file or a URL, as `chaos run` does; the rollbacks always run, whatever happens.

    Writes report.md, findings.json and journal.json below reports/runs/<run>/; reports/runs/latest points to the
    newest.

    \b
    Exit codes: 0 upheld, 1 weakness found, 2 wrong usage or input,
    3 inconclusive, 4 aborted, 5 something left behind.

    \b
    Example:
      chaos mesh run experiments/productpage-details-timeout.yaml
    """  # noqa: D301 - \b is click's word for "do not wrap"
    from rich.console import Console

    from chaosmesh_ext.cli import experiments, reports
    from chaosmesh_ext.cli.held import Held
    from chaosmesh_ext.cli.progress import Progress, quiet

    verbose = bool((ctx.find_root().params or {}).get("verbose"))
    if not verbose:
        quiet(logging.getLogger("chaostoolkit"))
    if out is not None and not dry_run:
        reports.directory(out)
    progress = Progress(Console(stderr=as_json))
    experiments.readable_variables(var_file)
    experiments.readable_controls(control_file)
    settings = _settings(ctx, control_file)
    loaded = experiments.with_control(experiments.load(experiment, settings, verify_tls=not no_verify_tls))
    experiments.validate(loaded, experiment)
    if dry_run:
        ctx.exit(_rehearse(loaded, (var, var_file), as_json=as_json))
    held = Held()
    journal = _execute(
        loaded,
        settings,
        strategy=hypothesis_strategy,
        frequency=hypothesis_frequency,
        fail_fast=fail_fast,
        variables=(var, var_file),
        handlers=[progress, held],
    )
    held.ignore()
    section = _section(journal)
    if section["exit_code"] == InvalidInput.exit_code and not journal.get("run"):
        # refused before the first activity: there is nothing to report of
        raise InvalidInput("; ".join(section["problems"]))
    folder = _folder(out, section["run"])
    written = [reports.write_journal(journal, folder)]
    findings = _print_findings(progress, journal)
    progress.outcome(section)
    written = [*reports.write_reports(reports.documents(journal)[-1], folder), *written]
    if out is None:
        reports.move_latest(folder)
    shown = folder if out is not None else reports.LATEST
    progress.line(f"written: {', '.join(str(shown / path.name) for path in written)}")
    if as_json:
        files = {path.name: str(path) for path in written}
        click.echo(json.dumps({**section, "files": files, "findings": findings}, ensure_ascii=False))
    ctx.exit(section["exit_code"])


def _rehearse(experiment: dict[str, Any], variables: tuple[dict[str, Any], tuple[str, ...]], *, as_json: bool) -> int:
    """Show what EXPERIMENT would write; the exit code of the first refusal."""
    import msgspec
    from chaoslib import merge_vars

    from chaosmesh_ext.cli.dry_run import rehearse, show

    found = rehearse(experiment, *merge_vars(variables[0], list(variables[1])))
    if as_json:
        shown = {"run": found.run, "steps": msgspec.to_builtins(found.steps), "left_out": found.left_out}
        click.echo(json.dumps(shown))
    else:
        click.echo(visible_lines("\n".join(show(found))))
    return next((step.exit_code for step in found.steps if step.exit_code), 0)


def _settings(ctx: click.Context, control_files: tuple[str, ...]) -> dict[str, Any]:
    from chaoslib.control import load_global_controls
    from chaoslib.settings import load_settings

    settings: dict[str, Any] = load_settings((ctx.obj or {}).get("settings_path", "")) or {}
    load_global_controls(settings, list(control_files))
    return settings


def _execute(
    experiment: dict[str, Any],
    settings: dict[str, Any],
    *,
    strategy: str | None,
    frequency: float,
    fail_fast: bool,
    variables: tuple[dict[str, Any], tuple[str, ...]],
    handlers: list[Any],
) -> dict[str, Any]:
    from chaoslib import merge_vars
    from chaoslib.experiment import run_experiment
    from chaoslib.notification import RunFlowEvent, notify
    from chaoslib.types import Schedule, Strategy

    runtime = settings.setdefault("runtime", {})
    declared = (experiment.get("runtime") or {}).get("hypothesis", {}).get("strategy")
    wanted = strategy or declared or runtime.get("hypothesis", {}).get("strategy") or "default"
    if wanted not in _STRATEGIES:
        raise InvalidInput(f"runtime.hypothesis.strategy is {wanted!r}; it is one of {', '.join(_STRATEGIES)}")
    runtime["hypothesis"] = {"strategy": wanted}
    runtime["rollbacks"] = {"strategy": "always"}
    notify(settings, RunFlowEvent.RunStarted, experiment)
    journal: dict[str, Any] = run_experiment(
        experiment,
        settings=settings,
        strategy=Strategy.from_string(wanted),
        schedule=Schedule(continuous_hypothesis_frequency=frequency, fail_fast=fail_fast),
        experiment_vars=merge_vars(variables[0], list(variables[1])),
        event_handlers=handlers,
    )
    completed = journal["status"] == "completed"
    notify(settings, RunFlowEvent.RunCompleted if completed else RunFlowEvent.RunFailed, journal)
    if journal.get("deviated"):
        notify(settings, RunFlowEvent.RunDeviated, journal)
    return journal


def _section(journal: dict[str, Any]) -> dict[str, Any]:
    """What our control says of the run; when it could not say anything, that it is inconclusive."""
    import msgspec

    from chaosmesh_ext.controls.outcome import SECTION, Problem, judge

    if SECTION not in journal:
        lost = Problem(3, "the control chaosmesh_ext.controls did not run to its end; see chaostoolkit.log")
        journal[SECTION] = msgspec.to_builtins(judge(journal, [lost]))
    section: dict[str, Any] = journal[SECTION]
    return section


def _folder(out: Path | None, token: str) -> Path:
    from chaosmesh_ext.cli import reports

    return reports.directory(out if out is not None else reports.RUNS / (token or secrets.token_hex(4)))


def _print_findings(progress: Any, journal: Mapping[str, Any]) -> list[dict[str, Any]]:
    from chaosmesh_ext.cli import reports

    document = reports.documents(journal)[-1]
    for headline in document["headlines"]:
        progress.line(f"found: {headline['text']}")
    found: list[dict[str, Any]] = document["findings"]
    return found
