"""What a person sees while an experiment runs: a line for each activity, and at the end the verdict."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from chaoslib.run import RunEventHandler
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.visible import visible

__all__ = ["Progress", "quiet"]


class Progress(RunEventHandler):  # type: ignore[misc]  # chaoslib has no types
    """Prints as Chaos Toolkit goes. On a terminal the activity under way is shown too."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._acted = False

    def started(self, experiment: Mapping[str, Any], _journal: Any) -> None:
        self._print(f"[bold]{_text(experiment['title'])}[/]")

    def start_hypothesis_before(self, _experiment: Any) -> None:
        self._print("steady state before")

    def start_hypothesis_after(self, _experiment: Any) -> None:
        self._print("steady state after")

    def start_method(self, _experiment: Any) -> None:
        self._print("method")

    def start_rollbacks(self, _experiment: Any) -> None:
        self._print("rollbacks")

    def start_activity(self, activity: Mapping[str, Any]) -> None:
        self._acted = True
        if self._console.is_terminal and not activity.get("background"):
            self._status = self._console.status(f"  {_text(activity.get('name'))}")
            self._status.start()

    def activity_completed(self, activity: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        if self._status:
            self._status.stop()
            self._status = None
        word = {"succeeded": "[green]done[/]", "failed": "[red]failed[/]"}.get(str(run.get("status")), "interrupted")
        note = escape(_note(run.get("output")))
        self._print(f"  {_text(activity.get('name')):<52} {run.get('duration', 0.0):7.2f} s  {word}{note}")

    def signal_exit(self) -> None:
        if self._acted:
            self._print("interrupted: undoing what was injected")

    def outcome(self, section: Mapping[str, Any]) -> None:
        """Print the verdict and what decided it."""
        colour = "green" if section["exit_code"] == 0 else "red"
        for unmet in section["unmet"]:
            self._print(f"unmet: {_text(unmet['where'])}: {_text(unmet['activity'])}: {_text(unmet['message'])}")
        for problem in section["problems"]:
            self._print(f"problem: {_text(problem)}")
        for note in section.get("notes", ()):
            self._print(f"note: {_text(note)}")
        # no verdict says of itself that the experiment is to be corrected
        why = f" (wrong input: exit code {InvalidInput.exit_code})"
        why = why if section["exit_code"] == InvalidInput.exit_code else ""
        self._print(f"verdict: [bold {colour}]{_text(section['verdict'])}[/]{why}")

    def line(self, text: str) -> None:
        """Print TEXT, in one line."""
        self._print(_text(text))

    def _print(self, markup: str) -> None:
        self._console.print(markup, soft_wrap=True, highlight=False)


def _text(value: object) -> str:
    """VALUE, whatever somebody wrote, as a terminal shows it: neither rich's markup nor control characters."""
    return escape(visible(value))


def _note(output: Any) -> str:
    """What an activity gave, where a few words say it."""
    match output:
        case {"injected": {"percentage": 0}}:
            return ", for nobody (percentage: 0)"
        case {"live_after": float() as after}:
            return f", live after {after * 1000:.0f} ms"
        case {"gone_after": float() as after}:
            return f", gone after {after * 1000:.0f} ms"
        case bool() | int():
            return f": {output}"
        case float():
            return f": {output:.4g}"
    return ""


def quiet(logger: logging.Logger) -> None:
    """Keep Chaos Toolkit's log off the terminal, where the same is said in our words; its log file has everything."""
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setLevel(logging.CRITICAL + 1)
