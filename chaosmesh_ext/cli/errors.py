"""How a command ends when something goes wrong: one line on standard error, and the exit code of the error's class."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from chaosmesh_ext.errors import ChaosMeshError

__all__ = ["one_line"]


@contextmanager
def one_line() -> Iterator[None]:
    """Turn a ChaosMeshError into its line and exit code, and an interrupt into exit code 4 (aborted by a person)."""
    try:
        yield
    except ChaosMeshError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        sys.exit(4)
