"""Probes of traces, on cells of known origin: what they give, and what they refuse."""

from __future__ import annotations

import json
import logging

import pytest
from spans import healthy, span, trace

from chaosmesh_ext import probes, tolerances
from chaosmesh_ext.errors import Inconclusive, InvalidInput, NotFound
from chaosmesh_ext.model import Answer, Cell
from chaosmesh_ext.run import current_run, reset_run
from chaosmesh_ext.tolerances.words import heard

NEW = {
    "edge_latency": ("productpage", "details"),
    "calls_per_request": ("productpage", "details"),
    "spans_with_flags": ("UO",),
    "error_path": (),
    "slowest_path": (),
    "orphans": (),
    "trace_shape": (),
}


@pytest.fixture(autouse=True)
def run(monkeypatch):
    """A run of its own for each test, and nobody's settings."""
    for variable in ("APP_URL", "JAEGER_URL", "ZIPKIN_URL", "TEMPO_URL", "PROMETHEUS_URL"):
        monkeypatch.delenv(variable, raising=False)
    reset_run()
    yield current_run()
    reset_run()


@pytest.fixture
def cells(run, monkeypatch):
    """The cells of the run have these traces; the first is the control, the last the current one."""

    def of(*found: list) -> None:
        made = [
            Cell(
                str(number),
                None,
                tuple(Answer(each.trace_id, "http://x/", 0.0, 0.1, 200) for each in traces),
                {each.trace_id: each for each in traces},
            )
            for number, traces in enumerate(found)
        ]
        monkeypatch.setenv("JAEGER_URL", "http://127.0.0.1:9")
        run.configure({"jaeger_url": "http://127.0.0.1:9"}, None)
        monkeypatch.setattr(run, "cells", lambda _source: made)
        current = type(run.marker)(run.token, str(len(found) - 1))
        monkeypatch.setattr(type(run), "marker", property(lambda _self: current))

    return of


@pytest.mark.parametrize(("name", "arguments"), NEW.items())
def test_without_a_store_or_a_trace_a_probe_says_so(cells, name, arguments):
    """Nothing seen is not "nothing wrong"."""
    probe = getattr(probes, name)
    with pytest.raises(Inconclusive, match="JAEGER_URL"):
        probe(*arguments)
    cells([])
    with pytest.raises(Inconclusive, match="no data"):
        probe(*arguments)


@pytest.mark.parametrize(("name", "arguments"), NEW.items())
def test_what_cannot_be_asked_is_refused_in_one_line(cells, name, arguments):
    cells([healthy()])
    probe = getattr(probes, name)
    for more, words in (
        ({"cell": "0", "lookback": 60}, "lookback"),
        ({"lookback": -1}, "lookback is -1"),
        ({"lookback": "soon"}, "lookback is 'soon'"),
        ({"cell": "7"}, "no cell 7"),
        ({"traces_url": "localhost:16686"}, "is not Jaeger's address"),
    ):
        with pytest.raises(InvalidInput, match=words) as raised:
            probe(*arguments, **more)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["error_path", "slowest_path", "orphans", "trace_shape"])
def test_everybodys_traces_need_a_workload_that_is_in_them(cells, name):
    cells([healthy()])
    with pytest.raises(InvalidInput, match="give service"):
        getattr(probes, name)(lookback=60)


# --- edges ------------------------------------------------------------------------------------------------------------


def test_latency_is_of_calls_that_succeeded(cells):
    """A refusal is fast, and must not pass for speed."""
    refused = trace(span(1, 0, "CLIENT", "productpage-v1 → details", 0, 0.001, status=503, trace="a" * 32))
    cells([healthy(1), healthy(2), refused])
    assert probes.edge_latency("productpage", "details") == 0.01
    assert probes.edge_latency("productpage-v1", "details", quantile=[0, 1]) == [0.01, 0.01]
    assert probes.edge_latency("productpage", "details", quantile=0, failures=True) == 0.001
    cells([refused])
    with pytest.raises(Inconclusive, match="all 1 calls productpage → details failed"):
        probes.edge_latency("productpage", "details")


