"""Requests of ours, against a real server."""

from __future__ import annotations

import gzip
import time

import pytest

from chaosmesh_ext.errors import InvalidInput, Unreachable
from chaosmesh_ext.model import Marker
from chaosmesh_ext.observe import http
from chaosmesh_ext.observe.http import request
from chaosmesh_ext.observe.jaeger import Jaeger
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.reach import is_loopback

MARKER = Marker("0a1b2c3d", "4")


def test_a_marked_request_carries_its_marker_and_a_trace_id_of_its_own(told):
    told.says(200, {"a": 1})
    first, _ = request(told.url, MARKER, headers={"end-user": "jason"})
    second, _ = request(told.url, MARKER)
    sent = told.asked[0][2]
    assert sent["tracestate"] == "chaosmesh=0a1b2c3d-4"
    assert sent["traceparent"].startswith(f"00-{first.trace_id}-")
    assert sent["x-client-trace-id"] == first.trace_id
    assert sent["end-user"] == "jason"
    assert first.trace_id != second.trace_id
    assert (first.status, first.size, first.error) == (200, 7, "") or first.size == 8
    assert list(first.sections) == ["a"]


def test_a_host_that_is_given_stands_for_the_urls_own(told):
    """A gateway on a forwarded port tells its virtual hosts by it."""
    told.says(204, "")
    request(told.url, MARKER, headers={"host": "shop.example.org"})
    assert told.asked[0][2]["host"] == "shop.example.org"


def test_an_unmarked_request_is_nobodys(told):
    told.says(204, "")
    answer, response = request(told.url + "/x?y=1", None, method="post", body="form")
    assert answer.trace_id == ""
    assert "traceparent" not in told.asked[0][2]
    assert told.asked[0][:2] == ("POST", "/x?y=1")
    assert (answer.status, response.body) == (204, b"")


def test_time_is_taken_to_the_last_byte(told):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("content-length", "2")
        handler.end_headers()
        handler.wfile.write(b"a")
        handler.wfile.flush()
        time.sleep(0.15)
        handler.wfile.write(b"b")

    told.answer = answer
    before = time.time()
    answer, _ = request(told.url, None)
    assert answer.duration >= 0.15
    assert before - 0.01 <= answer.started <= time.time() - answer.duration + 0.01


def test_a_refused_connection_is_an_answer_with_status_0(free_host):
    answer, response = request(f"http://{free_host(8080)}:8080/", MARKER)
    assert (answer.status, response.status) == (0, 0)
    assert "refused" in answer.error
    assert answer.trace_id


def test_silence_is_an_answer_with_status_0(told):
    told.answer = lambda _handler: time.sleep(2.0)
    answer, _ = request(told.url, MARKER, timeout=0.1)
    assert (answer.status, answer.error) == (0, "no answer within 0.1 s")
    assert answer.duration < 1.9


def test_a_body_that_drips_is_cut_when_the_time_is_over(told):
    """A limit for each read would let a slow server take for ever."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("content-length", "100")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"a")
            handler.wfile.flush()
            time.sleep(0.05)

    told.answer = answer
    answer, _ = request(told.url, MARKER, timeout=1.5)
    assert answer.status == 200
    assert answer.error == "the body was not whole after 1.5 s"


def test_a_body_that_breaks_off_keeps_its_status_and_says_so(told):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("content-length", "100")
        handler.end_headers()
        handler.wfile.write(b"abc")
        handler.close_connection = True

    told.answer = answer
    answer, response = request(told.url, MARKER)
    assert answer.status == 200
    assert answer.error.startswith("the body broke off after 3 bytes")
    assert response.body == b"abc"


def test_a_body_without_end_is_cut_and_said_to_be(told, monkeypatch):
    monkeypatch.setattr(http, "MOST", 1000)
    told.says(200, b"x" * 5000, "text/plain")
    answer, response = request(told.url, MARKER)
    assert (answer.size, len(response.body), response.cut) == (1000, 1000, True)
    assert "longer than 1000 bytes" in answer.error


def test_a_packed_body_is_unpacked(told):
    data = gzip.compress(b"<h1>Hi</h1>there")

    def answer(handler):
        handler.send_response(200)
        for name, value in (("content-encoding", "gzip"), ("content-type", "text/html"), ("content-length", len(data))):
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(data)

    told.answer = answer
    answer, response = request(told.url, None)
    assert response.body == b"<h1>Hi</h1>there"
    assert list(answer.sections) == ["Hi"]


def test_a_redirect_is_an_answer_unless_it_shall_be_followed(told):
    def answer(handler):
        handler.send_response(302 if handler.path == "/" else 200)
        handler.send_header("location", "/there")
        handler.send_header("content-length", "0")
        handler.end_headers()

    told.answer = answer
    answer, response = request(told.url + "/", None)
    assert (answer.status, response.headers["location"]) == (302, "/there")
    assert request(told.url + "/", None, follow_redirects=True)[0].status == 200


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_loopback_is_never_behind_a_proxy(told, monkeypatch, name):
    """A proxy would answer for the application under test."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    told.says(200, "ok", "text/plain")
    assert request(told.url, MARKER)[0].status == 200


