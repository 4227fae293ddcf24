"""Traces: search."""

from __future__ import annotations

import json
import urllib.parse

import pytest
from trace_store import BASE, an_id, span

US = BASE // 1000
"""Microseconds of `BASE`."""


@pytest.fixture
def names(store, service):
    """Four traces of the service and one of another; the names by which a test knows them."""
    ids = {name: an_id() for name in ("slow", "plain", "flag", "event", "other")}
    store.send(
        ids["slow"],
        span(1, name="front", at=0, took=200),
        span(2, 1, name="back", at=10, took=5, kind="client", attributes={"http.status_code": "500"}),
        service=service,
    )
    store.send(ids["plain"], span(1, name="back", at=1000, took=10, status="ERROR", message="boom"), service=service)
    store.send(
        ids["flag"],
        span(1, name="back", at=2000, took=150, attributes={"ok": True, "n": 7, "ratio": 0.25, "raw": b"\x01\xff"}),
        service=service,
        resource={"host.name": "node-1"},
        scope=("envoy", "1.2"),
    )
    store.send(ids["event"], span(1, name="back", at=3000, events=[("retry", {"attempt": 2})]), service=service)
    store.send(ids["other"], span(1, name="back", at=500), span(2, 1, at=501), service=f"{service}.else")
    return {identity: name for name, identity in ids.items()}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "event flag plain slow"),
        ("operation=front", "slow"),
        ("operation=back", "event flag plain slow"),
        ("operation=bac", "none"),
        ("operation=", "event flag plain slow"),
        ("minDuration=140ms", "flag slow"),
        ("minDuration=140ms&operation=back", "flag"),
        ("minDuration=150ms", "flag slow"),
        ("minDuration=150.001ms", "slow"),
        ("maxDuration=10000us", "event plain slow"),
        ("maxDuration=10ms", "event plain slow"),
        ("maxDuration=9999999ns", "event slow"),
        ("minDuration=6ms&maxDuration=0.1s", "plain"),
        ("minDuration=0&maxDuration=0", "event flag plain slow"),
        ("minDuration=-1s", "event flag plain slow"),
        ("maxDuration=-1s", "none"),
        ("minDuration=1h2m3.5s", "none"),
        ("minDuration=.15s", "flag slow"),
        ("lookback=1ms", "event flag plain slow"),
        ("lookback=nonsense", "event flag plain slow"),
        ("nosuch=parameter", "event flag plain slow"),
        ("limit=0", "event flag plain slow"),
        ("limit=-3", "event flag plain slow"),
        ("limit=1", "event"),
        ("limit=3", "event flag plain"),
        ("limit=4", "event flag plain slow"),
        ("limit=2147483647", "event flag plain slow"),
        ("limit=1&operation=front", "slow"),
        ("limit=1&limit=3", "event"),
    ],
)
def test_filters(store, service, names, seen, query, found):
    """Search by '{query}'"""
    assert store.found(service, names, urllib.parse.parse_qs(query)) == found
    seen(found)


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ('{"http.status_code": "500"}', "slow"),
        ('{"http.status_code": "50"}', "none"),
        ('{"span.kind": "client"}', "slow"),
        ('{"http.status_code": "500", "span.kind": "client"}', "slow"),
        ('{"http.status_code": "500", "span.kind": "server"}', "none"),
        ('{"error": "true"}', "plain"),
        ('{"error": "false"}', "none"),
        ('{"otel.status_code": "ERROR"}', "plain"),
        ('{"otel.status_description": "boom"}', "plain"),
        ('{"ok": "true"}', "flag"),
        ('{"ok": "True"}', "none"),
        ('{"n": "7"}', "flag"),
        ('{"ratio": "0.25"}', "flag"),
        ('{"raw": "01ff"}', "flag"),
        ('{"host.name": "node-1"}', "flag"),
        ('{"otel.scope.name": "envoy", "otel.scope.version": "1.2"}', "flag"),
        ('{"event": "retry"}', "event"),
        ('{"attempt": "2"}', "event"),
        ('{"nosuch": ""}', "none"),
        ("{}", "event flag plain slow"),
    ],
)
def test_tags(store, service, names, seen, tags, found):
    """Search by tags {tags}"""
    assert store.found(service, names, {"tags": tags}) == found
    assert store.found(service, names, {"tag": [f"{key}:{value}" for key, value in json.loads(tags).items()]}) == found
    seen(found)


