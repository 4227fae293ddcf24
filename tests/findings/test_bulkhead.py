"""bulkhead: on the traces of a page that has so many workers, and so many calls to details at once."""

from __future__ import annotations

import msgspec
import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Injected

URL = "http://gateway/productpage"
DELAY = Injected("delay", "details", ("productpage-v1",), delay=3.0, carrier="envoyfilter")


@pytest.fixture
def served(world):
    """A request that the page served: one of /health, or one whose call to details takes CALL seconds from WAITED on."""

    def of(at, took, call=None, waited=0.002, url=URL, status=200, pod="a"):
        r = world.request()
        r.t0 = at
        page = r.server("productpage-v1", 0, took, url=url if call else "http://x/health", status=status, pod=pod)
        if call:
            r.call("productpage-v1", "details", waited, call, page, flags="DI" if call > 1 else "", pod=pod)
        return r, world.answer(r, took + 0.001, status=status)

    return of


@pytest.fixture
def told(world, served):
    """What is judged of HUNG, requests that need details, and BESIDE, requests that do not."""

    def of(hung, beside, healthy=None, control_beside=()):
        usual = [served(100 + i, 0.01) for i in range(40)] if healthy is None else healthy
        control = world.cell("0", None, [served(200 + i, 0.02, call=0.005) for i in range(5)] + usual)
        others = world.cell("0", None, control_beside)
        control = msgspec.structs.replace(control, beside=others.answers, traces={**control.traces, **others.traces})
        cell, aside = world.cell("1", DELAY, hung), world.cell("1", None, beside)
        whole = msgspec.structs.replace(
            cell, purpose="bulkhead", beside=aside.answers, traces={**cell.traces, **aside.traces}
        )
        return judge(control, [whole])

    return of


def hanging(served, calls, waiting=0, **more):
    """Requests that came together: CALLS went on, WAITING had to wait for those."""
    first = [served(5000 + i / 1000, 3.01, call=3.0, **more) for i in range(calls)]
    return first + [served(5000.1 + i / 1000, 6.0, call=3.0, waited=2.91, **more) for i in range(waiting)]


def test_requests_that_wait_for_workers_are_starved(served, told, found):
    """Eight workers, all of them waiting for details."""
    beside = [served(5000.2 + 0.05 * i, 2.8 - 0.05 * i) for i in range(40)]
    [finding] = found(told(hanging(served, 8, waiting=8), beside), "bulkhead")
    assert (finding.kind, finding.severity, finding.value, finding.unit) == ("starved", "warning", 8, "calls")
    assert finding.condition == "slow"
    assert "while 8 calls to details hang (GET /health, 40 requests: p95 2.7 s instead of 10 ms)" in finding.summary


def test_requests_that_fail_meanwhile_are_starved_too(served, told, found):
    beside = [served(5000.2 + 0.05 * i, 0.01, status=503 if i < 5 else 200) for i in range(40)]
    [finding] = found(told(hanging(served, 8, waiting=8), beside), "bulkhead")
    assert finding.kind == "starved"
    assert "5 of 40 failed" in finding.summary


def test_a_pool_of_its_own_keeps_the_others_free(served, told, found):
    beside = [served(5000.2 + 0.05 * i, 0.011) for i in range(40)]
    [finding] = found(told(hanging(served, 4, waiting=4), beside), "bulkhead")
    assert (finding.kind, finding.severity, finding.value) == ("isolated", "info", 4)
    assert finding.fix is None


def test_without_a_limit_there_is_no_bulkhead_to_see(served, told, found, reasons):
    """All sixteen went on and nobody suffered: more may hang, and then somebody might."""
    beside = [served(5000.2 + 0.05 * i, 0.011) for i in range(40)]
    judgement = told(hanging(served, 16), beside)
    assert not found(judgement, "bulkhead")
    assert reasons(judgement, "bulkhead") == ["nobody suffered and nothing was held back while 16 calls hung"]


def test_calls_of_several_pods_add_up(served, told, found):
    hung = [*hanging(served, 4, waiting=4, pod="a"), *hanging(served, 4, waiting=4, pod="b")]
    beside = [served(5000.2 + 0.05 * i, 2.0, pod="ab"[i % 2]) for i in range(40)]
    [finding] = found(told(hung, beside), "bulkhead")
    assert (finding.value, finding.numbers) == (8, {"pods": 2})


def test_what_came_when_nothing_hung_any_more_does_not_count(served, told, found, reasons):
    judgement = told(hanging(served, 8), [served(5004 + 0.05 * i, 2.0) for i in range(40)])
    assert not found(judgement, "bulkhead")
    assert "too few calls: 0 requests beside" in reasons(judgement, "bulkhead")[0]


def test_a_pod_without_hanging_calls_says_nothing(served, told, found):
    beside = [served(5000.2 + 0.05 * i, 2.0, pod="another") for i in range(40)]
    assert not found(told(hanging(served, 8, pod="a"), beside), "bulkhead")


def test_noise_of_a_few_milliseconds_is_no_starvation(served, told, found):
    beside = [served(5000.2 + 0.05 * i, 0.04) for i in range(40)]
    assert [f.kind for f in found(told(hanging(served, 4, waiting=4), beside), "bulkhead")] == ["isolated"]


def test_one_failure_says_nothing(served, told, found, reasons):
    beside = [served(5000.2 + 0.05 * i, 0.01, status=503 if i == 3 else 200) for i in range(40)]
    judgement = told(hanging(served, 4, waiting=4), beside)
    assert not found(judgement, "bulkhead")
    assert "one request beside failed" in reasons(judgement, "bulkhead")[0]


def test_requests_that_fail_anyway_are_not_starved(served, told, found):
    """Every fourth fails in the control as well."""
    usual = [served(100 + i, 0.01, status=503 if i % 4 == 0 else 200) for i in range(40)]
    beside = [served(5000.2 + 0.05 * i, 0.01, status=503 if i % 4 == 0 else 200) for i in range(40)]
    [finding] = found(told(hanging(served, 4, waiting=4), beside, usual), "bulkhead")
    assert finding.kind == "isolated"


def test_where_every_request_needs_the_call_nobody_can_be_starved(served, told, found, reasons):
    judgement = told(hanging(served, 8), [], healthy=[])
    assert not found(judgement, "bulkhead")
    assert "every request of the control needs the call" in reasons(judgement, "bulkhead")[0]


def test_an_operation_that_only_requests_beside_show_to_need_the_call_is_no_other_request(served, told, found, reasons):
    """The control has it among its requests beside: they tell as well what an operation calls."""
    usual = [served(100 + i, 0.01) for i in range(3)]
    control_beside = [served(150 + i, 0.02, call=0.005, url="http://x/cart") for i in range(30)]
    beside = [served(5000.2 + 0.05 * i, 3.0, call=2.9, url="http://x/cart") for i in range(40)]
    judgement = told(hanging(served, 4, waiting=4), beside, usual, control_beside=control_beside)
    assert not found(judgement, "bulkhead")
    assert "too few calls" in reasons(judgement, "bulkhead")[0]
