"""Probes against real sockets: answers, traces by hand, and Prometheus' words."""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from chaosmesh_ext import probes
from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable, Weakness
from chaosmesh_ext.findings import registry
from chaosmesh_ext.model import Span, Trace, Workload
from chaosmesh_ext.probes import edges, expectations
from chaosmesh_ext.run import current_run, reset_run

PAGE = b"<html><body><h1>Shop</h1><h4>Book Details</h4><p>200 pages</p><h4>Book Reviews</h4><p>good</p></body></html>"
BROKEN = (
    b"<html><body><h1>Shop</h1><h4>Error fetching product details!</h4><h4>Book Reviews</h4><p>good</p></body></html>"
)


class _Application(BaseHTTPRequestHandler):
    """Answers by path, and remembers the headers that came."""

    def do_GET(self):
        self.server.seen.append(dict(self.headers))
        path = urlsplit(self.path).path
        if path == "/slow":
            time.sleep(0.3)
        status = int(path[1:]) if path[1:].isdigit() else 200
        every_other = path == "/flaky" and len(self.server.seen) % 2 == 0
        if path == "/api/v1/query":
            self.answer(200, self.prometheus(), "application/json")
        else:
            self.answer(status, BROKEN if every_other else PAGE, "text/html")

    def prometheus(self) -> bytes:
        asked = parse_qs(urlsplit(self.path).query)
        then = "time" in asked and float(asked["time"][0]) < time.time() - 30
        value = {"rising": 2.0 if then else 3.0, "new": None if then else 3.0, "from_zero": 0.0 if then else 3.0}
        found = value.get(asked["query"][0])
        result = [] if found is None else [{"metric": {}, "value": [time.time(), str(found)]}]
        return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def application():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Application)
    server.seen = []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def run(monkeypatch):
    """A run of its own for each test, and nobody's settings."""
    for variable in ("APP_URL", "JAEGER_URL", "PROMETHEUS_URL"):
        monkeypatch.delenv(variable, raising=False)
    reset_run()
    yield current_run()
    reset_run()


# --- what users get ---------------------------------------------------------------------------------------------------


def test_status_is_what_came(application):
    assert probes.status(f"{application.url}/404") == 404
    assert probes.status(f"{application.url}/200") == 200


def test_status_is_0_without_an_answer(application):
    """A page that nobody serves is a fact about it, not an error of the probe."""
    assert probes.status("http://127.0.0.1:9", timeout=2) == 0
    assert probes.status(f"{application.url}/slow", timeout=0.05) == 0


def test_a_request_carries_the_runs_marker(application, run):
    """Only marked requests meet the run's faults and count for its findings."""
    probes.status(f"{application.url}/", headers={"end-user": "jason"})
    assert application.seen[0]["tracestate"] == f"chaosmesh={run.token}-0"
    assert application.seen[0]["end-user"] == "jason"
    assert "x-client-trace-id" in application.seen[0]


def test_an_unmarked_request_is_nobodys(application):
    probes.status(f"{application.url}/", marked=False)
    assert not {"tracestate", "traceparent", "x-client-trace-id"} & {name.lower() for name in application.seen[0]}


def test_a_path_is_taken_on_the_configurations_origin(application):
    assert probes.status("/404", configuration={"app_url": application.url}) == 404
    assert probes.status("/404", marked=False, configuration={"app_url": application.url}) == 404


def test_a_path_without_an_origin_is_refused():
    with pytest.raises(InvalidInput, match="APP_URL"):
        probes.status("/productpage")


def test_response_time_is_of_all_requests(application):
    assert 0.25 < probes.response_time(f"{application.url}/slow", count=2) < 2
    assert len(application.seen) == 2


def test_response_time_gives_a_list_for_a_list(application):
    found = probes.response_time(f"{application.url}/", count=5, quantile=[0, 0.5, 1])
    assert found == sorted(found)
    assert len(found) == 3


def test_errors_do_not_pass_for_speed(application):
    """An error page is fast; a probe that timed it would say that all is well."""
    with pytest.raises(Weakness, match="3 of 3 answers were not 200"):
        probes.response_time(f"{application.url}/500", count=3)
    assert probes.response_time(f"{application.url}/500", count=1, expected_status=500) < 1
    with pytest.raises(Weakness, match="no answer"):
        probes.response_time("http://127.0.0.1:9", expected_status=0)


@pytest.mark.parametrize(
    "arguments", [{"count": 0}, {"count": "3"}, {"quantile": 95}, {"quantile": []}, {"timeout": 0}, {"timeout": -1}]
)
def test_what_cannot_be_asked_is_refused(application, arguments):
    with pytest.raises(InvalidInput):
        probes.response_time(f"{application.url}/", **arguments)
    assert not application.seen


def test_sections_are_those_of_every_answer(application):
    """A section that some users lose is lost."""
    assert {"Book Details", "Book Reviews"} <= set(probes.sections(f"{application.url}/", count=3))
    application.seen.clear()
    assert "Book Details" not in probes.sections(f"{application.url}/flaky", count=4)
    assert "Book Reviews" in probes.sections(f"{application.url}/flaky", count=4)


def test_body_section_says_whether_it_is_there(application):
    assert probes.body_section(f"{application.url}/", "Book Details") is True
    assert probes.body_section(f"{application.url}/", "Stars") is False


