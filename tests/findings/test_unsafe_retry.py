"""unsafe-retry: on traces where the cart gives up an order that is made all the same."""

from __future__ import annotations

import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Injected

SLOW = Injected("delay", "db", ("order-v1",), delay=1.0, carrier="envoyfilter")
URL = "http://order:9080/orders"


@pytest.fixture
def order(world):
    """One request of the cart, with ATTEMPTS at an order of which each takes so long as the cart waits.

    The order's own call to db takes DB seconds, or as long as the order itself waits for it. goes_on: it finishes its
    work when the cart leaves.
    """

    def of(attempts=3, *, timeout=0.3, db=1.01, waits=9.0, goes_on=True, method="POST", **facts):
        r = world.request()
        cart = r.server("cart-v1", 0, attempts * (timeout + 0.1) + 0.01, url="http://cart/", method=method)
        work = min(db, waits) if goes_on else min(db, waits, timeout)
        for i in range(attempts):
            start = 0.002 + i * (timeout + 0.1)
            left = work > timeout
            took = min(timeout, work + 0.002)
            flags, status = ("DC", 0) if left else ("", 200)
            c = r.call(
                "cart-v1", "order", start, took, cart, url=URL, method=method, flags=flags, status=status, **facts
            )
            s = r.server("order-v1", start + 0.001, took - 0.001, c, url=URL, method=method, flags=flags, status=status)
            gone = work < db
            said = {"flags": "DI,DC", "status": 0} if gone else {"flags": "DI" if db > 0.5 else "", "status": 200}
            r.call("order-v1", "db", start + 0.002, work, s, **said)
        return r, world.answer(r, 2.0)

    return of


@pytest.fixture
def look(world, order, found):
    def of(pairs, method="POST", **facts):
        control = world.cell("0", None, [order(1, db=0.005, method=method, **facts) for _ in range(5)])
        judgement = judge(control, [world.cell("1", SLOW, pairs)])
        return found(judgement, "unsafe-retry"), judgement

    return of


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_order_that_is_made_three_times_is_stated(look, order, method):
    [finding], _ = look([order(method=method) for _ in range(4)], method)
    assert (finding.source, finding.destination, finding.operation) == ("cart", "order", f"{method} /orders")
    assert (finding.value, finding.unit, finding.severity, finding.who) == (3, "runs", "warning", "application")
    assert "for one request order is asked 3 times (4 requests)" in finding.summary
    assert finding.fix is None


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_may_be_done_twice_is_left_alone(look, order, method):
    findings, _ = look([order(method=method) for _ in range(4)], method)
    assert not findings


def test_grpc_does_not_say_what_may_be_done_twice(look, order):
    findings, _ = look([order(grpc_status=4) for _ in range(4)], grpc_status=0)
    assert not findings


def test_an_order_that_stops_when_its_caller_leaves_is_safe(look, order):
    findings, _ = look([order(goes_on=False) for _ in range(4)])
    assert not findings


def test_an_order_that_gives_up_its_own_call_did_not_complete(look, order):
    findings, _ = look([order(waits=0.5) for _ in range(4)])
    assert not findings


def test_without_a_second_attempt_nothing_is_done_twice(look, order):
    findings, _ = look([order(1) for _ in range(4)])
    assert not findings


def test_an_attempt_that_was_answered_is_no_retry_of_what_was_given_up(look, order):
    """Two orders in a row that both succeed are two orders."""
    findings, _ = look([order(2, db=0.2) for _ in range(4)])
    assert not findings


def test_two_requests_are_too_few(look, order, reasons):
    findings, judgement = look([order(), order()])
    assert not findings
    assert "in 2 requests, 3 are needed" in reasons(judgement, "unsafe-retry")[0]


def test_a_sidecar_that_repeats_is_told_from_the_application_and_can_be_mended(world, order, look):
    """The sidecar's attempts are in one call of the cart's; the first server span ends when the sidecar gives up."""

    def by_sidecar():
        r = world.request()
        cart = r.server("cart-v1", 0, 1.5, url="http://cart/", method="POST")
        c = r.call("cart-v1", "order", 0.002, 1.33, cart, url=URL, method="POST")
        for i, (took, flags) in enumerate([(0.3, "DC"), (1.02, "")]):
            s = r.server("order-v1", 0.003 + 0.31 * i, took, c, url=URL, method="POST", flags=flags)
            r.call("order-v1", "db", 0.004 + 0.31 * i, 1.01, s, flags="DI")
        return r, world.answer(r, 1.5)

    [finding], _ = look([by_sidecar() for _ in range(3)])
    assert (finding.value, finding.who) == (2, "sidecar")
    assert finding.fix["kind"] == "VirtualService"
    first, rest = finding.fix["spec"]["http"]
    assert first["match"] == [{"method": {"exact": "POST"}}]
    assert first["retries"] == {"attempts": 0}
    assert "retries" not in rest
    assert rest["route"] == first["route"] == [{"destination": {"host": "order"}}]
