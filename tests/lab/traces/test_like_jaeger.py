"""The store answers as a real Jaeger 1.76 did: its replies are in tests/data."""

from __future__ import annotations

import json
import time
import urllib.parse

import pytest

TRACE = "11112222333344445555666677778801"
NOW = time.time_ns()


def plain(trace: dict) -> dict:
    """A trace without what has no stable order or number: spans by id, processes by their service."""
    names = {key: process["serviceName"] for key, process in trace["processes"].items()}
    spans = [{**span, "processID": names[span["processID"]]} for span in trace["spans"]]
    return {
        **trace,
        "spans": sorted(spans, key=lambda span: span["spanID"]),
        "processes": {names[key]: process for key, process in trace["processes"].items()},
    }


def span(
    number: int,
    parent: int = 0,
    *,
    trace: str = TRACE,
    name: str = "op",
    kind: int = 2,
    at: int = 0,
    took: int = 5,
    **more,
) -> dict:
    """A span in OTLP's JSON: AT and TOOK in milliseconds from now."""
    whole = {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(NOW + at * 10**6),
        "endTimeUnixNano": str(NOW + (at + took) * 10**6),
        **more,
    }
    return {**whole, "parentSpanId": f"{parent:016x}"} if parent else whole


def attribute(key: str, **value) -> dict:
    return {"key": key, "value": value}


def test_the_same_spans_give_the_same_json(store, sample, otlp):
    """The sample's OTLP came from the same server: lists and maps are text in it already."""
    reply = store.post(otlp(sample("trace-otlp.json")["result"]).SerializeToString())
    assert reply.status == 200
    got, wanted = store.get(f"/api/traces/{TRACE}"), sample("trace.json")
    assert got.kind == "application/json"
    assert {**got.json, "data": [plain(t) for t in got.json["data"]]} == {
        **wanted,
        "data": [plain(t) for t in wanted["data"]],
    }


def test_lists_and_maps_become_text_as_go_writes_it(store):
    values = [
        attribute("arr", arrayValue={"values": [{"stringValue": "a"}, {"stringValue": "ü<"}]}),
        attribute("map", kvlistValue={"values": [attribute("k", intValue="1"), attribute("b", boolValue=True)]}),
        attribute("none"),
    ]
    store.send(span(1, attributes=values))
    tags = {t["key"]: t["value"] for t in store.get(f"/api/traces/{TRACE}").json["data"][0]["spans"][0]["tags"]}
    assert tags["arr"] == '["a","ü\\u003c"]'
    assert tags["map"] == '{"b":true,"k":1}'
    assert tags["none"] == ""


def test_two_spans_with_one_id_and_an_orphan_are_mended_the_same_way(store, sample):
    wanted = sample("orphan-and-shared-id.json")["data"][0]
    begun = {s["operationName"]: s["startTime"] for s in wanted["spans"]}

    def one(number, parent, name, kind, took):
        start = begun[name] * 1000
        times = {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + took * 10**6)}
        return {**span(number, parent, trace=wanted["traceID"], name=name, kind=kind), **times}

    scope = {"name": "obs.gen", "version": "1"}
    store.send(one(0x401, 0x999, "orphan-op", 2, 10), service="orphan", scope=scope)
    store.send(one(0x402, 0x401, "dup-client", 3, 5), service="dup", scope=scope)
    store.send(one(0x402, 0x401, "dup-server", 2, 3), service="dup2", scope=scope)
    assert plain(store.get(f"/api/traces/{wanted['traceID']}").json["data"][0]) == plain(wanted)


def test_every_error_is_jaegers_own(shared_store, sample):
    """Whatever talks to a real Jaeger must meet the same words here."""
    checked = 0
    for case in sample("errors.json")["jaeger1"]:
        path, _, query = case["request"].partition("?")
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        # `+` was sent as it stands: a blank
        asked = urllib.parse.urlencode([(name, value.replace("+", " ")) for name, _, value in pairs])
        reply = shared_store.get(path + (f"?{asked}" if asked else ""))
        assert (reply.status, reply.kind) == (case["status"], case["content_type"]), case["request"]
        if isinstance(case["body"], dict):
            assert reply.json == case["body"], case["request"]
        checked += 1
    assert checked >= 18


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/nosuch",
        "/api/traces/",
        f"/api/traces/{TRACE}/",
        f"/api/trace/{TRACE}",
        "/jaeger/api/services",
    ],
)
def test_an_unknown_path_is_the_users_interface(shared_store, path):
    """The trap that makes a wrong base path look like success."""
    reply = shared_store.get(path)
    assert (reply.status, reply.kind) == (200, "text/html; charset=utf-8")
    assert reply.body.startswith(b"<!DOCTYPE html>")


