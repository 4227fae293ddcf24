"""Signals at the end of an experiment, between our control's last word and Chaos Toolkit's."""

from __future__ import annotations

import os
import signal

from chaoslib.exit import exit_signals

from chaosmesh_ext.controls.interrupts import Interrupts


def test_a_sigterm_after_the_control_is_done_costs_no_journal(capfd):
    """Chaos Toolkit's handler would raise out of its run, whose end is the journal."""
    outer = signal.getsignal(signal.SIGTERM)
    with exit_signals():
        interrupts = Interrupts()
        interrupts.install()
        interrupts.restore()
        os.kill(os.getpid(), signal.SIGTERM)
    assert "SIGTERM: the experiment has ended" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == outer


def test_elsewhere_signals_are_given_back_as_they_were():
    outer = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    interrupts = Interrupts()
    interrupts.install()
    assert signal.getsignal(signal.SIGTERM) != outer[signal.SIGTERM]
    interrupts.restore()
    assert {number: signal.getsignal(number) for number in outer} == outer
