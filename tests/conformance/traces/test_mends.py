"""Traces: what the query service mends."""

from __future__ import annotations

import pytest
from trace_store import BASE, span

from chaosmesh_ext.lab.traces.embedded import golang


def warnings(found: dict) -> dict[str, list[str] | None]:
    return {each["operationName"]: each["warnings"] for each in found["spans"]}


def test_orphan(store, trace, service, seen):
    """An orphan keeps its reference and is warned of."""
    store.send(trace, span(1, 0x99, name="orphan"), span(2, 1, name="child"), service=service)
    found = store.trace(trace)
    assert found["spans"][1]["references"][0]["spanID"] == f"{0x99:016x}"
    assert warnings(found)["child"] is None
    (words,) = warnings(found)["orphan"]
    seen(words)


def test_orphan_by_link(store, trace, service, seen):
    """A span without a parent that links within its trace is taken for that span's child."""
    store.send(trace, span(1, name="linked", links=[(trace, 0x99, {})]), service=service)
    (words,) = store.one(trace)["warnings"]
    assert f"{0x99:016x}" in words
    seen(words)


def test_sent_twice(store, trace, service, seen):
    """A span that comes twice is given once."""
    for _ in range(2):
        store.send(trace, span(1, name="a"), span(2, 1, name="b"), service=service)
    found = [each["operationName"] for each in store.trace(trace)["spans"]]
    assert found == ["a", "b"]
    seen(" ".join(found))


@pytest.mark.parametrize("other", ["operation", "service", "tag", "duration below a microsecond"])
def test_nearly_twice(store, trace, service, seen, other):
    """Two spans of one id that differ in their {other} are both given, one of them with a warning"""
    store.send(trace, span(1), service=service)
    changed = {
        "operation": span(1, name="else"),
        "service": span(1),
        "tag": span(1, attributes={"a": 1}),
        "duration below a microsecond": span(1, took=5.0001),
    }[other]
    store.send(trace, changed, service=f"{service}.else" if other == "service" else service)
    found = store.trace(trace)["spans"]
    assert [each["spanID"] for each in found] == [f"{1:016x}"] * 2
    said = [words for each in found for words in each["warnings"] or ()]
    assert len(said) == 1
    seen(said[0])


def test_shared_by_client_and_server(store, trace, service, seen):
    """A client and a server span of one id: the server gets a free id and becomes the client's child."""
    store.send(trace, span(1, name="client", kind="client"), span(9, 1, name="below"), service=service)
    store.send(trace, span(1, name="server", kind="server"), service=f"{service}.else")
    found = {each["operationName"]: each for each in store.trace(trace)["spans"]}
    assert found["client"]["spanID"] == f"{1:016x}"
    assert found["server"]["spanID"] == f"{2:016x}"
    assert found["server"]["references"][0]["spanID"] == f"{1:016x}"
    assert found["below"]["references"][0]["spanID"] == f"{2:016x}"
    assert {each["warnings"] for each in found.values()} == {None}
    seen("the server is 0000000000000002, child of the client; what was the shared id's child is now the server's")


def test_shared_by_two_servers(store, trace, service, seen):
    """Of two servers that share a client's id the last is the parent of the other and of the children."""
    store.send(trace, span(1, name="client", kind="client"), service=service)
    store.send(trace, span(1, name="one"), service=service)
    store.send(trace, span(1, 5, name="two"), span(5, name="root"), span(9, 1, name="below"), service=service)
    found = {each["operationName"]: each for each in store.trace(trace)["spans"]}
    ids = {each["spanID"]: name for name, each in found.items()}
    parents = {name: ids[each["references"][0]["spanID"]] for name, each in found.items() if each["references"]}
    assert parents == {"one": "two", "two": "client", "below": "two"}
    seen(str(parents))


def test_shared_by_others(store, trace, service, seen):
    """Spans of one id that are not a client and a server keep it."""
    store.send(trace, span(1, name="a", kind="client"), span(1, name="b", kind="internal"), service=service)
    ids = {each["spanID"] for each in store.trace(trace)["spans"]}
    assert ids == {f"{1:016x}"}
    seen("one id")


@pytest.mark.parametrize("took", [-3.25, 0.0, -1500.0])
def test_end_before_start(store, trace, service, seen, took):
    """A span that took {took} ms lasts a nanosecond, and is warned of, raw too"""
    store.send(trace, span(1, took=took), service=service)
    for raw in ("false", "true"):
        found = store.one(trace, raw=raw)
        assert found["duration"] == 0
        (words,) = found["warnings"]
        end, adjusted = golang.time_text(BASE + round(took * 1e6)), golang.time_text(BASE + 1)
        assert words.endswith(f"Original end timestamp: {end}, adjusted to: {adjusted}")
        assert all(tag["key"] == "span.kind" for tag in found["tags"])
    assert len(store.get("/api/traces", service=service, minDuration="1ns").json["data"]) == 1
    assert store.get("/api/traces", service=service, minDuration="2ns").json["data"] == []
    seen(words.partition(" Original")[0])


