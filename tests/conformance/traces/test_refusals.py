"""Traces: refusals."""

from __future__ import annotations

import pytest

_BAD = [
    "/api/traces",
    "/api/traces?service=",
    "/api/traces?service=x&limit=zz",
    "/api/traces?service=x&limit=1.5",
    "/api/traces?service=x&limit=%2B",
    "/api/traces?service=x&limit=1_000",
    "/api/traces?service=x&limit=%D9%A3",
    "/api/traces?service=x&limit=2147483648",
    "/api/traces?service=x&start=zz",
    "/api/traces?service=x&start=1.5e3",
    "/api/traces?service=x&end=2026-01-01",
    "/api/traces?service=x&start=9223372036854775808",
    "/api/traces?service=x&minDuration=5",
    "/api/traces?service=x&minDuration=5x",
    "/api/traces?service=x&minDuration=1e3s",
    "/api/traces?service=x&minDuration=s",
    "/api/traces?service=x&minDuration=.s",
    "/api/traces?service=x&minDuration=-",
    "/api/traces?service=x&minDuration=%C3%BC",
    "/api/traces?service=x&minDuration=9999999999h",
    "/api/traces?service=x&maxDuration=zz",
    "/api/traces?service=x&minDuration=2s&maxDuration=1s",
    "/api/traces?service=x&minDuration=2s&maxDuration=-1s",
    "/api/traces?service=x&tag=a",
    "/api/traces?service=x&tag=",
    "/api/traces?service=x&tags=",
    "/api/traces?service=x&tags=x",
    "/api/traces?service=x&tags=%7B",
    "/api/traces?service=x&tags=%7B%22a%22",
    "/api/traces?service=x&tags=%7B%22a%22%20x",
    "/api/traces?service=x&tags=%7Ba%7D",
    "/api/traces?service=x&tags=%7B%22a%22:x%7D",
    "/api/traces?service=x&tags=%7B%22a%22:%22b%22x%7D",
    "/api/traces?service=x&tags=%7B%22a%22:%22b%22,%7D",
    "/api/traces?service=x&tags=%7B%22a%22:%22b%22%7Dx",
    "/api/traces?service=x&tags=%7B%22a%22:1%7D",
    "/api/traces?service=x&tags=%7B%22a%22:true%7D",
    "/api/traces?service=x&tags=%7B%22a%22:%5B%5D%7D",
    "/api/traces?service=x&tags=%7B%22a%22:%7B%7D%7D",
    "/api/traces?service=x&tags=%5B1%5D",
    "/api/traces?service=x&tags=3",
    "/api/traces?service=x&tags=true",
    "/api/traces?service=x&tags=%22x%22",
    "/api/traces?service=x&raw=x",
    "/api/traces?traceID=zz",
    "/api/traces?traceID=",
    "/api/traces?traceID=1&traceID=zz",
    "/api/traces?traceID=1&start=zz",
    "/api/traces?traceID=1&raw=zz",
    "/api/traces/zz",
    "/api/traces/%20",
    "/api/traces/-1",
    "/api/traces/0x1",
    "/api/traces/111112222233333444445555566666777",
    "/api/traces/zz111112222233333444",
    "/api/traces/1?start=zz",
    "/api/traces/1?end=zz",
    "/api/traces/1?raw=zz",
    "/api/operations",
    "/api/operations?service=&spanKind=client",
    "/api/dependencies?endTs=x",
    "/api/dependencies?endTs=1.5",
    "/api/dependencies?lookback=1h",
]


@pytest.mark.parametrize("path", _BAD)
def test_bad_parameter(store, seen, path):
    """GET {path}"""
    answer = store.fetch(store.url + path)
    assert (answer.status, answer.kind) == (400, "text/plain; charset=utf-8")
    body = answer.json
    (error,) = body.pop("errors")
    assert body == {"data": None, "total": 0, "limit": 0, "offset": 0}
    assert (error["code"], sorted(error)) == (400, ["code", "msg"])
    assert answer.body == answer.body.strip() + b"\n"
    seen(answer.words)


@pytest.mark.parametrize(
    "query",
    [
        "start=zz&limit=zz&tags=zz&minDuration=zz&traceID=zz&raw=zz",
        "limit=zz&tags=zz&minDuration=zz&traceID=zz&raw=zz",
        "limit=zz&minDuration=zz&traceID=zz&raw=zz",
        "minDuration=zz&maxDuration=zz&traceID=zz&raw=zz",
        "traceID=zz&raw=zz",
        "raw=zz",
    ],
)
def test_first_fault(store, seen, query):
    """Of several faults the first is told: {query}"""
    answer = store.fetch(f"{store.url}/api/traces?{query}")
    assert answer.status == 400
    seen(answer.words)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/nosuch",
        "/api/traces/",
        "/api/services/",
        "/api/services/x",
        "/api/trace/1",
        "/jaeger/api/services",
    ],
)
def test_unknown_path(store, seen, path):
    """GET {path} is the page of the user interface"""
    answer = store.fetch(store.url + path)
    assert (answer.status, answer.kind) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!DOCTYPE html>")
    seen(answer.words)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_method(store, seen, method):
    """{method} on a path that wants GET"""
    found = [store.fetch(store.url + path, method=method) for path in ("/api/services", "/api/traces", "/api/traces/1")]
    assert {(each.status, each.body) for each in found} == {(405, b"")}
    seen("405 without a body")


@pytest.mark.parametrize("path", ["//api/services", "/api//services", "/api/services//operations"])
def test_two_slashes(store, seen, path):
    """GET {path} leads to the path with one slash"""
    import http.client
    import urllib.parse

    connection = http.client.HTTPConnection(urllib.parse.urlsplit(store.url).netloc, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    location = answer.headers["location"]
    assert (answer.status, location) == (301, path.replace("//", "/"))
    seen(f"{answer.status} {location}")


@pytest.mark.differs("Nothing that reads the lab's traces asks for these; the embedded store says so")
@pytest.mark.parametrize(
    "path", ["/api/v3/operations?service=x", "/api/deep-dependencies?service=x", "/api/quality-metrics?service=x"]
)
def test_other_calls(store, seen, path):
    """GET {path}"""
    answer = store.fetch(store.url + path)
    assert answer.status == (501 if store.side == "embedded" else 200)
    seen(answer.words if store.side == "embedded" else "200")


def test_metrics(store, seen):
    """GET /api/metrics/calls is switched off."""
    answer = store.get("/api/metrics/calls", service="x")
    assert answer.status == 501
    seen(answer.words)
