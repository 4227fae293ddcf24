"""Traces: tags, events and references."""

from __future__ import annotations

import json

import pytest
from trace_store import BASE, an_id, span

_JSON = '<&> \u2028 é "\\\n\t\x01'


def tag(found: dict, key: str) -> dict:
    """The tag KEY of a span without its key."""
    (one,) = (each for each in found["tags"] if each["key"] == key)
    return {"type": one["type"], "value": one["value"]}


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        ("text", "string", "text"),
        ("", "string", ""),
        (None, "string", ""),
        (5, "int64", 5),
        (2**53 - 1, "int64", 2**53 - 1),
        (2**53, "int64", str(2**53)),
        (-(2**53) + 1, "int64", -(2**53) + 1),
        (-(2**53), "int64", str(-(2**53))),
        (2**63 - 1, "int64", str(2**63 - 1)),
        (True, "bool", True),
        (False, "bool", False),
        (1.0, "float64", 1),
        (0.25, "float64", 0.25),
        (1e-9, "float64", 1e-9),
        (1e20, "float64", 1e20),
        (1e300, "float64", 1e300),
        (b"\x00\xff", "binary", "AP8="),
        (b"", "binary", None),
        (["a", 1, True, None], "string", '["a",1,true,null]'),
        ([], "string", "[]"),
        ([1.0, 0.5, 1e-9, 1e21, 1e20], "string", "[1,0.5,1e-9,1e+21,100000000000000000000]"),
        ([b"\x01", b""], "string", '["AQ==",null]'),
        ([float("nan")], "string", ""),
        ({"z": 1, "a": {"q": [1.5]}}, "string", '{"a":{"q":[1.5]},"z":1}'),
        ({}, "string", "{}"),
        ([_JSON], "string", '["\\u003c\\u0026\\u003e \\u2028 é \\"\\\\\\n\\t\\u0001"]'),
        (_JSON, "string", _JSON),
    ],
    ids=[
        "text", "empty text", "nothing", "int", "2^53-1", "2^53", "minus 2^53-1", "minus 2^53", "2^63-1", "true", "false", "1.0",
        "0.25", "1e-9", "1e20", "1e300", "bytes", "no bytes", "list", "empty list", "list of floats", "list of bytes",
        "list with NaN", "map", "empty map", "list of odd text", "odd text",
    ],
)  # fmt: skip
def test_value(store, trace, service, seen, value, kind, written):
    """An attribute's value in Jaeger's JSON"""
    store.send(trace, span(1, attributes={"k": value}), service=service, resource={"k": value})
    found = store.trace(trace)
    assert tag(found["spans"][0], "k") == {"type": kind, "value": written}
    assert tag(found["processes"]["p1"], "k") == {"type": kind, "value": written}
    seen(f"{kind} {json.dumps(written)}")


@pytest.mark.parametrize("length", [1_000, 70_000, 1_000_000])
def test_long_value(store, trace, service, seen, length):
    """A tag of {length} characters is kept whole"""
    store.send(trace, span(1, name="n" * length, attributes={"k": "ü" * length}), service=service)
    found = store.one(trace)
    assert found["operationName"] == "n" * length
    assert tag(found, "k")["value"] == "ü" * length
    seen("whole")


@pytest.mark.parametrize("number", [0, 1000])
def test_many_tags(store, trace, service, seen, number):
    """A span with {number} attributes keeps them all"""
    store.send(trace, span(1, kind="", attributes={f"k{i:04}": i for i in range(number)}), service=service)
    found = store.one(trace)
    assert [each["value"] for each in found["tags"]] == list(range(number))
    seen(f"{len(found['tags'])} tags")


@pytest.mark.parametrize("kind", ["", "internal", "server", "client", "producer", "consumer"])
def test_kind(store, trace, service, seen, kind):
    """A span's kind is the tag span.kind"""
    store.send(trace, span(1, kind=kind), service=service)
    tags = [f"{each['key']}={each['value']}" for each in store.one(trace)["tags"]]
    assert tags == ([f"span.kind={kind}"] if kind else [])
    seen(" ".join(tags) or "no tag")


