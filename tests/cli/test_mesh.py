"""The command group: quick to load, clear about what it cannot do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chaosmesh_ext import cli, redaction
from chaosmesh_ext.cli import mesh
from chaosmesh_ext.errors import LeftBehind

CHAOS = str(Path(sys.executable).with_name("chaos"))
HEAVY = {"kubernetes", "httpx", "aiohttp", "opentelemetry", "jinja2", "grpclib", "rich"}

IMPORTED = """
import json, sys
from chaostoolkit.commands import cli
sys.argv = ["chaos", "--no-version-check", "--no-log-file", *sys.argv[1:]]
try:
    cli()
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize("words", [("--help",), ("mesh", "--help")])
def test_help_imports_nothing_heavy(words, tmp_path):
    """`chaos` loads this group whatever it is asked to do."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words], capture_output=True, text=True, check=True, timeout=100, cwd=tmp_path
    )
    assert "mesh" in done.stdout
    assert not HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


def test_the_group_is_a_plug_in_of_chaos(tmp_path):
    done = subprocess.run(
        [CHAOS, "mesh", "--help"], capture_output=True, text=True, check=True, timeout=100, cwd=tmp_path
    )
    assert all(f"  {name} " in done.stdout for name in ("lab", "run", "report", "runs", "recover"))


@pytest.mark.parametrize("name", list(cli._COMMANDS))
def test_every_command_has_help_with_an_example(name):
    done = CliRunner().invoke(mesh, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert f"chaos mesh {name} " in done.output.partition("Example:")[2]


@pytest.mark.parametrize(
    "words", [["frobnicate"], ["run"], ["report", "journal.json"], ["recover"], ["run", "--nope", "x"]]
)
def test_wrong_usage_exits_2(words):
    assert CliRunner().invoke(mesh, words).exit_code == 2


def test_an_unknown_command_is_told_from_the_known_ones():
    assert f"there are {', '.join(cli._COMMANDS)}" in CliRunner().invoke(mesh, ["rum"]).output


@pytest.fixture
def failing(monkeypatch):
    """A command of the group that fails as it is told."""

    def command(error: BaseException):
        @click.command()
        def fail() -> None:
            raise error

        monkeypatch.setitem(cli._COMMANDS, "fail", ("chaosmesh_ext.cli.runs:fail", "fails"))
        monkeypatch.setattr("chaosmesh_ext.cli.runs.fail", fail, raising=False)

    return command


def test_an_error_of_ours_is_one_line_and_its_exit_code(failing):
    failing(LeftBehind("EnvoyFilter default/chaos-1 is still there; chaos mesh recover --all"))
    done = CliRunner().invoke(mesh, ["fail"])
    assert done.exit_code == 5
    assert done.stderr == "Error: EnvoyFilter default/chaos-1 is still there; chaos mesh recover --all\n"


def test_an_unforeseen_error_is_one_line_with_a_hint(failing):
    failing(ZeroDivisionError("by\nzero"))
    done = CliRunner().invoke(mesh, ["fail"])
    assert done.exit_code == 3
    assert done.stderr == "Error: ZeroDivisionError: by zero; `chaos mesh --debug` shows where; report it\n"
    shown = CliRunner().invoke(mesh, ["--debug", "fail"])
    assert shown.exit_code == 3
    assert shown.stderr.startswith("Traceback (most recent call last):\n")
    assert shown.stderr.endswith(f"ZeroDivisionError: by\nzero\n{done.stderr}")


def test_an_unforeseen_error_shows_no_secret_not_even_with_its_traceback(failing):
    failing(ValueError("Invalid header value b'Bearer S3CR3T'"))
    redaction.remember("S3CR3T")
    for words in (["fail"], ["--debug", "fail"]):
        done = CliRunner().invoke(mesh, words)
        assert "Bearer [secret]" in done.stderr
        assert "S3CR3T" not in done.output


def test_an_interrupt_exits_4(failing):
    failing(KeyboardInterrupt())
    assert CliRunner().invoke(mesh, ["fail"]).exit_code == 4
