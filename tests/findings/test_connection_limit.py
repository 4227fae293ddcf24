"""connection-limit: on the traces of a sidecar that lets so many calls through at once."""

from __future__ import annotations

import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Injected

SLOW = Injected("delay", "details", delay=2.0, carrier="inbound")


@pytest.fixture
def call(world):
    def of(at, *, refused=False, took=2.0, pod="a", flags="UO"):
        r = world.request()
        r.t0 = at
        page = r.server("productpage-v1", 0, took + 0.01, pod=pod)
        facts = {"flags": flags, "status": 503} if refused else {}
        r.call("productpage-v1", "details", 0.002, 0.0005 if refused else took, page, pod=pod, **facts)
        return r, world.answer(r, took)

    return of


def test_the_calls_on_their_way_when_one_was_refused_are_the_limit(world, call, found):
    pairs = [call(5000 + i / 100) for i in range(4)] + [call(5000.5 + i / 100, refused=True) for i in range(6)]
    [finding] = found(judge(world.control(), [world.cell("1", SLOW, pairs)]), "connection-limit")
    assert (finding.value, finding.unit, finding.who, finding.severity) == (4, "calls", "sidecar", "info")
    assert finding.condition is None
    assert "while 4 others are on their way (6 calls with UO)" in finding.summary
    assert finding.fix is None


def test_each_pod_has_a_limit_of_its_own(world, call, found):
    pairs = [call(5000 + i / 100, pod="ab"[i % 2]) for i in range(6)]
    pairs += [call(5000.5 + i / 100, refused=True, pod="ab"[i % 2]) for i in range(6)]
    [finding] = found(judge(world.control(), [world.cell("1", SLOW, pairs)]), "connection-limit")
    assert finding.value == 3


def test_a_limit_that_healthy_calls_meet_is_a_weakness_and_can_be_mended(world, call, found):
    pairs = [call(5000 + i / 100, took=0.2) for i in range(2)] + [call(5000.1, refused=True) for _ in range(3)]
    control = world.cell("0", None, [world.healthy() for _ in range(5)] + pairs)
    [finding] = found(judge(control, []), "connection-limit")
    assert (finding.value, finding.severity) == (2, "warning")
    pool = finding.fix["spec"]["trafficPolicy"]["connectionPool"]
    assert pool["tcp"] == {"maxConnections": 4}
    assert "twice as many" in finding.advice


def test_it_is_no_circuit_breaker(world, call):
    pairs = [call(5000 + i / 100) for i in range(4)] + [call(5000.5 + i / 100, refused=True) for i in range(6)]
    rules = {finding.rule for finding in judge(world.control(), [world.cell("1", SLOW, pairs)]).findings}
    assert "circuit-breaker" not in rules


def test_two_refused_calls_are_too_few(world, call, found, reasons):
    pairs = [call(5000), call(5000.1, refused=True), call(5000.2, refused=True)]
    judgement = judge(world.control(), [world.cell("1", SLOW, pairs)])
    assert not found(judgement, "connection-limit")
    assert "too few calls: 2 refused" in reasons(judgement, "connection-limit")[0]


def test_another_503_is_no_limit(world, call, found):
    pairs = [call(5000), *(call(5000.1 + i, refused=True, flags="UF") for i in range(5))]
    assert not found(judge(world.control(), [world.cell("1", SLOW, pairs)]), "connection-limit")
