"""An exploration from its first request to its reports, with signals, progress and an exit code."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from chaosmesh_ext.cli import reports
from chaosmesh_ext.controls.interrupts import Interrupts
from chaosmesh_ext.errors import Aborted, ChaosMeshError, Inconclusive, InvalidInput
from chaosmesh_ext.explore.cells import wanted
from chaosmesh_ext.explore.explored import Explored
from chaosmesh_ext.explore.explorer import Explorer
from chaosmesh_ext.explore.options import Options
from chaosmesh_ext.explore.recipe import Recipe
from chaosmesh_ext.model import Judgement, Verdict
from chaosmesh_ext.redaction import words
from chaosmesh_ext.run import Run
from chaosmesh_ext.visible import visible

if TYPE_CHECKING:
    from chaosmesh_ext.explore.discovery import Discovered
    from chaosmesh_ext.explore.plan import Plan
    from chaosmesh_ext.explore.waves import Wave

__all__ = ["Told", "go", "look"]

_logger = logging.getLogger("chaostoolkit")


class Told:
    """Prints how far an exploration is; on a terminal with a bar of the cells that are done and the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} requests"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1, visible=False)

    def discovered(self, found: Discovered, plan: Plan, in_flight: int) -> None:
        """See `Watcher`."""
        graph = found.graph
        self.line(
            f"discovered: {len(graph.services)} services, {len(graph.edges)} calls in {len(found.control.answers)} "
            f"healthy requests"
        )
        waves = [wave for wave in plan.waves if wave.cells]
        seconds = plan.seconds(in_flight)
        self.line(f"plan: {len(plan.cells)} cells in {len(waves)} waves, about {seconds:.0f} s")
        self._bar.start()

    def wave(self, wave: Wave) -> None:
        """See `Watcher`."""
        total = sum(wanted(cell) for cell in wave.cells)
        self._bar.update(self._task, description=f"wave {wave.number}, {wave.name}", total=total, completed=0)
        self._bar.update(self._task, visible=True)

    def met(self, wave: Wave, calls: Mapping[str, int]) -> None:
        """See `Watcher`."""
        del wave
        self._bar.update(self._task, completed=sum(calls.values()))

    def judged(self, wave: Wave, judgement: Judgement) -> None:
        """See `Watcher`."""
        found = len(judgement.findings)
        self.line(f"wave {wave.number}, {wave.name}: {len(wave.cells)} cells done, {found} findings so far")

    def line(self, text: str) -> None:
        """Print TEXT, in one line."""
        self._console.print(escape(visible(text)), soft_wrap=True, highlight=False)

    def stop(self) -> None:
        """No bar any more."""
        self._bar.stop()


def go(recipe: Recipe, options: Options, out: Path | None, console: Console) -> dict[str, Any]:
    """Explore as RECIPE and OPTIONS say, and write the reports to OUT, or below reports/runs.

    Returns what a script reads: verdict, exit_code, run, findings, cells, seconds, files. Whatever was found before an
    interruption is written too. Raises what can be said before anything was found.
    """
    from chaosmesh_ext import report
    from chaosmesh_ext.observe.reach import without_password

    told = Told(console)
    run = _run()
    explorer = Explorer(run, recipe, options, told)
    error = _through(run, told, run.make_ready, explorer.discover, explorer.inject)
    if not explorer.has_begun:
        raise error or InvalidInput("nothing was explored")
    explored = explorer.explored()
    if isinstance(error, InvalidInput) and len(explored.cells) == 1 and not run.problems:
        raise error  # refused before the first write: there is nothing to report of
    problems = [*explored.problems]
    if error is not None:
        run.failed(error)
    if not (problems or run.problems or explored.judgement.findings or explored.judgement.coverage.tested):
        problems.append("no call met a fault that was injected, so nothing could be judged; see what coverage says")
    url, _ = without_password(next(iter(explored.found.requests)))
    several = [without_password(one)[0] for one, sent in explored.found.requests.items() if sent.method == "GET"]
    document = report.document(
        run,
        report.Target(url, mesh=run.client.host, urls=tuple(several) if len(several) > 1 else ()),
        explored.judgement,
        explored.cells,
        proofs=explored.proofs,
        problems=problems,
        others=explored.effects,
        verdict=Verdict.ABORTED if any(one.exit_code == Aborted.exit_code for one in run.problems) else None,
    )
    return _written(document, explored, run, out, told)


