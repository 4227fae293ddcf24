"""What benchmarks/explore.py holds an exploration against: the end of the last span, and plain experiments."""

from __future__ import annotations

import json

import pytest
from explore import bookinfo, questions
from exploring import serial
from exploring.predict import READ, bound, ends, healthy, pairs
from truths.story import Abort, Delay

from chaosmesh_ext.explore.waves import PlannedCell
from chaosmesh_ext.model import Edge, Workload

PAGE = "/productpage"
SLOW, FAILING = Delay(12.0), Abort(507)


def cell(
    number: int, callers: list[tuple[str, str]], callee: str, *, delay: float = 0.0, status: int = 0
) -> PlannedCell:
    edges = [Edge(Workload(service, version), callee) for service, version in callers]
    return PlannedCell(
        number,
        edges[0],
        "delay" if delay else "abort",
        delay=delay,
        status=status,
        operations=("GET /",),
        also=tuple(edges[1:]),
    )


@pytest.mark.parametrize(
    ("pair", "answer", "last"),
    [
        (("istio-ingressgateway", "productpage"), 12.0, 12.0),
        (("productpage", "details"), 3.0, 3.0),
        (("productpage", "reviews"), 6.0, 6.0),
        (("reviews", "ratings"), 6.0, 13.0),
    ],
)
def test_bookinfos_last_spans_end_when_its_slowest_client_gives_up(pair, answer, last):
    """The second reviews-v2 that productpage leaves began after 3 s, and goes on for 10."""
    assert ends(bookinfo(), pair, SLOW, PAGE).answer == pytest.approx(answer, abs=0.05)
    assert ends(bookinfo(), pair, SLOW, PAGE).last == pytest.approx(last, abs=0.05)


def test_an_abort_ends_at_once():
    assert all(ends(bookinfo(), pair, FAILING, PAGE).last < 0.05 for pair in pairs(bookinfo()))


def test_a_call_that_is_never_made_cannot_be_predicted():
    with pytest.raises(ValueError, match="no request"):
        ends(bookinfo(), ("details", "ratings"), SLOW, PAGE)


def test_the_bound_is_pushes_last_spans_and_the_reading():
    alone = healthy(bookinfo(), PAGE).last + 13.0 + READ
    assert bound(bookinfo(), [SLOW], {}, PAGE) == pytest.approx(alone, abs=0.05)
    pushed = bound(bookinfo(), [SLOW, FAILING], {"delay": 0.5, "abort": 0.25}, PAGE)
    assert pushed == pytest.approx(alone + 0.75, abs=0.05)


def test_an_experiment_asks_as_often_as_it_takes_and_pauses_until_the_last_span():
    callers = [("reviews", "v2"), ("reviews", "v3")]
    slow, failing = questions(
        bookinfo(),
        [cell(1, callers, "ratings", delay=12.0), cell(2, [("productpage", "v1")], "details", status=507)],
    )
    assert (slow.requests, failing.requests) == (12, 6)  # one request in three comes to each version
    method = serial.experiment(slow, "http://127.0.0.1/productpage")["method"]
    assert len(method) == 1 + slow.requests
    assert method[0]["provider"]["arguments"]["fixed_delay"] == "12s"
    assert [activity.get("pauses") for activity in method[1:-1]] == [None] * (slow.requests - 1)
    assert method[-1]["pauses"]["after"] == pytest.approx(7 + serial.FLUSH, abs=0.05)
    assert json.dumps(serial.experiment(failing, "http://127.0.0.1/"))


def test_the_gateways_experiment_edits_the_gateways_own_virtual_service():
    (asked,) = questions(bookinfo(), [cell(1, [("istio-ingressgateway", "")], "productpage", status=507)])
    arguments = serial.experiment(asked, "http://127.0.0.1/")["method"][0]["provider"]["arguments"]
    assert (arguments["virtual_service_name"], arguments["http_status"]) == ("bookinfo", 507)