@pytest.mark.parametrize(
    ("status", "message", "tags"),
    [
        ("", "", []),
        ("", "words", ["otel.status_description=words"]),
        ("OK", "", ["otel.status_code=OK"]),
        ("OK", "fine", ["otel.status_code=OK", "otel.status_description=fine"]),
        ("ERROR", "", ["error=True", "otel.status_code=ERROR"]),
        ("ERROR", "boom", ["error=True", "otel.status_code=ERROR", "otel.status_description=boom"]),
    ],
    ids=["unset", "unset with a message", "OK", "OK with a message", "ERROR", "ERROR with a message"],
)
def test_status(store, trace, service, seen, status, message, tags):
    """A span's status in tags"""
    store.send(trace, span(1, kind="", status=status, message=message), service=service)
    found = [f"{each['key']}={each['value']}" for each in store.one(trace)["tags"]]
    assert found == tags
    seen(" ".join(found) or "no tag")


def test_own_error_tag(store, trace, service, seen):
    """An attribute error stands beside the one of the status."""
    store.send(
        trace, span(1, kind="", status="ERROR", attributes=[("error", "yes"), ("error", False)]), service=service
    )
    found = [(each["type"], each["value"]) for each in store.one(trace)["tags"] if each["key"] == "error"]
    assert found == [("string", "yes"), ("bool", False), ("bool", True)]
    seen(str(found))


def test_one_key_twice(store, trace, service, seen):
    """Attributes of one key are all kept, in order of type and value."""
    values = ["b", "a", 3, True, 2, b"q", 0.5]
    store.send(trace, span(1, kind="", attributes=[("k", value) for value in values]), service=service)
    found = [each["value"] for each in store.one(trace)["tags"]]
    assert found == ["a", "b", True, 2, 3, 0.5, "cQ=="]
    seen(str(found))


def test_tracestate_and_scope(store, trace, service, seen):
    """The tracestate and the instrumentation scope are tags."""
    store.send(trace, span(1, kind="", trace_state="chaosmesh=0a1b-1,x=y"), service=service, scope=("envoy", "1.38"))
    found = {each["key"]: each["value"] for each in store.one(trace)["tags"]}
    wanted = {"otel.scope.name": "envoy", "otel.scope.version": "1.38", "w3c.tracestate": "chaosmesh=0a1b-1,x=y"}
    assert found == wanted
    seen(str(found))


