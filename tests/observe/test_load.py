"""A load against real servers: what comes back, how many at once, and when latency begins to count."""

from __future__ import annotations

import stat
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.model import Marker
from chaosmesh_ext.observe import fortio
from chaosmesh_ext.observe.load import Load, send
from chaosmesh_ext.settings import Settings, program


class Crowd:
    """Answers after `pause` seconds; `most` is how many it saw at once, `peers` from which connections they came."""

    def __init__(self, told, pause: float = 0.0, status: int = 200) -> None:
        self.pause, self.status, self.now, self.most = pause, status, 0, 0
        self.peers: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        told.answer = self.answer

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.peers.add(handler.client_address)
        time.sleep(self.pause)
        with self._lock:
            self.now -= 1
        handler.send_response(self.status)
        handler.send_header("content-length", "2")
        handler.send_header("x-envoy-overloaded", "true")
        handler.end_headers()
        handler.wfile.write(b"ok")


def test_fifty_requests_go_over_four_connections_and_no_more(told):
    """A circuit breaker's threshold is a number of requests at once: one more would open another breaker."""
    crowd = Crowd(told, pause=0.01)
    outcome = send(Load(told.url, count=50, connections=4), None)
    assert len(outcome.calls) == len(told.asked) == 50
    assert crowd.most == 4
    assert len(crowd.peers) == 4
    assert {call.answer.status for call in outcome.calls} == {200}


def test_fewer_requests_than_connections_are_sent_once_each(told):
    Crowd(told)
    assert len(send(Load(told.url, count=2, connections=9), None).calls) == 2


def test_a_duration_ends_the_load(told):
    Crowd(told, pause=0.02)
    outcome = send(Load(told.url, duration=0.5, connections=2), None)
    assert 0.4 < outcome.seconds < 30
    assert 2 < len(outcome.calls) == len(told.asked)


def test_at_a_rate_a_stall_is_seen_by_all_who_would_have_waited(told):
    """Coordinated omission: timed from when it was sent, only the one request that met the stall would be slow."""
    stall = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if not stall.is_set():
            stall.set()
            time.sleep(1.5)
        handler.send_response(200)
        handler.send_header("content-length", "0")
        handler.end_headers()

    told.answer = answer
    outcome = send(Load(told.url, count=20, rate=20.0, connections=1), None)
    assert sum(call.latency > 0.6 for call in outcome.calls) >= 10
    assert sum(call.answer.duration > 0.6 for call in outcome.calls) < 4


def test_a_rate_is_kept(told):
    Crowd(told)
    outcome = send(Load(told.url, duration=0.5, rate=40.0, connections=4), None)
    assert len(outcome.calls) == 20
    assert outcome.seconds >= 0.4


def test_requests_for_which_no_connection_came_free_are_told_and_not_dropped(told):
    """Whoever leaves them out measures the requests that went well."""
    Crowd(told, pause=0.5)
    outcome = send(Load(told.url, count=10, rate=100.0, connections=1, timeout=0.3), None)
    unsent = [call for call in outcome.calls if not call.sent]
    assert len(outcome.calls) == 10
    assert unsent
    assert all(call.answer.status == 0 and "no connection was free" in call.answer.error for call in unsent)
    assert all(call.latency >= 0.3 for call in unsent)


def test_nobody_there_is_an_answer_without_a_status(free_host):
    outcome = send(Load(f"http://{free_host(80)}/", count=3, connections=2), None)
    assert [call.answer.status for call in outcome.calls] == [0, 0, 0]
    assert all(call.answer.error for call in outcome.calls)


def test_each_request_is_marked_with_a_trace_of_its_own(told):
    Crowd(told)
    outcome = send(Load(told.url, count=5, connections=2), Marker("0badcafe", "1"))
    assert {headers["tracestate"] for _, _, headers in told.asked} == {"chaosmesh=0badcafe-1"}
    assert len({headers["traceparent"] for _, _, headers in told.asked}) == 5
    assert len({call.answer.trace_id for call in outcome.calls}) == 5


def test_what_cannot_be_sent_ends_the_load(told):
    Crowd(told)
    with pytest.raises(InvalidInput, match="line break"):
        send(Load(told.url, count=50, connections=4, headers={"x-a": "b\nc"}), None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "needs an end"),
        ({"count": 0}, "count is 0"),
        ({"count": 1.5}, "count is 1.5"),
        ({"duration": 0}, "duration is 0"),
        ({"duration": float("inf")}, "duration is inf"),
        ({"count": 1, "rate": -1}, "rate is -1"),
        ({"count": 1, "timeout": 0}, "timeout is 0"),
        ({"count": 1, "connections": 0}, "connections is 0"),
        ({"count": 1, "connections": 1000}, "connections is 1000"),
    ],
)
def test_a_load_that_cannot_be_is_refused(arguments, words):
    with pytest.raises(InvalidInput, match=words):
        Load("http://127.0.0.1:9", **arguments)


# --- Fortio -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    try:
        return program("fortio", Settings())
    except InvalidInput as error:
        pytest.skip(str(error))


def test_fortios_codes_are_counted(told, real):
    Crowd(told, status=503)
    found = fortio.run(real, Load(told.url, count=20, connections=4))
    assert found.statuses == {503: 20}
    assert found.latency["errors"]["p50"] <= found.latency["all"]["max"] < 5
    assert 0 < found.seconds < 10


def test_a_fortio_that_never_connected_says_so_by_its_codes(free_host, real):
    """It exits with 0 all the same (measured)."""
    found = fortio.run(real, Load(f"http://{free_host(80)}/", count=4, connections=2))
    assert found.statuses == {0: 4}


def test_fortio_sends_what_was_asked(told, real):
    Crowd(told)
    found = fortio.run(real, Load(told.url, duration=0.5, rate=20.0, connections=2, headers={"end-user": "jason"}))
    assert 5 <= sum(found.statuses.values()) <= 12
    assert all(headers["end-user"] == "jason" for _, _, headers in told.asked)


@pytest.mark.parametrize(
    ("script", "words"), [("echo hello", "exit code 0"), ("echo no such flag >&2; exit 1", "no such flag")]
)
def test_a_program_that_is_no_fortio_says_nothing(tmp_path, script, words):
    fake = tmp_path / "fortio"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(Inconclusive, match=words):
        fortio.run(fake, Load("http://127.0.0.1:9", count=1))


def test_a_program_is_found_where_it_was_named_on_path_or_built(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(InvalidInput, match="chaos mesh lab tools --only fortio"):
        program("fortio", Settings())
    places = [
        tmp_path / "cache" / "chaosmesh-ext" / "tools" / "bin",
        tmp_path / "tools" / "bin",
        tmp_path / "path",
        tmp_path,
    ]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        (place / "fortio").write_text("#!/bin/sh\n")
        (place / "fortio").chmod(0o700)
        settings = Settings() if place == places[0] else Settings(tools=str(tmp_path / "tools"))
        given = str(place / "fortio") if place == tmp_path else ""
        assert program("fortio", settings, given) == place / "fortio"
    with pytest.raises(InvalidInput, match="is no program"):
        program("fortio", Settings(), str(tmp_path / "nothing"))
