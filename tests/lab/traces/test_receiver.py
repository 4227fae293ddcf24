"""OTLP over HTTP: what is taken, what is refused, and how much is kept."""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.traces.embedded import EmbeddedTraces
from chaosmesh_ext.observe.jaeger import Jaeger

TRACE = "11112222333344445555666677778801"


def document(*spans: dict, service: str = "front") -> dict:
    name = {"key": "service.name", "value": {"stringValue": service}}
    return {"resourceSpans": [{"resource": {"attributes": [name]}, "scopeSpans": [{"spans": list(spans)}]}]}


def span(number: int = 1, trace: str = TRACE, **more) -> dict:
    now = time.time_ns()
    times = {"startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 5_000_000)}
    return {"traceId": trace, "spanId": f"{number:016x}", "name": "op", "kind": 2, **times, **more}


def test_protobuf_json_and_packed_bodies_are_taken(store, otlp):
    packed = otlp(document(span(1))).SerializeToString()
    assert store.post(packed).status == 200
    assert store.post(gzip.compress(otlp(document(span(2))).SerializeToString()), content_encoding="gzip").status == 200
    reply = store.post(json.dumps(document(span(3))).encode(), "application/json")
    assert (reply.status, reply.json) == (200, {"partialSuccess": {}})
    assert len(store.get(f"/api/traces/{TRACE}").json["data"][0]["spans"]) == 3


def test_a_body_in_chunks_is_taken(store, otlp):
    """Envoy sends its reports so."""
    body = otlp(document(span())).SerializeToString()
    head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection((store.host, 4318), timeout=60) as wire:
        wire.sendall(head)
        for part in (body[:7], body[7:]):
            wire.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        wire.sendall(b"0\r\n\r\n")
        assert wire.recv(100).startswith(b"HTTP/1.1 200")
    assert store.get(f"/api/traces/{TRACE}").status == 200


def test_spans_are_there_at_once(store, otlp):
    body = otlp(document(span())).SerializeToString()
    store.get("/api/services")
    store.post(body)
    assert store.get(f"/api/traces/{TRACE}").status == 200


def test_garbage_is_refused_and_does_no_harm(store, otlp):
    whole = otlp(document(span())).SerializeToString()
    for body, kind, more in (
        (b"\xff" * 40, "application/x-protobuf", {}),
        (whole[:-3], "application/x-protobuf", {}),
        (b"{", "application/json", {}),
        (b"[]", "application/json", {}),
        (b"3", "application/json", {}),
        (b'{"resourceSpans": 3}', "application/json", {}),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}', "application/json", {}),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 5}]}]}]}', "application/json", {}),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "abc"}]}]}]}', "application/json", {}),
        (otlp(document(span(trace="00"))).SerializeToString(), "application/x-protobuf", {}),
        (whole, "application/x-protobuf", {"content_encoding": "gzip"}),
        (gzip.compress(whole)[:60], "application/x-protobuf", {"content_encoding": "gzip"}),
    ):
        assert store.post(body, kind, **more).status == 400, (body[:60], kind)
    assert store.post(whole, "text/plain").status == 415
    assert store.post(whole, path="/v1/metrics").status == 404
    assert store.get("/api/services").json["data"] is None
    assert store.post(whole).status == 200


def test_an_empty_report_is_fine(store):
    assert store.post(b"").status == 200
    assert store.post(b"{}", "application/json").status == 200


def test_a_service_without_a_name_has_jaegers_word_for_it(store, otlp):
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [span()]}]}]}
    assert store.post(otlp(request).SerializeToString()).status == 200
    assert store.get("/api/services").json["data"] == ["missing-service-name"]


def test_whole_traces_leave_the_oldest_first(small_store):
    """A lab that runs for days must not eat the machine."""
    ids = [f"{n:032x}" for n in range(1, 9)]
    for trace in ids:
        small_store.send(span(1, trace), span(2, trace))
    there = [small_store.get(f"/api/traces/{trace}").status for trace in ids]
    assert there == [404] * 3 + [200] * 5
    assert len(small_store.get("/api/traces?service=front&limit=9").json["data"]) == 5


def test_a_taken_address_is_said_in_one_line(store):
    async def second() -> None:
        other = EmbeddedTraces((store.host, 16686), (store.host, 4318))
        try:
            await other.start()
        finally:
            await other.stop()

    with pytest.raises(LabError, match=f"{store.host}:16686"):
        asyncio.run(second())


_IDS = st.integers(min_value=1, max_value=2**64 - 1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    narrow=st.booleans(),
    ids=st.lists(_IDS, min_size=1, max_size=8, unique=True),
    data=st.data(),
)
def test_ids_times_and_parents_survive_the_way_to_the_model(shared_store, narrow, ids, data):
    """OTLP → store → Jaeger's JSON → model: what a rule measures is what a sidecar reported."""
    trace = secrets.randbits(64 if narrow else 128) | 1
    spans, wanted = [], {}
    for index, number in enumerate(ids):
        parent = data.draw(st.sampled_from(ids[:index])) if index else 0
        start = data.draw(st.integers(min_value=10**18, max_value=2 * 10**18))
        took = data.draw(st.integers(min_value=0, max_value=10**11))
        times = {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + took)}
        one = span(number, f"{trace:032x}", kind=data.draw(st.integers(0, 5)), **times)
        spans.append({**one, "parentSpanId": f"{parent:016x}"} if parent else one)
        wanted[f"{number:016x}"] = (f"{parent:016x}" if parent else "", start // 1000, took // 1000)
    shared_store.send(*spans)
    jaeger = Jaeger(f"http://{shared_store.host}:16686")
    for found in (jaeger.trace(f"{trace:032x}"), jaeger.many([f"{trace:x}"])[f"{trace:x}"]):
        assert found.trace_id == f"{trace:032x}"
        got = {s.span_id: (s.parent_id, round(s.start * 1e6), round(s.duration * 1e6)) for s in found.spans}
        assert got == wanted