def test_service_name_is_no_tag(store, service, names, seen):
    """service.name is not among the tags that a search compares."""
    assert store.found(service, names, {"tags": json.dumps({"service.name": service})}) == "none"
    seen("none")


def test_tag_with_colons(store, trace, service, seen):
    """tag=key:value is split at the first colon."""
    store.send(trace, span(1, attributes={"http.url": "http://a:80/x", "a:b": "c"}), service=service)
    names = {trace: "found"}
    found = (
        store.found(service, names, {"tag": "http.url:http://a:80/x"}),
        store.found(service, names, {"tag": "a:b:c"}),
    )
    assert found == ("found", "none")
    seen("a value may hold colons, a key may not")


def test_tags_twice(store, service, names, seen):
    """tag and tags together are all wanted; of one key the last is."""
    both = {"tag": "span.kind:client", "tags": json.dumps({"http.status_code": "500"})}
    assert store.found(service, names, both) == "slow"
    assert (
        store.found(service, names, {"tag": "span.kind:server", "tags": json.dumps({"span.kind": "client"})}) == "slow"
    )
    seen("slow; slow")


def test_null_tags(store, service, names, seen):
    """tags=null is no condition, a null value is an empty text."""
    assert store.found(service, names, {"tags": "null"}) == "event flag plain slow"
    assert store.found(service, names, {"tags": '{"ok": null}'}) == "none"
    seen("event flag plain slow; none")


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (1_000_000, 3_000_000, "event flag plain"),
        (1_000_001, 2_999_999, "flag"),
        (0, 0, "slow"),
        (-1, -1, "none"),
        (10_000, 10_000, "slow"),
        (3_000_000, 1_000_000, "none"),
    ],
    ids=[
        "both bounds are included",
        "a microsecond less",
        "one moment",
        "before",
        "its second span",
        "end before start",
    ],
)
def test_window(store, service, names, seen, start, end, found):
    """start and end in microseconds bound the start of the span that is meant"""
    assert store.found(service, names, {"start": US + start, "end": US + end}) == found
    seen(found)


def test_window_to_the_nanosecond(store, trace, service, seen):
    """A span that begins within the last microsecond is after end."""
    store.send(trace, span(1, at=0.0005), service=service)
    ends = [store.found(service, {trace: "found"}, {"end": US + more}) for more in (0, 1)]
    assert ends == ["none", "found"]
    seen("not at the microsecond in which it began, but at the next")


def test_duration_to_the_nanosecond(store, trace, service, seen):
    """minDuration and maxDuration are compared in nanoseconds."""
    store.send(trace, span(1, took=0.0015), service=service)
    asked = [{"minDuration": "1500ns"}, {"minDuration": "1501ns"}, {"maxDuration": "1us"}, {"maxDuration": "1500ns"}]
    found = [store.found(service, {trace: "found"}, query) for query in asked]
    assert found == ["found", "none", "none", "found"]
    seen(" ".join(found))