def test_an_empty_store_has_null_services_and_no_traces(shared_store):
    empty = {"data": None, "total": 0, "limit": 0, "offset": 0, "errors": None}
    assert shared_store.get("/api/services").json == empty
    assert shared_store.get("/api/services/x/operations").json == empty
    assert shared_store.get("/api/operations?service=x").json == {**empty, "data": []}
    assert shared_store.get("/api/traces?service=x").json == {**empty, "data": []}
    assert shared_store.get("/api/dependencies").json == {**empty, "data": []}


def test_services_and_operations_are_listed(store):
    store.send(
        span(1, name="GET /"), span(2, 1, name="GET /x", kind=3), span(3, 1, name="GET /x", kind=2), service="a/b"
    )
    store.send(span(4, 2), service="c")
    assert store.get("/api/services").json == {
        "data": ["a/b", "c"],
        "total": 2,
        "limit": 0,
        "offset": 0,
        "errors": None,
    }
    assert store.get("/api/services/a%2Fb/operations").json["data"] == ["GET /", "GET /x"]
    found = store.get("/api/operations?service=a%2Fb&spanKind=client").json
    assert (found["data"], found["total"]) == ([{"name": "GET /x", "spanKind": "client"}], 1)
    assert len(store.get("/api/operations?service=a%2Fb").json["data"]) == 3
    refused = store.get("/api/operations")
    assert (refused.status, refused.json["errors"][0]["msg"]) == (400, "parameter 'service' is required")


@pytest.mark.parametrize("asked", ["abc", "0abc", "0000000000000abc", "00000000000000000000000000000abc", "ABC"])
def test_a_64_bit_trace_id_is_found_however_it_is_written(store, asked):
    store.send(span(1, trace="abc".zfill(32)))
    trace = store.get(f"/api/traces/{asked}").json["data"][0]
    assert (trace["traceID"], trace["spans"][0]["traceID"]) == ("0000000000000abc", "0000000000000abc")


def test_a_batch_names_what_is_missing(store):
    store.send(span(1))
    reply = store.get(f"/api/traces?traceID={TRACE}&traceID=77")
    assert reply.status == 200
    assert [t["traceID"] for t in reply.json["data"]] == [TRACE]
    (error,) = reply.json["errors"]
    assert error["msg"] == "trace not found"
    assert error["traceID"].endswith("77")


def test_links_may_lead_into_other_traces(store):
    links = [{"traceId": "def".zfill(32), "spanId": "0000000000000001"}]
    store.send(span(1), span(2, 1, links=links))
    spans = {s["spanID"]: s for s in store.get(f"/api/traces/{TRACE}").json["data"][0]["spans"]}
    assert spans["0000000000000001"]["references"] == []
    assert spans["0000000000000002"]["references"] == [
        {"refType": "CHILD_OF", "traceID": TRACE, "spanID": "0000000000000001"},
        {"refType": "FOLLOWS_FROM", "traceID": "0000000000000def", "spanID": "0000000000000001"},
    ]


def test_the_tracestate_is_a_tag(store):
    store.send(span(1, traceState="chaosmesh=0a1b2c3d-1"))
    (one,) = store.get(f"/api/traces/{TRACE}").json["data"][0]["spans"]
    assert {"key": "w3c.tracestate", "type": "string", "value": "chaosmesh=0a1b2c3d-1"} in one["tags"]


@pytest.mark.parametrize(
    ("number", "written"), [(2**53 - 1, 2**53 - 1), (2**53, str(2**53)), (-(2**53), str(-(2**53)))]
)
def test_large_integers_are_text(store, number, written):
    store.send(span(1, attributes=[attribute("n", intValue=str(number))]))
    (one,) = store.get(f"/api/traces/{TRACE}").json["data"][0]["spans"]
    assert {"key": "n", "type": "int64", "value": written} in one["tags"]


@pytest.mark.parametrize(("number", "word"), [("NaN", "NaN"), ("Infinity", "+Inf"), ("-Infinity", "-Inf")])
def test_one_value_that_json_cannot_hold_spoils_the_answer(store, number, word):
    """As on the real one: a client must know how to get around it."""
    store.send(span(1, attributes=[attribute("n", doubleValue=number)]))
    store.send(span(1, trace="ab".zfill(32), at=1000))
    reply = store.get("/api/traces?service=front")
    assert reply.status == 500
    assert f"json: unsupported value: {word}" in reply.json["errors"][0]["msg"]
    end = (NOW + 10**12) // 1000
    around = store.get(f"/api/traces?service=front&start={NOW // 1000 + 500_000}&end={end}")
    assert [t["traceID"] for t in around.json["data"]] == ["00000000000000ab"]


