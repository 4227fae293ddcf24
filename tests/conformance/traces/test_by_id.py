"""Traces: by their ids."""

from __future__ import annotations

import pytest
from trace_store import an_id, export, span


def test_a_trace(store, trace, service, seen):
    """GET /api/traces/{id} gives one trace, its spans and its processes."""
    store.send(trace, span(1), span(2, 1, name="child"), service=service)
    answer = store.get(f"/api/traces/{trace.hex()}")
    body = answer.json
    assert (answer.status, answer.kind) == (200, "application/json")
    (found,) = body.pop("data")
    assert body == {"total": 0, "limit": 0, "offset": 0, "errors": None}
    assert sorted(found) == ["processes", "spans", "traceID", "warnings"]
    assert (found["traceID"], found["warnings"]) == (trace.hex(), None)
    assert found["processes"] == {"p1": {"serviceName": service, "tags": []}}
    keys = {tuple(sorted(each)) for each in found["spans"]}
    assert len(keys) == 1
    seen(f"{answer.words}; {' '.join(keys.pop())}")


def test_unknown(store, seen):
    """A trace that nobody knows is 404."""
    answer = store.get(f"/api/traces/{an_id().hex()}")
    assert (answer.status, answer.json["data"]) == (404, None)
    assert answer.json["errors"] == [{"code": 404, "msg": "trace not found"}]
    assert answer.body.endswith(b"\n")
    seen(answer.words)


@pytest.mark.parametrize("written", ["abc", "0abc", "0000000000000abc", "00000000000000000000000000000abc", "ABC"])
def test_64_bits(store, service, seen, written):
    """A 64-bit trace id is found as {written}, and written with 16 digits"""
    trace = an_id()[:8].rjust(16, b"\0")
    store.send(trace, span(1), service=service)
    short = trace[8:].hex()
    asked = {"abc": short.lstrip("0"), "0abc": "0" + short.lstrip("0"), "ABC": short.upper()}
    found = store.get(f"/api/traces/{asked.get(written, short.zfill(len(written)))}").json["data"][0]
    assert (found["traceID"], found["spans"][0]["traceID"]) == (short, short)
    seen(f"{len(found['traceID'])} digits")


@pytest.mark.parametrize("times", [{"start": 1, "end": 2}, {"start": -5, "end": 0}], ids=["1970", "before 1970"])
def test_window(store, trace, service, seen, times):
    """A trace by its id is whole whatever start and end are"""
    store.send(trace, span(1), service=service)
    assert len(store.trace(trace, **times)["spans"]) == 1
    seen("found")


def test_many(store, service, seen):
    """traceID given several times is a search by ids, and names what is missing."""
    ids = [an_id() for _ in range(3)]
    for identity in ids[:2]:
        store.send(identity, span(1), service=service)
    answer = store.get("/api/traces", traceID=[identity.hex() for identity in ids])
    assert answer.status == 200
    assert [each["traceID"] for each in answer.json["data"]] == [identity.hex() for identity in ids[:2]]
    assert answer.json["errors"] == [{"msg": "trace not found", "traceID": ids[2].hex()}]
    seen("the traces in the order of the question; errors: msg 'trace not found' with the id, without a code")


def test_many_missing(store, seen):
    """The id of a missing trace is written as Jaeger writes ids."""
    answer = store.get("/api/traces", traceID=["1", "0000000000000000ABCDEF0000000000"])
    assert answer.json["data"] == []
    ids = [error["traceID"] for error in answer.json["errors"]]
    assert ids == ["0000000000000001", "abcdef0000000000"]
    seen(" ".join(ids))


def test_many_twice(store, trace, service, seen):
    """A trace that is asked for twice is given twice."""
    store.send(trace, span(1), service=service)
    data = store.get("/api/traces", traceID=[trace.hex(), trace.hex().upper()]).json["data"]
    assert [each["traceID"] for each in data] == [trace.hex()] * 2
    seen("twice")


def test_many_whatever_else(store, trace, service, seen):
    """With traceID all conditions are ignored, but they must be readable."""
    store.send(trace, span(1), service=service)
    asked = {"traceID": trace.hex(), "service": "nobody", "limit": "0", "minDuration": "1h", "start": "5", "end": "6"}
    assert len(store.get("/api/traces", asked).json["data"]) == 1
    refused = store.get("/api/traces", {**asked, "limit": "x"})
    assert refused.status == 400
    seen(f"found; {refused.words}")


def test_spans_from_several_exports(store, trace, service, seen):
    """Spans of one trace that come in several exports, the child first, are one trace."""
    store.send(trace, span(3, 2, name="c"), service=f"{service}.c")
    store.send(trace, span(2, 1, name="b"), service=f"{service}.b")
    store.send(trace, span(1, name="a"), service=f"{service}.a")
    found = store.trace(trace)
    owners = {key: process["serviceName"][-1] for key, process in found["processes"].items()}
    whole = [f"{each['operationName']} of {owners[each['processID']]}" for each in found["spans"]]
    assert whole == ["a of a", "b of b", "c of c"]
    assert [each["warnings"] for each in found["spans"]] == [None] * 3
    seen(", ".join(whole))


@pytest.mark.parametrize("identity", ["empty", "sixteen zeros"])
def test_no_trace_id(store, service, seen, identity):
    """Spans without a trace id ({identity}) are kept as the trace 0000000000000000"""
    store.send(b"" if identity == "empty" else bytes(16), span(1), service=service)
    found = store.get("/api/traces/0").json["data"][0]
    assert found["traceID"] == "0" * 16
    assert service in {process["serviceName"] for process in found["processes"].values()}
    seen(found["traceID"])


def test_no_span_id(store, trace, service, seen):
    """A span without an id is kept as 0000000000000000 and is nobody's parent."""
    store.send(trace, span(0), service=service)
    found = store.one(trace)
    assert (found["spanID"], found["references"]) == ("0" * 16, [])
    seen(found["spanID"])


@pytest.mark.parametrize("value", ["true", "1", "T"])
def test_raw(store, trace, service, seen, value):
    """raw={value} gives the spans as they came"""
    store.send(trace, span(1, 9, attributes={"z": 1, "a": 2}), service=service, resource={"y": 1, "b": 2})
    store.send(trace, span(1, 9, attributes={"z": 1, "a": 2}), service=service, resource={"y": 1, "b": 2})
    mended, came = store.trace(trace), store.trace(trace, raw=value)
    assert [len(each["spans"]) for each in (mended, came)] == [1, 2]
    assert [tag["key"] for tag in mended["spans"][0]["tags"]] == ["a", "span.kind", "z"]
    assert [tag["key"] for tag in came["spans"][0]["tags"]] == ["z", "a", "span.kind"]
    assert [tag["key"] for tag in came["processes"]["p1"]["tags"]] == ["y", "b"]
    assert mended["spans"][0]["warnings"]
    assert came["spans"][0]["warnings"] is None
    found = store.get("/api/traces", service=service, raw=value).json["data"][0]
    assert len(found["spans"]) == 2
    seen("twice what came twice, tags in the order in which they came, no warnings; searches too")


@pytest.mark.differs("Jaeger queues what it receives; the embedded store has it before it answers")
def test_visible_at_once(store, service, seen):
    """A trace can be asked for as soon as its export is answered."""
    late = 0
    for _ in range(50):
        store.post(export(identity := an_id(), span(1), service=service).SerializeToString())
        late += store.count(identity) == 0
        store.expect(identity, 1)
    assert late == 0 or store.side == "real"
    seen("always" if store.side == "embedded" else "mostly, and always soon after")