def test_other_hosts_are_asked_through_the_proxy_of_the_environment(told, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", told.url)
    told.says(200, "ok", "text/plain")
    assert request("http://shop.example/", MARKER)[0].status == 200
    assert told.asked[0][1] == "http://shop.example/"


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://x/", "http://", "http://[::1", "http://x:99999/", "http://a b/", "nonsense"]
)
def test_a_malformed_url_is_refused(url):
    with pytest.raises(InvalidInput, match="is not a"):
        request(url, MARKER)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"a b": "c"}, "'a b' is no header's name"),
        ({"a": "b\nc"}, "the header a holds a line break"),
        ({"a": "☃"}, "the header a holds letters beyond ASCII"),
    ],
)
def test_a_malformed_header_is_refused(told, headers, words):
    with pytest.raises(InvalidInput, match=f"cannot be sent: {words}"):
        request(told.url, MARKER, headers=headers)


@pytest.mark.parametrize(
    ("host", "mine"),
    [
        ("localhost", True),
        ("a.localhost.", True),
        ("127.80.1.1", True),
        ("[::1]", True),
        ("10.0.0.1", False),
        ("x", False),
    ],
)
def test_loopback_has_several_names(host, mine):
    assert is_loopback(host) is mine


@pytest.mark.parametrize("value", ["Bearer s3cret\n", "Bearer s3cret ", "Bearer \x00s3cret", "Bearer s3cr\u00e9t"])
def test_a_header_that_cannot_be_sent_is_named_and_not_shown(told, value):
    """A token read from a file often ends with a line break."""
    with pytest.raises(InvalidInput) as refused:
        request(told.url, MARKER, headers={"authorization": value})
    assert "s3cr" not in str(refused.value)
    assert told.asked == []


@pytest.mark.parametrize("value", ["", "a", "a b", "a\tb", "session=1; x=2"])
def test_headers_may_hold_what_http_allows(told, value):
    told.says(200, "")
    request(told.url, MARKER, headers={"cookie": value})
    assert told.asked[0][2]["cookie"] == value


def test_a_password_in_a_url_is_sent_and_never_shown(told):
    told.says(200, "")
    answer, _ = request(told.url.replace("://", "://user:s3cr%65t@"), MARKER)
    assert told.asked[0][2]["authorization"] == "Basic dXNlcjpzM2NyZXQ="
    assert answer.url == told.url
    gone, _ = request("http://user:s3cret@127.0.0.1:1/", MARKER)
    assert "s3cret" not in repr(gone)


@pytest.mark.parametrize("source", [Jaeger, Prometheus])
def test_a_password_in_a_sources_url_is_sent_and_never_shown(told, source):
    told.says(503, "")
    one = source(told.url.replace("://", "://user:s3cret@"))
    with pytest.raises(Unreachable) as refused:
        one.services() if source is Jaeger else one.scalar("up")
    assert told.asked[0][2]["authorization"] == "Basic dXNlcjpzM2NyZXQ="
    assert "s3cret" not in str(refused.value)