def test_a_span_sent_twice_is_one(store):
    """An exporter that got no answer sends again."""
    store.send(span(1), span(2, 1))
    store.send(span(1), span(2, 1))
    assert len(store.get(f"/api/traces/{TRACE}").json["data"][0]["spans"]) == 2


def test_raw_is_without_the_mends(store):
    store.send(span(1, kind=3), service="a")
    store.send(span(1, kind=2), service="b")
    mended = store.get(f"/api/traces/{TRACE}").json["data"][0]["spans"]
    assert sorted(s["spanID"] for s in mended) == ["0000000000000001", "0000000000000002"]
    raw = store.get(f"/api/traces/{TRACE}?raw=true").json["data"][0]["spans"]
    assert [s["spanID"] for s in raw] == ["0000000000000001"] * 2
    refused = store.get(f"/api/traces/{TRACE}?raw=x")
    assert refused.status == 400
    assert "ParseBool" in refused.json["errors"][0]["msg"]


class TestSearch:
    """All conditions speak of one and the same span of the service."""

    @pytest.fixture
    def traces(self, store):
        def ids(**query: object) -> list[str]:
            query = {"service": "front", "end": (NOW + 10**13) // 1000, **query}
            reply = store.get("/api/traces?" + urllib.parse.urlencode(query, doseq=True))
            assert reply.status == 200, reply.body
            return sorted(t["traceID"][-1] for t in reply.json["data"])

        def one(last: str, *spans: dict, service: str = "front") -> None:
            store.send(*({**s, "traceId": last.zfill(32)} for s in spans), service=service)

        status = [attribute("http.status_code", stringValue="500")]
        event = [{"timeUnixNano": str(NOW), "name": "retry", "attributes": [attribute("n", intValue="2")]}]
        one("1", span(1, name="slow", at=0, took=200), span(2, 1, name="fast", took=5, attributes=status))
        one("2", span(1, name="fast", at=1000, took=10, events=event))
        one("3", span(1, name="fast", at=2000, took=150, attributes=[attribute("ok", boolValue=True)]))
        one("4", span(1, name="fast", at=500), service="other")
        return ids

    def test_by_service_and_operation(self, traces):
        assert traces() == ["1", "2", "3"]
        assert traces(operation="slow") == ["1"]
        assert traces(service="other") == ["4"]
        assert traces(service="nobody") == []

    def test_by_duration_with_gos_units(self, traces):
        assert traces(minDuration="140ms") == ["1", "3"]
        assert traces(minDuration="140ms", operation="fast") == ["3"]
        assert traces(maxDuration="10000us") == ["1", "2"]
        assert traces(minDuration="6ms", maxDuration="0.1s") == ["2"]

    def test_by_time_in_microseconds(self, traces):
        assert traces(start=NOW // 1000 + 900_000) == ["2", "3"]
        assert traces(end=NOW // 1000 + 900_000) == ["1"]
        assert traces(start=NOW // 10**6, end=NOW // 10**6 + 9000) == []

    def test_by_tags_of_span_process_and_log(self, traces):
        assert traces(tags=json.dumps({"http.status_code": "500"})) == ["1"]
        assert traces(tag="http.status_code:500") == ["1"]
        assert traces(tag=["http.status_code:500", "span.kind:client"]) == []
        assert traces(tag="http.status_code:500", operation="slow") == []
        assert traces(tag="event:retry") == ["2"]
        assert traces(tag="ok:true") == ["3"]

    def test_the_newest_are_kept(self, traces):
        assert traces(limit=2) == ["2", "3"]
        assert traces(limit=1) == ["3"]

    def test_lookback_is_ignored(self, traces):
        assert traces(lookback="1ms") == ["1", "2", "3"]


def test_dependencies_count_calls_between_services(store):
    store.send(span(1), span(2, 1, kind=3), service="a")
    store.send(span(3, 2), service="b")
    store.send(span(4, 2), service="b")
    now = time.time_ns() // 10**6 + 1000
    found = store.get(f"/api/dependencies?endTs={now}&lookback=3600000").json["data"]
    assert {"parent": "a", "child": "b", "callCount": 2} in found
    assert store.get(f"/api/dependencies?endTs={now - 50_000_000}&lookback=1000").json["data"] == []
    refused = store.get("/api/dependencies?endTs=x")
    assert (
        refused.json["errors"][0]["msg"]
        == "unable to parse param 'endTs': strconv.ParseInt: parsing \"x\": invalid syntax"
    )
