"""Tempo's replies, in the shapes that its documentation and its users show; no real one was asked."""

from __future__ import annotations

import urllib.parse
from base64 import b64encode

import pytest

from chaosmesh_ext.errors import InvalidInput, Unreachable
from chaosmesh_ext.model import Workload
from chaosmesh_ext.observe.tempo import Tempo

TRACE = "000000000000000011112222333388ab"
NODE = "sidecar~10.0.0.7~productpage-v1-7c6f9d-x2x.shop~shop.svc.cluster.local"


def base64(text: str) -> str:
    return b64encode(bytes.fromhex(text)).decode()


def attributes(**values: object) -> list[dict]:
    def value(plain: object) -> dict:
        return {"intValue": str(plain)} if isinstance(plain, int) else {"stringValue": plain}

    return [{"key": key.replace("__", "."), "value": value(plain)} for key, plain in values.items()]


def process(*spans: dict, scope: str = "scopeSpans", **resource: object) -> dict:
    resource = {"service__name": "productpage.shop", **resource}
    return {"resource": {"attributes": attributes(**resource)}, scope: [{"scope": {}, "spans": list(spans)}]}


CLIENT = {
    "traceId": base64(TRACE),
    "spanId": base64("00000000000000a1"),
    "parentSpanId": "",
    "name": "details.shop:9080/*",
    "kind": "SPAN_KIND_CLIENT",
    "startTimeUnixNano": "1795249226657969123",
    "endTimeUnixNano": "1795249226777969123",
    "attributes": attributes(
        component="proxy",
        node_id=NODE,
        http__status_code=503,
        response_flags="UT",
        upstream_cluster="outbound|9080||details.shop.svc.cluster.local;",
    ),
    "status": {"code": "STATUS_CODE_ERROR"},
}
SERVER = {
    **CLIENT,
    "traceId": TRACE,
    "spanId": "00000000000000a2",
    "parentSpanId": "00000000000000A1",
    "kind": 2,
    "attributes": [],
    "status": {},
}


@pytest.fixture
def tempo(told):
    """Tempo with an answer for each path; what is not there is 404."""

    def of(**answers: object) -> Tempo:
        def answer(handler):
            path = handler.path.split("?")[0].removeprefix("/api/")
            found = next((body for name, body in answers.items() if path.startswith(name.replace("_", "/"))), None)
            told.says(404 if found is None else 200, found if found is not None else "trace not found")
            chosen = told.answer
            told.answer = answer
            chosen(handler)

        told.answer = answer
        return Tempo(told.url)

    return of


@pytest.mark.parametrize(
    "answers",
    [
        {"traces": {"batches": [process(CLIENT), process(SERVER)]}},
        {"traces": {"resourceSpans": [process(CLIENT), process(SERVER)]}},
        {"traces": {"batches": [process(CLIENT, SERVER, scope="instrumentationLibrarySpans")]}},
        {"v2_traces": {"trace": {"resourceSpans": [process(CLIENT, SERVER)]}, "status": "COMPLETE"}},
    ],
    ids=["batches", "resourceSpans", "old libraries", "the second API"],
)
def test_a_trace_is_read_in_all_its_shapes(tempo, answers):
    trace = tempo(**answers).trace("11112222333388AB")
    assert trace.trace_id == TRACE
    client, server = trace.spans
    assert (client.span_id, client.parent_id, server.parent_id) == ("00000000000000a1", "", "00000000000000a1")
    assert (client.kind, server.kind) == ("CLIENT", "SERVER")
    assert (client.workload, client.peer) == (Workload("productpage", "v1", "shop"), "details")
    assert (client.status, client.flags, client.error, server.error) == (503, {"UT"}, True, False)
    assert (round(client.start * 1e6), client.duration) == (1795249226657969, 0.12)


def test_what_is_not_there_is_none(tempo, told):
    assert tempo().trace(TRACE) is None
    assert [path for _, path, _ in told.asked] == [f"/api/v2/traces/{TRACE}", f"/api/traces/{TRACE}"]
    assert tempo().many([TRACE, "ab"]) == {}


def test_a_part_of_a_trace_is_no_trace(tempo):
    """A rule would take what is missing for calls that were not made."""
    part = {"trace": {"resourceSpans": [process(CLIENT)]}, "status": "PARTIAL", "message": "too large"}
    with pytest.raises(Unreachable, match=r"only a part of trace .*: too large"):
        tempo(v2_traces=part).trace(TRACE)


def test_where_there_is_no_second_api_it_is_asked_for_once(tempo, told):
    store = tempo(traces={"batches": [process(CLIENT)]})
    assert list(store.many([TRACE, "11112222333388ab"])) == [TRACE, "11112222333388ab"]
    assert sum("/api/v2/" in path for _, path, _ in told.asked) == 1


def test_a_search_gives_whole_traces_by_ids_that_lost_their_zeros(tempo, told):
    summary = {
        "traceID": TRACE.lstrip("0"),
        "rootServiceName": "productpage.shop",
        "rootTraceName": "GET /",
        "startTimeUnixNano": "1795249226657969123",
        "durationMs": 120,
    }
    store = tempo(search={"traces": [summary]}, traces={"batches": [process(CLIENT)]})
    (trace,) = store.search('a"b', start=1795249226.2, end=1795249227.1, operation="op", limit=7)
    assert trace.trace_id == TRACE
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(told.asked[0][1]).query))
    assert query == {
        "q": r'{ resource.service.name = "a\"b" && name = "op" }',
        "start": "1795249226",
        "end": "1795249228",
        "limit": "7",
    }
    assert store.search("a", start=1795249226.7, end=1795249227.1) == [], "whole seconds find what began before"


def test_nothing_found_is_an_empty_list(tempo):
    assert tempo(search={"traces": None, "metrics": {}}).search("a", start=0, end=1) == []
    assert tempo(search={}).search("a", start=0, end=1) == []


def test_services_come_from_either_api(tempo):
    second = {"tagValues": [{"type": "string", "value": "b"}, {"type": "string", "value": "a"}]}
    assert tempo(v2_search_tag=second).services() == ["a", "b"]
    assert tempo(search_tag={"tagValues": ["b", "a"]}).services() == ["a", "b"]


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, "no org id", Unreachable, "wants credentials.*TEMPO_TOKEN, or TEMPO_HEADERS"),
        (400, "invalid TraceQL query", InvalidInput, "refused the question: invalid TraceQL query"),
        (200, "<html>", Unreachable, "is not what Tempo answers"),
        (200, {"trace": {"resourceSpans": [process({**SERVER, "spanId": "zz"})]}}, Unreachable, "is not what Tempo"),
    ],
)
def test_what_is_no_answer_is_an_error_of_one_line(told, status, body, error, words):
    told.says(status, body, "text/plain")
    with pytest.raises(error, match=words):
        Tempo(told.url).trace(TRACE)


def test_sense_is_asked_of_url_and_limit(told):
    with pytest.raises(InvalidInput, match="set TEMPO_URL"):
        Tempo("")
    with pytest.raises(InvalidInput, match="at least one"):
        Tempo(told.url).search("a", start=0, end=1, limit=0)
    assert not told.asked
