"""Faults at the callee's own side: what the caller's sidecar does by itself shows, and is judged where that is asked."""

from __future__ import annotations

import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Injected

SLOW = Injected("delay", "details", delay=2.0, carrier="inbound")
FAILS = Injected("abort", "details", status=507, carrier="inbound")


def arriving(world, each, arrivals, **more):
    """A request whose one call to details is EACH = (start, duration, flags, status), and arrives as often as told."""
    request, answer = world.attempts([each], **more)
    call = next(span for span in request.spans if span.peer == "details")
    for start, duration, flags, status in arrivals:
        request.server("details-v1", start, duration, call, flags=flags, status=status)
    return request, answer


def cell(world, injected, *each, **more):
    return world.cell("1", injected, [arriving(world, *each, **more) for _ in range(5)])


def test_a_timeout_of_the_mesh_is_the_sidecars(world, found):
    """What a fix of a missing timeout must come to; without it the same call waits."""
    given_up = cell(world, SLOW, (0.004, 0.251, "UT", 504), [(0.005, 0.249, "DI,DC", 0)])
    judgement = judge(world.control(), [given_up], on_arrival=True)
    (timeout,) = found(judgement, "timeout")
    assert (timeout.who, timeout.value) == ("sidecar", pytest.approx(0.251))
    assert found(judgement, "missing-timeout") == []
    waits = cell(world, SLOW, (0.004, 2.003, "", 200), [(0.005, 2.001, "DI", 200)])
    judgement = judge(world.control(), [waits], on_arrival=True)
    assert [one.value for one in found(judgement, "missing-timeout")] == [2.0]
    assert found(judgement, "timeout") == []


def test_an_applications_timeout_is_its_own_there_too(world, found):
    given_up = cell(world, SLOW, (0.004, 1.5, "DC", 0), [(0.005, 1.499, "DI,DC", 0)])
    (timeout,) = found(judge(world.control(), [given_up], on_arrival=True), "timeout")
    assert (timeout.who, timeout.value) == ("application", pytest.approx(1.5))


def test_tries_of_the_sidecar_are_counted_where_they_arrive(world, found):
    arrivals = [(0.005 + 0.01 * n, 0.002, "FI", 507) for n in range(3)]
    tried = cell(world, FAILS, (0.004, 0.03, "URX", 507), arrivals)
    (retry,) = found(judge(world.control(), [tried], on_arrival=True), "retry")
    assert (retry.who, retry.value) == ("sidecar", 2.0)


def test_where_nobody_asks_they_are_left_to_the_experiments_own_probes(world):
    waits = cell(world, SLOW, (0.004, 2.003, "", 200), [(0.005, 2.001, "DI", 200)])
    judgement = judge(world.control(), [waits])
    assert judgement.findings == ()
    reasons = [one.reason for one in judgement.coverage.skipped]
    assert "a delay by inbound is for the experiment's own probes to judge" in reasons
