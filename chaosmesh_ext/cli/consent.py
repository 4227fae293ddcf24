"""Options by which somebody says that something dangerous is meant. Each is a setting too, for whoever cannot type."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["consent"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def consent(command: _Command) -> _Command:
    """Give COMMAND the options ``--yes`` and ``--without-janitor``."""
    command = _option("--without-janitor", "CHAOSMESH_WITHOUT_JANITOR", "Inject although no janitor runs.")(command)
    return _option("--yes", "CHAOSMESH_YES", "The context is meant, though it is guarded.")(command)


def _option(name: str, variable: str, text: str) -> Callable[[_Command], _Command]:
    def said(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if value:
            before = os.environ.get(variable)
            os.environ[variable] = "true"
            ctx.call_on_close(lambda: _restore(variable, before))

    return click.option(name, is_flag=True, expose_value=False, callback=said, help=f"{text} Or {variable}=true.")


def _restore(variable: str, before: str | None) -> None:
    if before is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = before
