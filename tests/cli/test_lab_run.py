"""`chaos mesh lab run`: a command with a lab of its own."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from chaosmesh_ext.cli.lab import _run_command
from chaosmesh_ext.cli.lab_start import ended_by_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_while_the_command_is_being_started_reaches_it(monkeypatch, number):
    """On a busy machine the command runs before its pid is known; it must not be left behind."""
    real = subprocess.Popen

    def slow(*args, **kwargs):
        process = real(*args, **kwargs)
        os.kill(os.getpid(), number)
        return process

    monkeypatch.setattr(subprocess, "Popen", slow)
    with ended_by_signals():
        assert _run_command(("sleep", "60"), dict(os.environ)) == 128 + signal.SIGTERM
