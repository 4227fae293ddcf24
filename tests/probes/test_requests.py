"""Probes that send requests, against a real server that knows the marker: loads, headers, and the control beside."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from places import place

from chaosmesh_ext import probes
from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable, Weakness
from chaosmesh_ext.lab import tools
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.tokens import BROKEN as ASK_BROKEN
from chaosmesh_ext.run.tokens import GOOD, Tokens

PAGE = b"<html><h1>Shop</h1><h4>Book Details</h4><p>200 pages</p></html>"
BROKEN = b"<html><h1>Shop</h1><h4>Sorry</h4><p>no details</p></html>"


class _Shop(BaseHTTPRequestHandler):
    """Requests of cell 1 meet what `hurt` does; every one is remembered."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_GET(self):
        self.server.seen.append({name.lower(): value for name, value in self.headers.items()})
        met = self.headers.get("tracestate", "").endswith("-1")
        status, body = self.server.hurt() if met else self.server.usual()
        self.send_response(status)
        self.send_header("content-type", "text/html")
        self.send_header("x-version", "v1")
        self.send_header("content-length", str(len(body)))
        if status == 503:
            self.send_header("x-envoy-overloaded", "true")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def shop():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Shop)
    server.daemon_threads = True
    server.seen, server.usual, server.hurt = [], lambda: (200, PAGE), lambda: (200, PAGE)
    server.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def faulted(run):
    """A run with a live cell, as an injection leaves it: what is asked of the mesh is for tests of injections."""
    cell = Growing(place(run=run.token), None, None)
    run._cells.add(cell)
    yield run
    run._cells.every.clear()
    run._cells.live.clear()


def test_a_load_counts_what_came_back(shop):
    answers = iter([200, 503] * 10)
    lock = threading.Lock()

    def usual():
        with lock:
            return next(answers), b"ok"

    shop.usual = usual
    found = probes.load(shop.url, count=20, connections=4, count_headers=["X-Version", "x-nobody"])
    assert found["requests"] == 20
    assert found["statuses"] == {"200": 10, "503": 10}
    assert found["flags"] == {"UO": 10}
    assert found["headers"] == {"x-envoy-overloaded": 10, "x-version": 20, "x-nobody": 0}
    assert set(found["latency"]) == {"200", "503"}
    assert list(found["latency"]["200"]) == ["p50", "p90", "p99", "max"]
    assert found["errors"] == {}


def test_a_load_that_nobody_answers_says_why(shop):
    found = probes.load("http://127.0.0.1:9/", count=3, connections=3)
    assert found["statuses"] == {"0": 3}
    assert sum(found["errors"].values()) == 3


LOADS = {
    "load": lambda url, headers: probes.load(url, count=2, headers=headers),
    "load_by_fortio": lambda url, headers: probes.load_by_fortio(url, count=2, connections=1, headers=headers),
    "response_time": lambda url, headers: probes.response_time(url, count=2, rate=100.0, headers=headers),
}


@pytest.fixture(params=LOADS)
def loaded(request):
    if request.param == "load_by_fortio" and tools.find("fortio") is None:
        pytest.skip("fortio is not built: chaos mesh lab tools --only fortio")
    return LOADS[request.param]


def test_a_load_carries_the_runs_token_where_its_headers_ask_for_it(shop, run, loaded):
    """A load against a callee that asks for tokens is a load, and not so many refusals."""
    run.tokens = Tokens("chaosmesh-1", "{}", "Chaosmesh good.one.x", "Chaosmesh broken.one.x")
    loaded(shop.url, {"authorization": GOOD, "jwt": ASK_BROKEN})
    assert len(shop.seen) == 2
    for seen in shop.seen:
        assert (seen["authorization"], seen["jwt"]) == (run.tokens.good, run.tokens.broken)


def test_a_load_that_asks_for_a_token_that_nobody_made_is_refused(shop, loaded):
    with pytest.raises(InvalidInput, match="no require_jwt of this run"):
        loaded(shop.url, {"authorization": GOOD})
    assert shop.seen == []


def test_marked_loads_count_for_the_run_and_others_do_not(shop, run):
    """What met the run's faults must be known to it: its audit would take them for strangers."""
    probes.load(shop.url, count=5)
    assert len(run.requests.control) == 5
    assert all("tracestate" in headers for headers in shop.seen)
    shop.seen.clear()
    probes.load(shop.url, count=5, marked=False)
    assert len(run.requests.control) == 5
    assert not any("tracestate" in headers for headers in shop.seen)


def test_a_marked_load_belongs_to_the_live_cell(shop, faulted):
    probes.load(shop.url, count=5)
    assert len(faulted._cells.every[0].answers) == 5
    assert not faulted.requests.control


def test_what_probes_send_is_the_runs_own_from_before_it_is_sent(shop, faulted):
    """An interrupt in the middle of a load takes its answers, and the audit must know whose the requests were."""
    known = []
    shop.hurt = lambda: (known.append(len(faulted.requests._begun["1"])), (200, PAGE))[1]
    probes.load(shop.url, count=3, connections=1)
    probes.header(shop.url, "x-version")
    probes.response_time(shop.url, count=2, rate=100)
    assert known[:4] == [1, 2, 3, 4]
    assert len(faulted.requests._begun["1"]) == len(shop.seen) == 6


