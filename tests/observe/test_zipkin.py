"""Zipkin's replies: of a real server where there is one, and shapes that were seen on it."""

from __future__ import annotations

import json
import secrets
import time
import urllib.parse
import urllib.request

import pytest
from zipkin_server import find_jar, running

from chaosmesh_ext.errors import InvalidInput, Unreachable
from chaosmesh_ext.model import Workload
from chaosmesh_ext.observe.stores import store_at
from chaosmesh_ext.observe.zipkin import Zipkin
from chaosmesh_ext.settings import Settings

TRACE = "5af7183fb1d4cf5f5af7183fb1d4cf5f"
NODE = "sidecar~10.0.0.7~productpage-v1-7c6f9d-x2x.shop~shop.svc.cluster.local"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def by_path(told, answers: dict[str, object]) -> None:
    """Each path has its answer, others are 404."""

    def answer(handler):
        found = answers.get(handler.path.split("?")[0])
        told.says(404 if found is None else 200, found if found is not None else "404 Not Found")
        chosen = told.answer
        told.answer = answer
        chosen(handler)

    told.answer = answer


# --- shapes -----------------------------------------------------------------------------------------------------------


def test_a_client_and_a_server_that_share_an_id_are_two_spans(told, sample):
    """Else the call would be its own parent, and the callee's time the caller's."""
    told.says(200, sample("zipkin/trace.json"))
    trace = Zipkin(told.url).trace(TRACE)
    client, server, below = trace.spans
    assert [span.kind for span in trace.spans] == ["CLIENT", "SERVER", "SERVER"]
    assert trace.roots == (client,)
    assert trace.parent(server) is client
    assert trace.parent(below) is server
    assert (client.span_id, client.peer, client.workload.service) == ("352bff9a74ca9ad2", "backend", "frontend")
    assert len({span.span_id for span in trace.spans}) == 3
    assert (client.status, client.error, server.error) == (500, True, False)
    assert (round(client.start * 1e6), client.duration) == (1795248622479230, 0.001431)


def test_an_error_without_words_is_one(told):
    span = {"traceId": "ab", "id": "1", "timestamp": 1, "localEndpoint": {"serviceName": "a"}}
    told.says(200, [{**span, "tags": {"error": ""}}])
    assert Zipkin(told.url).trace("ab").spans[0].error
    told.says(200, [{**span, "tags": {"error": "false"}}])
    assert not Zipkin(told.url).trace("ab").spans[0].error


def test_pieces_of_a_span_are_put_together_and_a_span_without_a_time_is_left_out(told):
    base = {"traceId": "ab", "id": "1", "localEndpoint": {"serviceName": "a"}}
    early = {**base, "kind": "CLIENT", "timestamp": 5_000_000, "tags": {"http.method": "GET"}}
    late = {**base, "name": "op", "duration": 7, "tags": {"http.status_code": "503"}}
    told.says(200, [late, early, {"traceId": "ab", "id": "2"}])
    (span,) = Zipkin(told.url).trace("ab").spans
    assert (span.operation, span.start, span.duration, span.method, span.status) == ("op", 5.0, 7e-6, "GET", 503)


def test_several_traces_are_asked_for_at_once_but_never_one_alone(told):
    """Zipkin refuses one id, and one id twice."""
    told.says(200, [])
    assert Zipkin(told.url).many(["ab", "AB", "0ab"]) == {}
    assert told.asked[-1][1] == "/api/v2/trace/00000000000000ab"
    Zipkin(told.url).many([f"{number:x}" for number in range(1, 42)])
    sizes = [len(urllib.parse.unquote(path).split(",")) for _, path, _ in told.asked[1:]]
    assert sizes == [39, 2]


def test_a_search_says_milliseconds_and_a_limit(told):
    """Zipkin's own limit is ten."""
    told.says(200, [])
    Zipkin(told.url, headers={"authorization": "Bearer x"}).search("A", start=100.5, end=101.0004, operation="Op")
    _, path, headers = told.asked[0]
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query))
    assert query == {"serviceName": "A", "endTs": "101001", "lookback": "60501", "limit": "100", "spanName": "Op"}
    assert headers["authorization"] == "Bearer x"


def test_a_trace_of_before_counts_only_with_a_span_of_the_service_in_time(told):
    def span(number, at, service):
        return {"traceId": "ab", "id": str(number), "timestamp": at, "localEndpoint": {"serviceName": service}}

    told.says(200, [[span(1, 95_000_000, "edge"), span(2, 100_600_000, "a")]])
    assert len(Zipkin(told.url).search("A", start=100.5, end=101)) == 1
    assert Zipkin(told.url).search("A", start=100.7, end=101) == []
    assert Zipkin(told.url).search("edge", start=100.5, end=101) == []


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (400, "limit <= 0", InvalidInput, "refused the question: limit <= 0"),
        (401, "", Unreachable, "wants credentials.*ZIPKIN_TOKEN"),
        (500, "boom", Unreachable, "answered 500: boom"),
        (200, '{"data": []}', Unreachable, "is not what Zipkin answers"),
        (200, "<html>", Unreachable, "is not what Zipkin answers"),
        (404, "404 Not Found", Unreachable, "answered 404.*check ZIPKIN_URL"),
    ],
)
def test_what_is_no_answer_is_an_error_of_one_line(told, status, body, error, words):
    told.says(status, body, "text/plain")
    with pytest.raises(error, match=words) as raised:
        Zipkin(told.url).search("a", start=0, end=1)
    assert "\n" not in str(raised.value)


