"""Probes against real sockets: what users get, and Prometheus' words."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from chaosmesh_ext import probes
from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable, Weakness
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


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda url: probes.body_section(url, " "), "section is empty"),
        (lambda url: probes.header(url, "x y"), "name is 'x y': give a header's"),
        (lambda url: probes.status("javascript:alert(1)"), "begins with none of http://"),
    ],
)
def test_what_no_answer_can_have_is_not_asked_for(application, ask, words):
    with pytest.raises(InvalidInput, match=words):
        ask(f"{application.url}/")
    assert not application.seen


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
