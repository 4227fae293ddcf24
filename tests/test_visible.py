"""What others wrote is shown by a terminal, and does nothing there."""

from __future__ import annotations

import io

import click
import pytest
from click.testing import CliRunner
from rich.console import Console
from scripted_api import ScriptedApi, answer

from chaosmesh_ext import cli, errors
from chaosmesh_ext.cli.progress import Progress
from chaosmesh_ext.cli.runs import _lines
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.lease import DEADLINE, EXPERIMENT, RunLease
from chaosmesh_ext.mesh.transport import Access, Secrets
from chaosmesh_ext.run import Injection
from chaosmesh_ext.visible import visible, visible_lines

EVIL = "a\nError: all is well\x1b[2J\x1b]0;title\x07\x9b31m\r\u202egnp.exe\u2028b\x00"
"""A line break, escape sequences (C0 and C1), a return, a turn of the direction, a separator and NUL."""
SHOWN = r"a Error: all is well\x1b[2J\x1b]0;title\x07\x9b31m \u202egnp.exe b\x00"


def harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_control_characters_stand_as_python_writes_them_in_one_line():
    assert visible(EVIL) == SHOWN


@pytest.mark.parametrize(
    "text",
    [
        "it is over",
        "caf\u00e9 \u2192 \u2713",
        "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    ],
)
def test_words_of_people_stay(text):
    assert visible(text) == text


def test_lines_and_blanks_stay_where_they_are_meant():
    assert visible_lines("a:\n  b: \x1b[2J\n") == "a:\n  b: \\x1b[2J\n"


def test_what_an_experiment_says_of_itself_is_shown_by_the_progress_only():
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=False, width=200))
    progress.started({"title": EVIL}, {})
    progress.activity_completed({"name": EVIL}, {"status": "succeeded", "duration": 1.0})
    unmet = [{"where": "method", "activity": EVIL, "message": EVIL}]
    progress.outcome({"exit_code": 1, "unmet": unmet, "problems": [EVIL], "notes": [EVIL], "verdict": "weakness found"})
    progress.line(EVIL)
    assert harmless(out.getvalue())
    assert out.getvalue().count(SHOWN) == 7
    assert len(out.getvalue().splitlines()) == 7


@pytest.mark.parametrize("error", [errors.InvalidInput(EVIL), ValueError(EVIL)])
@pytest.mark.parametrize("words", [["fail"], ["--debug", "fail"]])
def test_no_error_does_anything_there(monkeypatch, error, words):
    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli._Lazy, "get_command", lambda *_: fail)
    monkeypatch.setattr(cli, "_COMMANDS", {"fail": ("", "")})
    done = CliRunner().invoke(cli.mesh, words)
    assert done.exit_code in (2, 3)
    assert harmless(done.output)


def test_what_an_api_server_says_is_one_line():
    said = answer(403, {"message": EVIL, "reason": "Forbidden"})
    with ScriptedApi(said) as api, pytest.raises(errors.Forbidden) as raised:
        Client(Access(api.url, Secrets({}))).list("Lease")
    assert f": {SHOWN}; ask for this permission" in str(raised.value)


def test_what_a_lease_says_is_one_line():
    """Anybody who may write one may say in it what they like."""
    meta = {"name": "chaosmesh-run-0badcafe", "namespace": "a", "annotations": {DEADLINE: "", EXPERIMENT: EVIL}}
    lease = RunLease.read({"metadata": meta, "spec": {"holderIdentity": EVIL}})
    assert lease is not None
    assert (lease.holder, lease.experiment) == (SHOWN, SHOWN)


def test_the_list_of_runs_has_a_line_each():
    evil = Injection(EVIL, "expired", EVIL, (EVIL,), (EVIL,), (EVIL,), EVIL, EVIL, EVIL, EVIL)
    lines = list(_lines(evil))
    assert len(lines) == 4
    assert all(harmless(line) and "\n" not in line for line in lines)