def test_sense_is_asked_of_url_id_and_limit(told, free_host):
    with pytest.raises(InvalidInput, match="set ZIPKIN_URL"):
        Zipkin("localhost:9411")
    with pytest.raises(InvalidInput, match="not a trace id"):
        Zipkin(told.url).many(["zz"])
    with pytest.raises(InvalidInput, match="at least one"):
        Zipkin(told.url).search("a", start=0, end=1, limit=0)
    with pytest.raises(Unreachable, match="cannot be reached"):
        Zipkin(f"http://{free_host(9411)}:9411").services()
    assert not told.asked


# --- a real one -------------------------------------------------------------------------------------------------------


class Real:
    """A real Zipkin, and spans sent to it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def send(self, *spans: dict) -> None:
        """Send them, and wait until the last trace is there."""
        body = json.dumps(spans).encode()
        request = urllib.request.Request(
            f"{self.url}/api/v2/spans", body, {"content-type": "application/json"}, method="POST"
        )
        with OPENER.open(request, timeout=10) as reply:
            assert reply.status == 202
        count = sum(span["traceId"] == spans[-1]["traceId"] for span in spans)
        deadline = time.monotonic() + 60
        while True:
            found = Zipkin(self.url).trace(spans[-1]["traceId"])
            if found is not None and len(found.spans) == count:
                return
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture(scope="module")
def zipkin(free_host, tmp_path_factory):
    jar = find_jar()
    if isinstance(jar, str):
        pytest.skip(jar)
    with running(jar, free_host(9411), 9411, tmp_path_factory.mktemp("zipkin") / "log") as url:
        yield Real(url)


def call(trace: str, service: str, **more: object) -> list[dict]:
    """A sidecar's call as Envoy tells Zipkin of it, and the server's side, which shares its id."""
    now = int(time.time() * 1e6) - 2_000_000
    tags = {
        "component": "proxy",
        "node_id": NODE,
        "http.method": "GET",
        "http.url": "http://details:9080/details/0",
        "http.status_code": "503",
        "response_flags": "DI",
        "upstream_cluster": "outbound|9080||details.shop.svc.cluster.local;",
        "error": "true",
    }
    client = {
        "traceId": trace, "id": "00000000000000a1", "kind": "CLIENT", "name": "Details.shop:9080/*", "timestamp": now,
        "duration": 9000, "localEndpoint": {"serviceName": service}, "tags": tags,
    }  # fmt: skip
    server = {
        "traceId": trace, "id": "00000000000000a1", "kind": "SERVER", "name": "details.shop:9080/*",
        "timestamp": now + 1000, "duration": 5000, "shared": True, "localEndpoint": {"serviceName": "details.shop"},
        "tags": {"component": "proxy", "response_flags": "-", "http.status_code": "200"}, **more,
    }  # fmt: skip
    return [client, server]


def test_a_real_zipkin_tells_a_call_as_a_sidecar_saw_it(zipkin):
    trace_id = secrets.token_hex(16)
    zipkin.send(*call(trace_id, "productpage.shop"))
    trace = Zipkin(zipkin.url).trace(trace_id.upper())
    client, server = trace.spans
    assert (client.workload, client.peer) == (Workload("productpage", "v1", "shop"), "details")
    assert (client.status, client.flags, client.error, client.proxy) == (503, {"DI"}, True, True)
    assert client.operation == "details.shop:9080/*"
    assert trace.parent(server) is client
    assert Zipkin(zipkin.url).trace(trace_id[16:]) is None, "the low half is no id"


def test_a_real_zipkin_is_searched_and_asked_for_many(zipkin):
    service = f"S{secrets.token_hex(4)}.Shop"
    ids = [secrets.token_hex(16), secrets.token_hex(8)]
    for trace_id in ids:
        zipkin.send(*call(trace_id, service))
    store = Zipkin(zipkin.url)
    now = time.time()
    assert service.lower() in store.services() == sorted(store.services())
    assert store.operations(service) == ["details.shop:9080/*"]
    found = store.search(service, start=now - 60, end=now)
    assert sorted(trace.trace_id for trace in found) == sorted(each.zfill(32) for each in ids)
    assert store.search(service, start=now - 60, end=now - 30) == []
    assert len(store.search(service, start=now - 60, end=now, limit=1)) == 1
    assert len(store.search(service, start=now - 60, end=now, operation="DETAILS.shop:9080/*")) == 2
    assert list(store.many([*ids, "77"])) == ids
    assert list(store.many(ids[:1])) == ids[:1]


def test_a_real_zipkin_is_known_by_asking(zipkin):
    assert isinstance(store_at(Settings(), zipkin.url), Zipkin)
    assert isinstance(store_at(Settings(), f"{zipkin.url}/zipkin/"), Zipkin)
    with pytest.raises(InvalidInput, match="at least one"):
        Zipkin(zipkin.url).search("a", start=0, end=1, limit=0)