@pytest.mark.parametrize("status", [14, 5])
def test_a_call_that_grpc_calls_an_error_is_none_that_succeeded(cells, status):
    """Its HTTP status is 200."""
    refused = trace(
        span(1, 0, "CLIENT", "productpage-v1 → details", 0, 0.001, status=200, grpc_status=status, trace="a" * 32)
    )
    cells([healthy(1), refused])
    assert probes.edge_latency("productpage", "details") == 0.01
    assert probes.edge_latency("productpage", "details", quantile=0, failures=True) == 0.001


@pytest.mark.parametrize("quantile", [95, -0.1, "0.5", True, [], [0.5, 2]])
def test_a_quantile_is_a_share(cells, quantile):
    cells([healthy()])
    with pytest.raises(InvalidInput, match="quantile"):
        probes.edge_latency("productpage", "details", quantile=quantile)


def test_calls_are_counted_for_each_request_that_came(cells):
    """A request that makes none counts as none, one that never came there does not count."""
    twice = trace(*healthy(1).spans, span(9, 3, "CLIENT", "productpage-v1 → details", 0.05, 0.01, trace=f"{1:032x}"))
    elsewhere = trace(span(1, 0, "SERVER", "gateway", 0, 1, trace="b" * 32))
    cells([twice, healthy(2), elsewhere])
    assert probes.calls_per_request("productpage", "details") == [2, 1]
    assert probes.calls_per_request("productpage", "reviews") == [1, 1]
    cells([healthy(1, reviews="v1"), healthy(2, reviews="v2")])
    assert probes.calls_per_request("reviews", "ratings") == [0, 1]
    with pytest.raises(Inconclusive, match="no data: nobody calls detials; called are details, productpage, "):
        probes.calls_per_request("productpage", "detials")
    with pytest.raises(Inconclusive, match="no trace has a span of prodpage"):
        probes.calls_per_request("prodpage", "details")


def test_spans_with_flags_are_counted_and_none_is_a_number_only_where_there_are_spans(cells):
    cut = trace(span(1, 0, "CLIENT", "productpage-v1 → details", 0, 1, flags="UO,URX", trace="a" * 32))
    cells([healthy(1), cut])
    assert probes.spans_with_flags("UO") == 1
    assert probes.spans_with_flags(["UT", "UpstreamOverflow"], destination="details") == 1
    assert probes.spans_with_flags("UO", source="reviews") == 0
    with pytest.raises(Inconclusive, match="no span of a proxy"):
        probes.spans_with_flags("UO", source="nobody")


@pytest.mark.parametrize("flags", ["", [], "-", [""], 5, ["UO", None]])
def test_flags_are_envoys(cells, flags):
    cells([healthy()])
    with pytest.raises(InvalidInput, match="flags is"):
        probes.spans_with_flags(flags)


# --- paths ------------------------------------------------------------------------------------------------------------


def test_paths_are_plain_values_for_the_journal(cells):
    failing = trace(*healthy(1).spans, span(9, 7, "CLIENT", "reviews-v1 → ratings", 0.03, 0.04, status=503))
    cells([failing])
    found = probes.error_path()
    assert found["path"] == ["gateway", "productpage-v1", "reviews-v1", "ratings"]
    assert json.loads(json.dumps(found)) == found
    slowest = probes.slowest_path()
    assert slowest["path"][0] == "gateway"
    assert json.loads(json.dumps(slowest)) == slowest


def test_orphans_are_counted(cells):
    cells([healthy(), trace(span(1, 0, "SERVER", "a", 0, 1), span(2, 0, "SERVER", "b", 0, 1, parent_id="c" * 16))])
    assert probes.orphans() == 1
    cells([healthy()])
    assert probes.orphans() == 0


# --- shapes -----------------------------------------------------------------------------------------------------------


def test_the_shape_is_that_of_the_control_or_is_not(cells, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("chaostoolkit"), "propagate", True)
    control = [healthy(number) for number in range(1, 6)]
    cells(control, [healthy(number) for number in range(6, 11)])
    assert probes.trace_shape_unchanged() is True
    without = [trace(*(s for s in healthy(n).spans if s.peer != "reviews")) for n in range(6, 11)]
    cells(control, without)
    assert probes.trace_shape_unchanged() is False
    assert "no productpage → reviews GET /reviews/* any more" in caplog.text


