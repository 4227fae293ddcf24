"""Signals whose handler waits: who is woken, and that everything is given back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from chaosmesh_ext.controls.waking import Waking


@pytest.fixture
def waking() -> Iterator[Waking]:
    made = Waking()
    yield made
    made.stop()


def test_a_signal_that_another_thread_got_is_handled_in_the_middle_of_a_pause(waking: Waking) -> None:
    """A handler that raises nothing lets the pause go on to its end, as without our help."""
    seen: list[float] = []

    def handle(*_: object) -> None:
        waking.handled()
        seen.append(time.monotonic())

    def late() -> None:
        time.sleep(0.1)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    waking.start([signal.SIGUSR1])
    try:
        began = time.monotonic()
        threading.Thread(target=late).start()
        time.sleep(3.0)
        ended = time.monotonic()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(seen) == 1
    assert seen[0] - began < 2.9
    assert ended - began >= 3.0


def test_everything_is_given_back(waking: Waking) -> None:
    before = set(threading.enumerate())  # others' may end meanwhile
    waking.start([signal.SIGUSR1])
    (thread,) = set(threading.enumerate()) - before
    waking.stop()
    waking.stop()
    assert signal.set_wakeup_fd(-1) == -1
    assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL
    thread.join(60)
    assert not thread.is_alive()


def test_who_is_told_of_signals_already_goes_on_being_told(waking: Waking) -> None:
    """An event loop in the main thread, say."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    try:
        waking.start([signal.SIGUSR1])
        waking.stop()
        assert signal.set_wakeup_fd(-1) == writing
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reading)
        os.close(writing)