@pytest.mark.parametrize("probe", [probes.response_time, probes.sections, probes.against_control])
def test_more_requests_than_a_run_can_send_are_refused(shop, probe):
    with pytest.raises(InvalidInput, match="count is 1000000000000: give 1000000 at most"):
        probe(shop.url, count=10**12)
    assert not shop.seen


def test_a_load_for_ever_is_refused(shop):
    with pytest.raises(InvalidInput, match="2000000 requests are more than 1000000"):
        probes.load(shop.url, duration=200, rate=10000, marked=False)


def test_a_marked_load_is_not_without_bounds(shop):
    with pytest.raises(InvalidInput, match="1001 marked requests"):
        probes.load(shop.url, count=1001)
    with pytest.raises(InvalidInput, match="6000 marked requests"):
        probes.load(shop.url, duration=60, rate=100)
    assert not shop.seen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "needs an end"),
        ({"count": "many"}, "count is 'many'"),
        ({"count": 5, "connections": True}, "connections is True"),
        ({"count": 5, "rate": "fast"}, "rate is 'fast'"),
        ({"count": 5, "count_headers": "x-a"}, "count_headers"),
    ],
)
def test_a_load_that_cannot_be_is_refused_before_anything_is_sent(shop, arguments, words):
    with pytest.raises(InvalidInput, match=words):
        probes.load(shop.url, **arguments)
    assert not shop.seen


def test_fortio_takes_one_end(shop):
    with pytest.raises(InvalidInput, match="not both"):
        probes.load_by_fortio(shop.url, count=5, duration=5)
    with pytest.raises(InvalidInput, match="is no program"):
        probes.load_by_fortio(shop.url, count=5, program="/nowhere/fortio")


def test_a_path_is_taken_on_the_configurations_origin(shop):
    assert probes.load("/", count=1, configuration={"app_url": shop.url})["statuses"] == {"200": 1}
    assert probes.header("/", "x-version", configuration={"app_url": shop.url}) == "v1"


def test_response_time_at_a_rate_counts_from_when_users_would_have_come(shop):
    def slowly():
        time.sleep(0.05)
        return 200, PAGE

    shop.usual = slowly
    found = probes.response_time(shop.url, count=10, rate=50, quantile=[0.5, 1])
    assert 0.05 <= found[0] <= found[1]
    assert len(shop.seen) == 10


def test_response_time_over_a_duration_sends_one_after_the_other(shop):
    assert probes.response_time(shop.url, duration=2, marked=False) < 2
    assert len(shop.seen) > 1


def test_errors_do_not_pass_for_speed_at_a_rate_either(shop):
    shop.usual = lambda: (503, b"")
    with pytest.raises(Weakness, match=r"4 of 4 answers were not 200, e\.g\. 503"):
        probes.response_time(shop.url, count=4, rate=100)


def test_a_header_is_its_text_or_empty(shop):
    assert probes.header(shop.url, "X-Version") == "v1"
    assert probes.header(shop.url, "x-envoy-overloaded") == ""
    shop.usual = lambda: (503, b"")
    assert probes.header(shop.url, "x-envoy-overloaded") == "true"


def test_a_header_of_no_answer_is_no_empty_text(shop):
    with pytest.raises(Weakness, match="no answer"):
        probes.header("http://127.0.0.1:9/", "x-version")
    shop.usual = lambda: (404, b"")
    with pytest.raises(Weakness, match=r"not 200, e\.g\. 404"):
        probes.header(shop.url, "x-version", expected_status=200)
    with pytest.raises(InvalidInput, match="name"):
        probes.header(shop.url, " ")


def test_what_a_fault_does_is_told_against_the_control(shop, faulted):
    """Whatever else is slow or broken today is so for both."""

    def hurt():
        time.sleep(0.1)
        return 200, BROKEN

    shop.hurt = hurt
    found = probes.against_control(shop.url, count=3)
    assert found["statuses"] == found["control_statuses"] == {"200": 3}
    assert 0.08 < found["slower_by"] < 1
    assert "Book Details" in found["lost"]
    assert "Sorry" in found["gained"]
    assert (len(faulted._cells.every[0].answers), len(faulted.requests.control)) == (3, 3)


def test_without_a_fault_both_are_the_same(shop):
    found = probes.against_control(shop.url, count=2)
    assert (found["lost"], found["gained"]) == ([], [])


def test_a_control_that_fails_compares_nothing(shop, faulted):
    shop.usual = lambda: (503, b"")
    with pytest.raises(Inconclusive, match=r"control request was not answered with success \(503\)"):
        probes.against_control(shop.url)


@pytest.mark.parametrize(
    "ask",
    [
        probes.status,
        probes.header,
        probes.sections,
        lambda url, **more: probes.status(url, marked=False, **more),
        lambda url, **more: probes.load(url, count=2, **more),
        lambda url, **more: probes.response_time(url, count=2, rate=10, **more),
    ],
)
def test_a_host_without_an_address_says_nothing_of_the_application(ask, monkeypatch):
    """A slip in a name would pass for an application that is down: a weakness."""

    def unknown(*_args, **_more):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    more = {"name": "x"} if ask is probes.header else {}
    with pytest.raises(Unreachable, match=r"no address is known for shop.invalid: .*Name or service not known; check"):
        ask("http://shop.invalid/", **more)