@pytest.mark.parametrize(
    ("at", "took", "delta"),
    [
        (2, 5, ""),
        (0, 10, ""),
        (-2, 5, "4.5ms"),
        (8, 5, "-5.5ms"),
        (1, 50, ""),
        (-1.5, 50, "1.5ms"),
        (-0.000_25, 1, "4.50025ms"),
        (-100_000, 1, "1m40.0045s"),
        (-8_000_000, 1, "2h13m20.0045s"),
    ],
    ids=["within", "as long", "early", "late", "longer", "longer and early", "nanoseconds", "minutes", "hours"],
)
def test_skewed_clock(store, trace, service, seen, at, took, delta):
    """A child that does not fit its parent's time stays where it is and is warned of"""
    store.send(trace, span(1, name="parent", took=10), span(2, 1, name="child", at=at, took=took), service=service)
    found = store.trace(trace)
    assert found["spans"][0]["startTime"] == (BASE + round(at * 1e6)) // 1000
    words = warnings(found)
    assert words["parent"] is None
    said = f"clock skew adjustment disabled; not applying calculated delta of {delta}"
    assert words["child"] == ([said] if delta else None)
    seen(said if delta else "no warning")


def test_skewed_host(store, trace, service, seen):
    """Spans of one process tag ip have one clock: who skews is told of it, and all below it on that host."""
    store.send(
        trace,
        span(1, name="root", took=10),
        span(2, 1, name="early", at=-2),
        service=service,
        resource={"ip": "10.0.0.1"},
    )
    store.send(
        trace,
        span(3, 1, name="other", at=-4),
        span(4, 3, name="same other", at=1000),
        service=f"{service}.else",
        resource={"ip": 3232235777},
    )
    said = warnings(store.trace(trace))
    words = ["clock skew adjustment disabled; not applying calculated delta of 6.5ms"]
    assert said == {"root": None, "early": None, "other": words, "same other": words}
    seen(f"root and early: none; other and same other: {words[0]}")


def test_own_parent(store, trace, service, seen):
    """A span that is its own parent, and two that are each other's, are given as they are."""
    store.send(trace, span(1, 1, name="self"), span(2, 3, name="a"), span(3, 2, name="b"), service=service)
    found = store.trace(trace)
    assert warnings(found) == {"self": None, "a": None, "b": None}
    parents = [each["references"][0]["spanID"][-1] for each in found["spans"]]
    assert parents == ["3", "2", "1"]
    seen("no warning, parents kept")


def test_reference_to_nowhere(store, trace, service, seen):
    """A link without a trace id is removed with a warning."""
    links = [(bytes(16), 5, {}), (b"", 0, {})]
    store.send(trace, span(1, name="root"), span(2, 1, name="child", links=links), service=service)
    child = store.trace(trace)["spans"][0]
    assert [each["refType"] for each in child["references"]] == ["CHILD_OF"]
    seen("; ".join(child["warnings"]))


def test_parent_first(store, trace, service, seen):
    """Of a span's references the one within its trace comes first."""
    links = [(b"1" * 16, 5, {}), (trace, 1, {})]
    store.send(trace, span(1, name="root"), span(2, name="child", links=links), service=service)
    found = [each["traceID"] == trace.hex() for each in store.trace(trace)["spans"][0]["references"]]
    assert found == [True, False]
    seen("its own trace, the other one")


@pytest.mark.parametrize(
    ("key", "value", "written"),
    [
        ("ip", 16909060, "string 1.2.3.4"),
        ("peer.ipv4", 16909060.0, "string 1.2.3.4"),
        ("ip", "1.2.3.4", "string 1.2.3.4"),
        ("peer.ipv4", True, "bool True"),
        ("port", 16909060, "int64 16909060"),
    ],
)
def test_address(store, trace, service, seen, key, value, written):
    """Tag {key} of {value}"""
    store.send(trace, span(1, kind="", attributes={key: value}), service=service, resource={key: value})
    found = store.trace(trace)
    (one,), (other,) = found["spans"][0]["tags"], found["processes"]["p1"]["tags"]
    assert one == other
    assert f"{one['type']} {one['value']}" == written
    seen(written)


def test_library_tags(store, trace, service, seen):
    """Attributes telemetry.sdk.* and telemetry.distro.* of a span move to its process."""
    moved = {"telemetry.sdk.name": "py", "telemetry.sdk.language": "go", "telemetry.distro.name": "d"}
    store.send(trace, span(1, kind="", attributes={**moved, "a": 1}), service=service, resource={"host.name": "h"})
    found = store.trace(trace)
    assert [each["key"] for each in found["spans"][0]["tags"]] == ["a"]
    keys = [each["key"] for each in found["processes"]["p1"]["tags"]]
    assert keys == ["host.name", *sorted(moved)]
    seen(" ".join(keys))
