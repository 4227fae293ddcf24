"""Traces: /api/v3, OTLP's JSON as Jaeger writes it."""

from __future__ import annotations

import json

import pytest
from trace_store import an_id, span

VALUES = {
    "an array of texts": ["a", "b"],
    "an array of many kinds": ["a", 1, 2.5, True, b"\x00\xff", None],
    "an array in an array": [[1], []],
    "an array with numbers that JSON lacks": [float("nan"), float("inf"), float("-inf")],
    "an empty array": [],
    "bytes": b"\x00\xff",
    "no bytes": b"",
    "a map": {"k": "v", "n": [1]},
    "an empty map": {},
    "nothing": None,
}


@pytest.mark.parametrize("value", VALUES)
def test_attributes(store, trace, service, seen, value):
    """An attribute that is {value}"""
    store.send(trace, span(1, attributes={"a": VALUES[value]}), service=service, resource={"r": VALUES[value]})
    answer = store.get(f"/api/v3/traces/{trace.hex()}", raw_traces="true")
    assert answer.status == 200, answer.body
    [resource] = answer.json["result"]["resourceSpans"]
    [told] = resource["scopeSpans"][0]["spans"][0]["attributes"]
    [of_process] = [one for one in resource["resource"]["attributes"] if one["key"] == "r"]
    assert (told["key"], of_process["value"]) == ("a", told["value"])
    seen(json.dumps(told["value"]))


def test_services(store, trace, service, seen):
    """GET /api/v3/services names every service that sent a span, once"""
    store.send(trace, span(1), span(2, 1), service=service)
    store.send(an_id(), span(1), service=service)
    answer = store.get("/api/v3/services")
    assert answer.status == 200, answer.body
    assert answer.json["services"].count(service) == 1
    assert sorted(answer.json["services"]) == sorted(store.get("/api/services").json["data"])
    seen(f"{answer.status} {answer.kind} {list(answer.json)}")


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_methods(store, seen, method):
    """{method} on /api/v3/services"""
    answer = store.fetch(f"{store.url}/api/v3/services", method=method)
    seen(f"{answer.status} {answer.kind} {answer.body!r}")


def test_services_before_any(small_store, seen):
    """GET /api/v3/services where there is none"""
    answer = small_store.get("/api/v3/services")
    seen(f"{answer.status} {answer.kind} {answer.body!r}")
