"""Ctrl-C while `chaos mesh` still starts."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

STARTING = """
import os, signal, sys
signal.signal(signal.SIGINT, {before})
sys.argv = {argv!r}
import chaosmesh_ext.cli
{then}
os.kill(os.getpid(), signal.SIGINT)
"""


def started(argv: list[str], then: str = "", before: str = "signal.default_int_handler"):
    program = STARTING.format(argv=argv, then=then, before=before)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)


def test_it_ends_with_one_line_and_exit_code_4():
    done = started(["/usr/bin/chaos", "--verbose", "mesh", "runs"])
    assert (done.returncode, done.stderr) == (4, "Interrupted.\n")


@pytest.mark.parametrize("argv", [["chaos", "run", "e.json"], ["pytest", "mesh"]])
def test_other_commands_are_left_alone(argv):
    assert "KeyboardInterrupt" in started(argv).stderr


def test_who_ignores_it_goes_on_ignoring_it():
    """`nohup chaos mesh run … &` in a script."""
    assert started(["chaos", "mesh", "runs"], before="signal.SIG_IGN").returncode == 0


def test_a_command_that_has_begun_rolls_back_first():
    done = started(["chaos", "mesh", "runs"], "from chaosmesh_ext.cli import early; early.give_back()")
    assert done.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in done.stderr
