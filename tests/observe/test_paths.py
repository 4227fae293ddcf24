"""Where errors came from, where the time went, what hangs on nothing."""

from __future__ import annotations

import msgspec
import pytest
from spans import healthy, span, trace

from chaosmesh_ext.observe.paths import error_path, failed, orphans, slowest_path


def broken(number: int, *, reached: bool = False):
    """ratings refuses reviews-v2, which answers productpage with 500; the page is well, or not."""
    own = {"trace": f"{number:032x}"}
    bad = 500 if reached else 200
    return trace(
        span(1, 0, "SERVER", "gateway", 0, 0.1, status=bad, **own),
        span(2, 1, "CLIENT", "gateway → productpage", 0.001, 0.098, status=bad, **own),
        span(3, 2, "SERVER", "productpage-v1", 0.002, 0.096, status=bad, **own),
        span(6, 3, "CLIENT", "productpage-v1 → reviews", 0.02, 0.06, status=500, **own),
        span(7, 6, "SERVER", "reviews-v2", 0.021, 0.058, status=500, **own),
        span(8, 7, "CLIENT", "reviews-v2 → ratings", 0.03, 0.04, status=503, flags="FI", **own),
    )


def test_an_errors_way_goes_from_the_entry_to_where_it_began():
    found = error_path([healthy(1), broken(2), broken(3, reached=True), broken(4)])
    assert found.path == ("gateway", "productpage-v1", "reviews-v2", "ratings")
    assert (found.status, found.flags) == (503, "FI")
    assert (found.requests, found.of, found.failed, found.reached) == (3, 4, 3, 1)
    assert found.trace_id == f"{2:032x}"


def test_the_most_frequent_way_counts():
    other = trace(*(msgspec.structs.replace(s, status=500) if s.span_id.endswith("5") else s for s in healthy(9).spans))
    found = error_path([other, broken(2), broken(3)])
    assert (found.requests, found.failed) == (2, 3)
    assert found.path[-1] == "ratings"
    assert error_path([other]).path == ("gateway", "productpage-v1", "details-v1")


def test_no_error_is_an_empty_way_of_so_many_requests():
    found = error_path([healthy(1), healthy(2)])
    assert (found.path, found.of, found.failed, found.trace_id) == ((), 2, 0, "")


@pytest.mark.parametrize(
    ("facts", "bad"),
    [
        ({}, False),
        ({"status": 404}, False),
        ({"status": 500}, True),
        ({"status": 0}, True),
        ({"status": 0, "grpc_status": 0}, False),
        ({"grpc_status": 14}, True),
        ({"grpc_status": 5}, False),
        ({"flags": "DC"}, True),
        ({"error": True}, True),
        ({"status": 0, "proxy": False}, False),
    ],
)
def test_a_span_failed_when_it_says_so(facts, bad):
    """A page that is not there is an answer; a database's span has no status at all."""
    assert failed(span(1, 0, "CLIENT", "a → b", 0, 1, **facts)) is bad


def test_an_error_of_grpc_is_told_by_its_own_status():
    """Its HTTP status is 200, and the page that does without it fails for nobody."""
    gateway, page = span(1, 0, "SERVER", "gateway", 0, 0.1), span(2, 1, "SERVER", "shop-v1", 0, 0.1)
    found = error_path(
        [trace(gateway, page, span(3, 2, "CLIENT", "shop-v1 → prices", 0, 0.01, grpc_status=14, flags="FI"))]
    )
    assert found.path == ("gateway", "shop-v1", "prices")
    assert (found.status, found.grpc_status, found.flags, found.reached) == (200, 14, "FI", 0)


def test_the_time_of_the_slowest_request_is_where_it_was_waited_for():
    slow = trace(
        span(1, 0, "SERVER", "gateway", 0, 3.1),
        span(2, 1, "CLIENT", "gateway → productpage", 0.05, 3.0),
        span(3, 2, "SERVER", "productpage-v1", 0.05, 3.0),
        span(4, 3, "CLIENT", "productpage-v1 → details", 0.1, 2.5, flags="DI,DC", status=0),
        span(5, 3, "CLIENT", "productpage-v1 → reviews", 2.6, 0.4),
        span(6, 5, "SERVER", "reviews-v1", 2.7, 0.2),
    )
    found = slowest_path([healthy(), slow])
    assert found.duration == 3.1
    assert found.path == ("gateway", "productpage-v1", "details")
    assert next(iter(found.own)) == "productpage-v1 → details"
    assert found.own == pytest.approx(
        {
            "productpage-v1 → details": 2.5,
            "productpage-v1 → reviews-v1": 0.2,
            "reviews-v1": 0.2,
            "gateway": 0.1,
            "productpage-v1": 0.1,
            "gateway → productpage-v1": 0.0,
        }
    )
    assert sum(found.own.values()) == pytest.approx(found.duration)


def test_of_two_calls_at_once_the_one_that_ended_last_was_waited_for():
    found = slowest_path(
        [
            trace(
                span(1, 0, "SERVER", "a", 0, 1.0),
                span(2, 1, "CLIENT", "a → b", 0.1, 0.3),
                span(3, 1, "CLIENT", "a → c", 0.1, 0.8),
            )
        ]
    )
    assert found.own == pytest.approx({"a → c": 0.8, "a": 0.2})


def test_work_that_went_on_after_its_caller_held_nobody_up():
    found = slowest_path([trace(span(1, 0, "SERVER", "a", 0, 1.0), span(2, 1, "CLIENT", "a → b", 0.5, 9.0))])
    assert found.own == pytest.approx({"a → b": 0.5, "a": 0.5})


def test_spans_that_are_each_others_parents_end():
    """A store may hold anything."""
    ring = trace(span(1, 2, "SERVER", "a", 0, 1.0), span(2, 1, "CLIENT", "a → b", 0.1, 0.8, status=500))
    assert slowest_path([ring]).duration == 1.0
    assert error_path([ring]).requests == 1
    assert orphans(ring) == []
    assert slowest_path([]) is None


def test_an_orphan_is_a_span_whose_parent_is_gone_and_the_entry_is_none():
    """Our requests name a parent that nobody reports; Jaeger's sample of a real orphan does too."""
    assert orphans(healthy()) == []
    lost = span(9, 0, "SERVER", "ratings-v1", 0.03, 0.01, parent_id="00000000000000ab")
    assert orphans(trace(*healthy().spans, lost)) == [lost]


def test_where_there_is_a_true_root_everything_without_a_parent_is_an_orphan():
    root = span(1, 0, "SERVER", "gateway", 5.0, 0.1, parent_id="")
    lost = span(2, 0, "SERVER", "details-v1", 1.0, 0.1)
    assert orphans(trace(root, lost)) == [lost], "though its clock runs before the root's"
