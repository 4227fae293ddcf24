"""How a command ends when something goes wrong: one line on standard error, and the exit code of the error's class."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.redaction import redacted, words
from chaosmesh_ext.visible import visible, visible_lines

__all__ = ["one_line", "without_traceback"]


@contextmanager
def one_line() -> Iterator[None]:
    """Turn a ChaosMeshError into its line and exit code, and an interrupt into exit code 4 (aborted by a person)."""
    try:
        yield
    except ChaosMeshError as error:
        click.echo(f"Error: {visible_lines(error)}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        sys.exit(4)


@contextmanager
def without_traceback(*, debug: bool) -> Iterator[None]:
    """Turn an error that nobody foresaw into one line and exit code 3 (nothing can be said); with DEBUG its
    traceback comes first.
    """
    try:
        yield
    except (ChaosMeshError, click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if debug:
            click.echo(visible_lines(redacted(traceback.format_exc())), err=True, nl=False)
        click.echo(f"Error: {visible(words(error))}; `chaos mesh --debug` shows where; report it", err=True)
        sys.exit(ChaosMeshError.exit_code)