def look(recipe: Recipe, options: Options, console: Console) -> tuple[Discovered, Plan, int]:
    """What healthy requests show, and what would be injected with so many requests in flight; nothing is injected."""
    kept = _Kept(console)
    run = _run()
    explorer = Explorer(run, recipe, options, kept)
    if error := _through(run, kept, explorer.discover):
        raise error
    assert kept.seen is not None  # noqa: S101
    return kept.seen


class _Kept(Told):
    """Keeps what is discovered. seen: that, the plan, and how many requests may be in flight."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.seen: tuple[Discovered, Plan, int] | None = None

    def discovered(self, found: Discovered, plan: Plan, in_flight: int) -> None:
        """See `Watcher`."""
        self.seen = found, plan, in_flight


def _run() -> Run:
    run = Run()
    run.experiment = "chaos mesh explore"
    run.controlled = True
    return run


def _through(run: Run, told: Told, *steps: Callable[[], object]) -> ChaosMeshError | None:
    """Take STEPS one after the other, as far as it goes, and close RUN; the reason where it went no further."""
    interrupts = Interrupts()
    error: ChaosMeshError | None = None
    run.interrupt = lambda _error: interrupts.stop()
    interrupts.install()
    try:
        interrupts.allow()
        for step in steps:
            step()
    except ChaosMeshError as caught:
        error = caught
    except (KeyboardInterrupt, SystemExit):  # without a signal, the run was stopped, and knows why
        error = Aborted(f"{interrupts.first} ended it early") if interrupts.first else _stopped(run)
    except Exception as caught:
        _logger.debug("explore", exc_info=caught)
        error = Inconclusive(f"{words(caught)}; chaostoolkit.log shows where; report it")
    finally:
        interrupts.defer()
        told.stop()
    try:
        run.close(hurry=isinstance(error, Aborted))
    except ChaosMeshError as left:
        run.failed(left)
    finally:
        interrupts.restore()
    return error


def _stopped(run: Run) -> ChaosMeshError:
    """Why RUN was stopped."""
    last = run.problems[-1] if run.problems else "the run was stopped"
    aborted = run.problems and run.problems[-1].exit_code == Aborted.exit_code
    return Aborted(last) if aborted else Inconclusive(last)


def _written(document: dict[str, Any], explored: Explored, run: Run, out: Path | None, told: Told) -> dict[str, Any]:
    """Write the reports of DOCUMENT; what a script reads."""
    document["notes"] = list(dict.fromkeys([*document["notes"], *explored.notes]))
    code = Verdict(document["verdict"]).exit_code
    code = max([code, *(problem.exit_code for problem in run.problems)]) if run.problems else code
    files: dict[str, str] = {}
    lost = ""
    try:
        folder = reports.directory(out if out is not None else reports.RUNS / (run.token or secrets.token_hex(4)))
        written = reports.write_reports(document, folder)
        if out is None:
            reports.move_latest(folder)
        files = {path.name: str(path) for path in written}
    except (OSError, InvalidInput) as error:  # what is printed is all that is left then
        lost = f"the reports could not be written: {error}"
        code = max(code, Inconclusive.exit_code)
    for headline in document["headlines"]:
        told.line(f"found: {headline['text']}")
    for problem in [*document["problems"], *filter(None, [lost])]:
        told.line(f"problem: {problem}")
    for effect in explored.effects:
        told.line(f"others: {effect}")
    for note in document["notes"]:
        told.line(f"note: {note}")
    told.line(f"verdict: {document['verdict']}")
    if files:
        shown = out if out is not None else reports.LATEST
        told.line(f"written: {', '.join(str(shown / name) for name in files)}")
        if any(finding.get("fix") for finding in document["findings"]):
            told.line(f"what Istio can mend of it: chaos mesh fix {shown}")
    return {
        "run": run.token,
        "verdict": document["verdict"],
        "exit_code": code,
        "cells": len(explored.cells) - 1,
        "seconds": {part: round(took, 3) for part, took in explored.seconds.items()},
        "findings": document["findings"],
        "problems": [*document["problems"], *filter(None, [lost])],
        "others": document.get("others", []),
        "notes": document["notes"],
        "files": files,
    }