# --- traces -----------------------------------------------------------------------------------------------------------


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


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_a_metric_is_one_number(application):
    assert probes.metric("rising", prometheus_url=application.url) == 3.0


def test_a_metric_without_data_is_no_value(application):
    with pytest.raises(Inconclusive, match="no data"):
        probes.metric("nothing", prometheus_url=application.url)


def test_without_prometheus_a_metric_says_so():
    """A lab may come up without one."""
    with pytest.raises(InvalidInput, match="no Prometheus"):
        probes.metric("rising")
    with pytest.raises(Unreachable):
        probes.metric("rising", prometheus_url="http://127.0.0.1:9")


def test_a_change_is_a_share_or_a_difference(application):
    assert probes.metric_change("rising", prometheus_url=application.url) == pytest.approx(0.5)
    assert probes.metric_change("rising", relative=False, prometheus_url=application.url) == pytest.approx(1.0)


def test_a_change_needs_both_ends(application):
    with pytest.raises(Inconclusive, match="no data 60 s ago"):
        probes.metric_change("new", prometheus_url=application.url)
    with pytest.raises(Inconclusive, match="was 0"):
        probes.metric_change("from_zero", prometheus_url=application.url)
    assert probes.metric_change("from_zero", relative=False, prometheus_url=application.url) == 3.0


@pytest.mark.parametrize("before", [0, -5])
def test_a_change_looks_back(application, before):
    with pytest.raises(InvalidInput, match="before"):
        probes.metric_change("rising", before=before, prometheus_url=application.url)


# --- findings ---------------------------------------------------------------------------------------------------------

TIMEOUT = {
    "rule": "timeout",
    "source": "productpage",
    "destination": "details",
    "condition": "slow",
    "value": 3.004,
    "summary": "productpage gives up on details after 3.0 s",
}


def expected(**words) -> list[str]:
    return expectations.unmet(expectations.parse([words]), [TIMEOUT])


def test_an_expectation_is_met_by_a_finding():
    assert expected(rule="timeout") == []
    assert expected(rule="timeout", source="productpage", destination="details", value=3.0, within=0.05) == []


def test_a_weakness_that_nobody_expected_is_told_beside_those_that_were():
    """A list of what is known must not hide what is new."""
    known = {**TIMEOUT, "rule": "missing-fallback", "severity": "warning", "summary": "the section is lost"}
    new = {**known, "destination": "reviews", "severity": "critical", "summary": "the page is lost"}
    wanted = expectations.parse([{"rule": "missing-fallback", "destination": known["destination"]}])
    assert expectations.unmet(wanted, [known, new]) == ["the page is lost"]
    assert expectations.unmet([], [known, TIMEOUT]) == ["the section is lost"]


def test_an_unmet_expectation_says_what_was_found_instead():
    (line,) = expected(rule="timeout", source="productpage", destination="details", value=2.5, within=0.05)
    assert line.startswith("expected timeout productpage → details = 2.5 within 0.05 of it, found ")
    assert line.endswith("productpage gives up on details after 3.0 s")
    assert expected(rule="retry", source="productpage", destination="reviews") == [
        "expected retry productpage → reviews, found timeout productpage → details"
    ]
    assert expectations.unmet(expectations.parse([{"rule": "retry"}]), []) == ["expected retry, found nothing"]


def test_a_value_that_is_not_there_is_not_the_value():
    wanted = expectations.parse([{"rule": "timeout", "value": 0}])
    assert expectations.unmet(wanted, [{**TIMEOUT, "value": None}])


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"source": "a"}, "rule"),
        ({"rule": "timeout", "sorce": "a"}, "sorce"),
        ({"rule": "timeout", "value": "3 s"}, "float"),
        ({"rule": "timeout", "within": -1}, "within"),
        ({"rule": "timeout", "within": float("nan")}, "within"),
        ({"rule": "timeout", "within": float("inf")}, "within"),
        ({"rule": "timeout", "value": float("nan")}, "value is nan, not a number"),
        ({"rule": "nope"}, "no rule 'nope', but timeout, missing-timeout, retry, hedge, fallback, missing-fallback"),
        ({"rule": "missing_timeout"}, "no rule 'missing_timeout'"),
        ({"rule": "timeout", "severity": "grave"}, "severity"),
        ({"rule": "timeout", "condition": "tired"}, "condition"),
        ({"rule": "timeout", "who": "me"}, "who"),
        ("timeout", "object"),
    ],
)
def test_a_misspelt_expectation_is_refused(item, words):
    """An expectation that can never be met, or always is, would say nothing."""
    with pytest.raises(InvalidInput, match=words):
        expectations.parse([item])


def test_every_rule_of_a_finding_can_be_expected():
    """What a rule calls its findings stands in its file as a text."""
    files = Path(registry.__file__).parent.glob("*.py")
    said = {
        word
        for file in files
        for line in file.read_text().splitlines()
        if re.match(r"\s*rule ?= ?", line)
        for word in re.findall(r'"([a-z-]+)"', line)
    }
    assert said == set(registry.NAMES)


def test_findings_refuses_its_input_before_it_waits_for_traces():
    with pytest.raises(InvalidInput, match="sorce"):
        probes.findings(expect=[{"rule": "timeout", "sorce": "a"}])
