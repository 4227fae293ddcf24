"""`chaos mesh …`: one file a command, loaded when it is called.

`chaos` imports this module at every start, whatever it is asked to do: nothing heavy may be imported here.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Final

import click

from chaosmesh_ext.cli import early

__all__ = ["mesh"]

_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "check": ("chaosmesh_ext.cli.check:check", "What may I do here, what would I see, what would be refused?"),
    "diff": ("chaosmesh_ext.cli.diff:diff", "What changed between two runs' findings; 1 on a regression."),
    "explore": (
        "chaosmesh_ext.cli.explore:explore",
        "Find how every call behind a URL fails, prove it, say what to change.",
    ),
    "fix": ("chaosmesh_ext.cli.fix:fix", "Print what would mend the findings; --verify tries it out on a lab."),
    "halt": ("chaosmesh_ext.cli.halt:halt", "Stop every run of the cluster, and refuse new ones."),
    "janitor": ("chaosmesh_ext.cli.janitor:janitor", "Undo what runs left that are over, once or for ever."),
    "lab": ("chaosmesh_ext.cli.lab:lab", "A real mesh on this machine: start, stop, describe, use."),
    "recover": ("chaosmesh_ext.cli.recover:recover", "Undo what runs left in the mesh, from any machine."),
    "report": ("chaosmesh_ext.cli.report:report", "Write the reports again, from journals, without any mesh."),
    "resume": ("chaosmesh_ext.cli.resume:resume", "Allow runs again after a halt."),
    "run": ("chaosmesh_ext.cli.run:run", "Run an experiment, roll back whatever happens, judge, report."),
    "runs": ("chaosmesh_ext.cli.runs:runs", "Say what is injected now."),
}
"""Command → where it is, and its line in the help."""

early.take()


class _Lazy(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        from chaosmesh_ext.cli.output import watched

        with watched():  # the help is printed here
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        from chaosmesh_ext.cli.errors import one_line, without_traceback
        from chaosmesh_ext.cli.output import watched

        with watched(), one_line(), without_traceback(debug=bool(ctx.params.get("debug"))):
            early.give_back()
            return super().invoke(ctx)

    def shell_complete(self, _ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        return [
            click.shell_completion.CompletionItem(name, help=line)
            for name, (_, line) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        words: Sequence[str] = args
        if words and words[0] not in _COMMANDS:
            ctx.fail(f"no such command {words[0]!r}; there are {', '.join(_COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy)
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
def mesh(debug: bool) -> None:
    """Chaos engineering for Istio: inject faults, prove them, and learn what your users would see.

    \b
    Exit codes: 0 upheld, 1 weakness found, 2 wrong usage or input,
    3 inconclusive, 4 aborted, 5 something left behind.
    0 becomes 3 where standard output could not be written, but not
    where its reader has gone (as `| head` does).

    \b
    Example:
      chaos mesh lab run -- chaos mesh run experiments/ratings-abort.yaml
    """  # noqa: D301 - \b is click's word for "do not wrap"
    del debug