@pytest.mark.parametrize(
    ("at", "took", "start", "duration"),
    [(0, 5, 0, 5000), (0.001999, 0.002999, 1, 2), (0, 0.0009, 0, 0), (0, 90_000_000, 0, 90_000_000_000)],
    ids=["milliseconds", "parts of a microsecond", "less than one", "a day"],
)
def test_times(store, trace, service, seen, at, took, start, duration):
    """Times and durations are microseconds, cut and not rounded"""
    store.send(trace, span(1, at=at, took=took), service=service)
    found = store.one(trace)
    assert (found["startTime"] - BASE // 1000, found["duration"]) == (start, duration)
    seen(f"+{start} {duration}")


@pytest.mark.parametrize(
    ("name", "pairs", "fields"),
    [
        ("retry", {}, ["event=retry"]),
        ("retry", {"z": 1, "a": "x"}, ["event=retry", "a=x", "z=1"]),
        ("", {"b": 1}, ["b=1"]),
        ("", {}, []),
        ("name", {"event": "own", "a": 1}, ["event=own", "a=1"]),
        ("name", {"event": 5, "a": 1}, ["a=1", "event=5"]),
    ],
    ids=[
        "its name",
        "and attributes",
        "no name",
        "nothing",
        "an attribute event",
        "an attribute event that is a number",
    ],
)
def test_event(store, trace, service, seen, name, pairs, fields):
    """An event of a span is a log: the field event first"""
    store.send(trace, span(1, events=[(name, pairs)]), service=service)
    (log,) = store.one(trace)["logs"]
    assert log["timestamp"] == BASE // 1000 + 1500
    found = [f"{each['key']}={each['value']}" for each in log["fields"]]
    assert found == fields
    seen(" ".join(found) or "no field")


def test_events_in_order(store, trace, service, seen):
    """Events stay in the order in which they came."""
    store.send(trace, span(1, events=[("b", {}), ("a", {}), ("c", {})]), service=service)
    found = [log["fields"][0]["value"] for log in store.one(trace)["logs"]]
    assert found == ["b", "a", "c"]
    seen(" ".join(found))


def test_root_and_child(store, trace, service, seen):
    """A child's parent is a CHILD_OF reference, a root has none."""
    store.send(trace, span(1, name="root"), span(2, 1, name="twig"), service=service)
    found = store.trace(trace)["spans"]
    assert found[0]["references"] == []
    assert found[1]["references"] == [{"refType": "CHILD_OF", "traceID": trace.hex(), "spanID": f"{1:016x}"}]
    seen("[]; CHILD_OF with traceID and spanID")


@pytest.mark.parametrize(
    ("case", "written"),
    [
        ("another trace", ["CHILD_OF parent", "FOLLOWS_FROM there"]),
        ("a span beside it", ["CHILD_OF parent", "FOLLOWS_FROM beside"]),
        ("its own parent", ["FOLLOWS_FROM parent"]),
        ("opentracing.ref_type child_of", ["CHILD_OF parent", "CHILD_OF beside"]),
        ("opentracing.ref_type other", ["CHILD_OF parent", "FOLLOWS_FROM beside"]),
        ("two", ["CHILD_OF parent", "FOLLOWS_FROM there", "FOLLOWS_FROM beside"]),
        ("a 64-bit trace", ["CHILD_OF parent", "FOLLOWS_FROM short"]),
    ],
)
def test_link(store, trace, service, seen, case, written):
    """A link to {case}"""
    there, short = an_id(), bytes(8) + an_id()[:8]
    beside = (trace, 2, {})
    links = {
        "another trace": [(there, 0x77, {})],
        "a span beside it": [beside],
        "its own parent": [(trace, 1, {})],
        "opentracing.ref_type child_of": [(trace, 2, {"opentracing.ref_type": "child_of"})],
        "opentracing.ref_type other": [(trace, 2, {"opentracing.ref_type": "other"})],
        "two": [(there, 0x77, {}), beside],
        "a 64-bit trace": [(short, 0x78, {})],
    }[case]
    store.send(trace, span(1, name="a"), span(2, name="b"), span(3, 1, name="c", links=links), service=service)
    names = {
        (trace.hex(), 1): "parent",
        (trace.hex(), 2): "beside",
        (there.hex(), 0x77): "there",
        (short[8:].hex(), 0x78): "short",
    }
    references = store.trace(trace)["spans"][2]["references"]
    found = [f"{each['refType']} {names[each['traceID'], int(each['spanID'], 16)]}" for each in references]
    assert found == written
    seen(", ".join(found))


def test_processes(store, trace, service, seen):
    """Spans of one service with the same resource share a process, whatever the order of its attributes."""
    store.send(trace, span(1, name="a"), service=service, resource={"x": 1, "y": 2})
    store.send(trace, span(2, 1, name="b"), service=service, resource={"y": 2, "x": 1})
    store.send(trace, span(3, 1, name="c"), service=service, resource={"x": 1, "y": 3})
    store.send(trace, span(4, 1, name="d"), service=f"{service}.else", resource={"x": 1, "y": 2})
    found = store.trace(trace)
    owners = [each["processID"] for each in found["spans"]]
    assert owners[0] == owners[1]
    assert set(found["processes"]) == {"p1", "p2", "p3"} == set(owners)
    assert [each["key"] for each in found["processes"][owners[0]]["tags"]] == ["x", "y"]
    seen("a and b share one, c and d have their own; p1 to p3; tags in order, without service.name")


def test_an_empty_name(store, trace, service, seen):
    """A span without a name has an empty operation."""
    store.send(trace, span(1, name=""), service=service)
    assert store.one(trace)["operationName"] == ""
    assert store.get(f"/api/services/{service}/operations").json["data"] == [""]
    seen("''")
