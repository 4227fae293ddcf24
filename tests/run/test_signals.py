"""Signals while faults are in: they go first, whatever the signal interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from chaosmesh_ext.run.signals import Signals


@pytest.fixture
def before() -> Iterator[list[int]]:
    """A handler that was there before ours, and what it was told."""
    told: list[int] = []
    old = signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    yield told
    signal.signal(signal.SIGTERM, old)


def test_faults_go_before_the_handler_that_was_there(before: list[int]) -> None:
    """Each time: what could not be removed at the first signal may be at the second."""
    removed: list[int] = []
    signals = Signals(lambda: removed.append(len(before)))
    signals.install()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signals.uninstall()
    assert removed == [0, 1]
    assert before == [signal.SIGTERM] * 2
    os.kill(os.getpid(), signal.SIGTERM)
    assert (len(removed), len(before)) == (2, 3)


def test_a_signal_in_the_start_of_a_thread_does_not_wait_for_that(before: list[int]) -> None:
    """Else the faults stay in for as long as the handler has patience, 20 s."""
    removed = threading.Event()
    signals = Signals(lambda: (threading.current_thread(), removed.set())[0])
    signals.install()
    try:
        began = time.monotonic()
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signals.uninstall()
    assert removed.is_set()
    assert time.monotonic() - began < 5
    assert before == [signal.SIGTERM]


def test_a_removal_that_fails_does_not_keep_the_process(before: list[int]) -> None:
    def fail() -> None:
        raise RuntimeError("no connection")

    signals = Signals(fail)
    signals.install()
    began = time.monotonic()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signals.uninstall()
    assert time.monotonic() - began < 5
    assert before == [signal.SIGTERM] * 2