@pytest.mark.parametrize("unit", ["milliseconds", "seconds", "nanoseconds"])
def test_window_in_another_unit(store, service, names, seen, unit):
    """A window in {unit} finds nothing and is no error"""
    factor = {"milliseconds": 10**6, "seconds": 10**9, "nanoseconds": 1}[unit]
    assert store.found(service, names, {"start": BASE // factor, "end": (BASE + 10**10) // factor}) == "none"
    seen("none")


def test_default_window(store, service, seen):
    """Without start and end a search looks two days back from now."""
    names = {an_id(): "three days old", an_id(): "yesterday", an_id(): "tomorrow"}
    for identity, day in zip(names, (-3, -1, 1), strict=True):
        store.send(identity, span(1, at=day * 86_400_000), service=service)
    found = [store.found(service, names), store.found(service, names, {"start": "0"})]
    found.append(store.found(service, names, {"end": US + 2 * 86_400_000_000}))
    assert found == ["yesterday", "three days old yesterday", "tomorrow yesterday"]
    seen("; ".join(found))


def test_default_limit(store, service, seen):
    """Without limit a search gives a hundred traces, the newest."""
    ids = [an_id() for _ in range(103)]
    for number, identity in enumerate(ids):
        store.send(identity, span(1, at=number), service=service)
    data = store.get("/api/traces", service=service).json["data"]
    assert {each["traceID"] for each in data} == {identity.hex().removeprefix("0" * 16) for identity in ids[3:]}
    assert len(store.get("/api/traces", service=service, limit=0).json["data"]) == 103
    seen(f"{len(data)} of 103, the three oldest are left out")


def test_newest_by_start_and_not_by_arrival(store, service, seen):
    """The newest traces are those whose first span to arrive began last."""
    names = {an_id(): "came first", an_id(): "came second", an_id(): "came last"}
    for identity, at in zip(names, (30_000, 10_000, 20_000), strict=True):
        store.send(identity, span(1, at=at), service=service)
    store.send(list(names)[1], span(2, 1, at=90_000), service=service)
    found = [store.found(service, names, {"limit": limit}) for limit in (1, 2)]
    assert found == ["came first", "came first came last"]
    seen("; ".join(found))


def test_whole_traces_are_given(store, trace, service, seen):
    """A search gives the whole trace, other services' spans too."""
    store.send(trace, span(1, name="front"), service=service)
    store.send(trace, span(2, 1, name="back"), service=f"{service}.else")
    (found,) = store.get("/api/traces", service=service).json["data"]
    operations = sorted(each["operationName"] for each in found["spans"])
    assert operations == ["back", "front"]
    seen(" ".join(operations))


def test_conditions_of_two_spans(store, trace, service, seen):
    """All conditions speak of one span of the service."""
    store.send(trace, span(1, name="a", took=100), span(2, 1, name="b", took=1), service=service)
    store.send(trace, span(3, 2, name="c", took=100), service=f"{service}.else")
    names = {trace: "found"}
    asked = [{"operation": "b", "minDuration": "50ms"}, {"operation": "c"}, {"operation": "a", "minDuration": "50ms"}]
    found = [store.found(service, names, query) for query in asked]
    assert found == ["none", "none", "found"]
    seen(" ".join(found))


def test_an_unknown_service(store, seen):
    """A search for a service that nobody knows is empty and no error."""
    answer = store.get("/api/traces", service="nobody")
    assert answer.body == b'{"data":[],"total":0,"limit":0,"offset":0,"errors":null}'
    seen(answer.body.decode())


def test_semicolons(store, trace, service, seen):
    """A parameter with a bare semicolon or a broken escape is not read."""
    store.send(trace, span(1), service=service)
    for query in (f"service={service}&operation=a;b", f"service={service}&operation=%zz", f"service={service}&&=&x"):
        assert len(store.fetch(f"{store.url}/api/traces?{query}").json["data"]) == 1
    refused = store.fetch(f"{store.url}/api/traces?service=a;b")
    assert refused.status == 400
    seen(refused.words)


@pytest.mark.parametrize(("number", "word"), [(float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf")])
def test_not_a_number(store, trace, service, seen, number, word):
    """One attribute that is {word} makes every answer with its trace a 500"""
    store.send(trace, span(1, attributes={"n": number}), service=service)
    store.send(healthy := an_id(), span(1, at=1000), service=service)
    answers = [
        store.get("/api/traces", service=service),
        store.get(f"/api/traces/{trace.hex()}"),
        store.get("/api/traces", traceID=[trace.hex(), healthy.hex()]),
    ]
    assert {answer.status for answer in answers} == {500}
    assert len({answer.words for answer in answers}) == 1
    assert store.found(service, {healthy: "the other"}, {"start": US + 500_000}) == "the other"
    assert store.found(service, {healthy: "the other"}, {"tags": '{"n": "0"}'}) == "none"
    seen(answers[0].words)


@pytest.mark.parametrize("place", ["resource", "event"])
def test_not_a_number_elsewhere(store, trace, service, seen, place):
    """NaN in an attribute of a {place} does so too"""
    pairs = {"n": float("nan")}
    events = [("e", pairs)] if place == "event" else []
    store.send(trace, span(1, events=events), service=service, resource=pairs if place == "resource" else {})
    answer = store.get(f"/api/traces/{trace.hex()}")
    assert answer.status == 500
    seen(answer.words)
