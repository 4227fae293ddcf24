"""What an edge's traces say of its calls: which there were, and which were retries."""

from __future__ import annotations

import pytest

from chaosmesh_ext import probes
from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.model import Span, Trace, Workload
from chaosmesh_ext.probes import edges


def span(
    number: int, start: float, duration: float, *, kind="CLIENT", parent="a", flags=(), status=200, **more
) -> Span:
    version = more.pop("version", "v1")
    return Span(
        trace_id=more.pop("trace", "1" * 32),
        span_id=f"{number:016x}",
        parent_id=parent,
        kind=kind,
        operation="call",
        start=start,
        duration=duration,
        workload=Workload(more.pop("service", "reviews"), version),
        peer=more.pop("peer", "ratings"),
        method=more.pop("method", "GET"),
        url=more.pop("url", "http://ratings:9080/ratings/0"),
        status=status,
        flags=frozenset(flags),
    )


def traces(*spans: Span) -> list[Trace]:
    ids = dict.fromkeys(each.trace_id for each in spans)
    return [Trace(trace_id, tuple(each for each in spans if each.trace_id == trace_id)) for trace_id in ids]


def test_calls_are_found_by_workload_and_by_service():
    found = traces(span(1, 2.0, 0.1), span(2, 1.0, 0.2, version="v2"), span(3, 0.0, 1.0, peer="details"))
    assert [each.duration for each in edges.calls(found, "reviews", "ratings")] == [0.2, 0.1]
    assert [each.duration for each in edges.calls(found, "reviews-v2", "ratings")] == [0.2]


def test_no_call_is_no_data():
    """Nothing seen is not "no retries"."""
    with pytest.raises(Inconclusive, match="no data"):
        edges.calls(traces(span(1, 0, 1)), "reviews", "details")
    with pytest.raises(Inconclusive, match="no data"):
        edges.most_retries([], "reviews", "ratings")


def test_a_call_after_a_failed_one_is_a_retry():
    failed = {"status": 503}
    assert edges.most_retries(traces(span(1, 0, 1, **failed), span(2, 1.0, 1, **failed)), "reviews", "ratings") == 1


def test_calls_that_are_no_retries():
    """Two calls at once, two after a success, two of different requests, and two to different paths."""
    failed = {"status": 503}
    at_once = traces(span(1, 0, 1, **failed), span(2, 0.5, 1, **failed))
    after_success = traces(span(1, 0, 1), span(2, 1.5, 1))
    other_request = traces(span(1, 0, 1, **failed), span(2, 1.5, 1, trace="2" * 32))
    other_path = traces(span(1, 0, 1, **failed), span(2, 1.5, 1, url="http://ratings:9080/health"))
    for found in (at_once, after_success, other_request, other_path):
        assert edges.most_retries(found, "reviews", "ratings") == 0


def test_a_call_that_its_caller_gave_up_was_a_failure():
    given_up = span(1, 0, 2.5, flags=("DI", "DC"), status=0)
    assert (
        edges.most_retries(traces(given_up, span(2, 2.51, 2.5, flags=("DI", "DC"), status=0)), "reviews", "ratings")
        == 1
    )


def test_without_a_trace_store_a_probe_says_so():
    with pytest.raises(Inconclusive, match="JAEGER_URL"):
        probes.call_durations("reviews-v2", "ratings")


def test_a_cell_and_a_lookback_together_are_refused():
    with pytest.raises(InvalidInput, match="lookback"):
        probes.call_flags("reviews-v2", "ratings", cell="1", lookback=60)