def test_what_may_be_chance_is_no_verdict(cells):
    control = [healthy(1), healthy(2), healthy(3, reviews="v2")]
    cells(control, [healthy(4), healthy(5)])
    with pytest.raises(Inconclusive, match=r"reviews → ratings .* may be chance"):
        probes.trace_shape_unchanged()


def test_the_control_is_not_held_against_itself(cells):
    cells([healthy()])
    with pytest.raises(InvalidInput, match="give a baseline"):
        probes.trace_shape_unchanged()


def test_a_baseline_is_what_trace_shape_gave(cells, tmp_path):
    cells([healthy(number) for number in range(1, 4)])
    file = tmp_path / "shape.json"
    file.write_text(json.dumps(probes.trace_shape()))
    assert probes.trace_shape_unchanged(baseline=str(file)) is True
    cells([healthy(number, reviews="v2") for number in range(1, 4)])
    assert probes.trace_shape_unchanged(baseline=str(file)) is False


@pytest.mark.parametrize("text", ["[]", "{", '{"calls": {}, "requests": 3}', '{"calls": {"a": 4}, "requests": 3}'])
def test_a_baseline_that_is_none_is_refused(cells, tmp_path, text):
    cells([healthy()])
    file = tmp_path / "shape.json"
    file.write_text(text)
    with pytest.raises(InvalidInput, match="is no baseline"):
        probes.trace_shape_unchanged(baseline=str(file))
    with pytest.raises(NotFound, match="cannot be read"):
        probes.trace_shape_unchanged(baseline=str(tmp_path / "none.json"))


# --- tolerances -------------------------------------------------------------------------------------------------------

PATH = {"path": ["gateway", "productpage-v1", "ratings"], "status": 503, "requests": 3, "of": 4, "reached": 0}
SLOW = {"duration": 3.0, "own": {"productpage-v1 → details-v1": 2.0, "gateway": 1.0}}


def test_errors_stop_where_they_are_answered_well():
    assert tolerances.error_stops_at("productpage", value=PATH)
    assert tolerances.error_stops_at("productpage-v1", value=PATH)
    with heard() as lines:
        assert not tolerances.error_stops_at("reviews", value=PATH)
        assert not tolerances.error_stops_at("productpage", value={**PATH, "reached": 1})
        assert not tolerances.error_stops_at("productpage", value={"path": [], "of": 4, "requests": 0, "reached": 0})
        assert not tolerances.error_stops_at("productpage", value={"path": [], "of": 0})
        assert not tolerances.error_stops_at("productpage", value=None)
    assert lines[1] == (
        "expected errors that come to productpage, and to no user, saw 3 of 4 requests with errors on "
        "gateway → productpage-v1 → ratings, 1 of them for users too"
    )
    assert lines[3:] == ["expected errors that come to productpage, and to no user, saw no data"] * 2


def test_the_slowest_place_has_its_share():
    assert tolerances.slowest_at("productpage → details", value=SLOW)
    assert tolerances.slowest_at("gateway", share=0.3, value=SLOW)
    with heard() as lines:
        assert not tolerances.slowest_at("productpage → details-v1", share=0.7, value=SLOW)
        assert not tolerances.slowest_at("details", value=SLOW)
        assert not tolerances.slowest_at("gateway", value={})
    assert lines[0] == (
        "expected at least 70% of the time at productpage → details-v1, "
        "saw productpage-v1 → details-v1 2 s, gateway 1 s of 3 s"
    )
    assert lines[2].endswith("saw no data")


@pytest.mark.parametrize(
    "call",
    [
        lambda: tolerances.error_stops_at("", value=PATH),
        lambda: tolerances.error_stops_at(5, value=PATH),
        lambda: tolerances.slowest_at("", value=SLOW),
        lambda: tolerances.slowest_at("a", share=50, value=SLOW),
        lambda: tolerances.slowest_at("a", share=0, value=SLOW),
    ],
)
def test_a_tolerance_that_cannot_be_met_is_refused(call):
    with pytest.raises(InvalidInput):
        call()
