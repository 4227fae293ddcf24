"""The breaker's corners that sockets cannot time."""

from __future__ import annotations

import pytest

from chaosmesh_ext.lab.apps.service.breaker import Circuit
from chaosmesh_ext.model.topology import Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def circuit(clock):
    return Circuit(Breaker(failures=2, open=5.0), clock)


def fail(circuit):
    circuit.done(circuit.admit(), failed=True)


def test_without_words_it_never_opens(clock):
    circuit = Circuit(None, clock)
    for _ in range(100):
        fail(circuit)
    assert not circuit.refuses


def test_it_is_open_for_exactly_as_long_as_it_says(circuit, clock):
    fail(circuit)
    fail(circuit)
    clock.now = 4.999
    assert circuit.admit() is None
    clock.now = 5.0
    assert circuit.admit() is not None


def test_attempts_begun_before_it_opened_neither_close_nor_prolong_it(circuit, clock):
    """Calls in flight when it opens end later, well or badly; only the trial decides."""
    early = [circuit.admit(), circuit.admit()]
    fail(circuit)
    fail(circuit)
    clock.now = 4.0
    circuit.done(early[0], failed=True)
    circuit.done(early[1], failed=False)
    assert circuit.refuses
    clock.now = 5.0
    trial = circuit.admit()
    assert trial is not None
    assert circuit.refuses
    circuit.done(trial, failed=False)
    assert not circuit.refuses


def test_a_trial_that_fails_opens_it_again_from_its_end(circuit, clock):
    fail(circuit)
    fail(circuit)
    clock.now = 5.0
    trial = circuit.admit()
    clock.now = 7.0
    circuit.done(trial, failed=True)
    clock.now = 11.9
    assert circuit.refuses
    clock.now = 12.0
    assert not circuit.refuses


def test_a_trial_that_was_called_off_lets_another_through(circuit, clock):
    """Otherwise a caller that left during the trial would keep it open for ever."""
    fail(circuit)
    fail(circuit)
    clock.now = 5.0
    circuit.abandon(circuit.admit())
    assert circuit.admit() is not None
