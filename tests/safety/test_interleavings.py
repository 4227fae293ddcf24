"""Runner, owner, watchdog and janitor at once: whoever comes first, nothing of ours stays and no edit is lost.

CHAOSMESH_EXAMPLES multiplies the examples, for a soak.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from interleaved import STRIKES, Interleavings
from small_mesh import Background

from chaosmesh_ext.mesh.watchdog import guard as guarding
from chaosmesh_ext.mesh.watchdog import rescue

EXAMPLES = int(os.environ.get("CHAOSMESH_EXAMPLES", "1"))


@pytest.fixture
def machine(monkeypatch, tmp_path) -> Iterator[type[Interleavings]]:
    """The state machine; the watchdog's clock is its own, and it does one thing at a time."""
    patched = SimpleNamespace(folder=tmp_path, now=lambda: 0.0)
    clock = SimpleNamespace(monotonic=lambda: patched.now())  # noqa: PLW0108 - another one for each example
    monkeypatch.setattr(guarding, "time", clock)
    monkeypatch.setattr(guarding.Guard, "_keep_warm", lambda self: None)
    monkeypatch.setattr(guarding, "_POLL_S", 4.0)
    monkeypatch.setattr(rescue, "_AT_ONCE", 1)
    background = Background()
    yield type("Interleaved", (Interleavings,), {"background": background, "patched": patched})
    background.close()


@pytest.mark.timeout(900 * EXAMPLES)
def test_no_interleaving_of_runner_owner_watchdog_and_janitor_leaves_anything_or_loses_an_edit(machine):
    """Those that hypothesis thinks of."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60 * EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("strike", STRIKES[:4])
@pytest.mark.parametrize("cell", [-2, -1, 0, 4], ids=["filter", "created", "route", "field"])
def test_a_runner_struck_at_each_of_its_requests_leaves_nothing_while_nobody_else_is_at_work(machine, cell, strike):
    """Before it, while it is on its way, before its answer: the watchdog alone is enough."""
    route = {"route": [{"destination": {"host": "details"}, "weight": 100}]}
    owner = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "details", "namespace": "default"},
        "spec": {"hosts": ["details"], "http": [{"match": [{"uri": {"prefix": "/a"}}], **route}, route]},
    }
    steps, ended = 0, False
    while not ended:
        steps += 1
        world = machine()
        try:
            world.begin(owner, [cell], "nowhere", 0, None, "nothing", ["watchdog", "runner", "janitor"])
            for _ in range(steps):
                world.runner.step()
                while world.runner.at.startswith("an intent") and not world.runner.over:
                    world.watchdog.step()
                    world.runner.step()
            ended = world.runner.at.startswith("its watchdog's end")
            if strike == "stopped":
                world.stopped = True
            elif "breaks" in strike:
                world.the_connection_breaks()
            elif not ended:
                world.the_runner_is_killed(arrives="late" in strike)
        finally:
            try:
                world.teardown()
            except AssertionError as error:
                raise AssertionError(f"after {steps} steps, {world.runner}: {error}") from error
    assert steps > 20
