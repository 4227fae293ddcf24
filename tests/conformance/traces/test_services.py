"""Traces: services and operations."""

from __future__ import annotations

import urllib.parse

import pytest
from trace_store import an_id, span


def test_services(store, trace, service, seen):
    """GET /api/services names every service that sent a span, once."""
    store.send(trace, span(1), span(2, 1), service=service)
    store.send(an_id(), span(1), service=service)
    answer = store.get("/api/services")
    assert answer.json["data"].count(service) == 1
    assert answer.json["total"] == len(answer.json["data"])
    assert {key: answer.json[key] for key in ("limit", "offset", "errors")} == {"limit": 0, "offset": 0, "errors": None}
    seen(f"{answer.words}; total is their number; limit 0, offset 0, errors null")


@pytest.mark.parametrize(
    ("sent", "resource", "name"),
    [
        (None, {}, "missing-service-name"),
        (None, {"host.name": "h"}, "missing-service-name"),
        ("", {}, "empty-service-name"),
        (None, {"service.name": 5}, "service-name-wrong-type"),
        ("first", [("service.name", "second")], "first"),
    ],
    ids=["no resource", "a resource without one", "an empty one", "a number", "two"],
)
def test_service_name(store, trace, seen, sent, resource, name):
    """A service's name is the resource's service.name, or what is wrong with it"""
    store.send(trace, span(1), service=sent, resource=resource)
    found = store.trace(trace)["processes"]
    assert [process["serviceName"] for process in found.values()] == [name]
    assert name in store.get("/api/services").json["data"]
    seen(name)


def test_operations_by_path(store, trace, service, seen):
    """GET /api/services/{service}/operations names each operation once, whatever its kind."""
    store.send(trace, span(1, name="GET /x"), span(2, 1, name="GET /x", kind="client"), span(3, 1), service=service)
    answer = store.get(f"/api/services/{service}/operations")
    assert (sorted(answer.json["data"]), answer.json["total"]) == (["GET /x", "op"], 2)
    seen(" ".join([answer.words, *sorted(answer.json["data"])]))


def test_operations_of_a_service_with_a_slash(store, trace, service, seen):
    """A service's name is escaped in the path."""
    name = f"{service}/a b+c"
    store.send(trace, span(1), service=name)
    for escaped in (urllib.parse.quote(name, safe=""), urllib.parse.quote_plus(name, safe="")):
        assert store.get(f"/api/services/{escaped}/operations").json["data"] == ["op"]
    assert store.get(f"/api/services/{service}%2Fa+b+c/operations").json["data"] is None
    seen("%2F is a slash, %20 and + are blanks, %2B is a plus")


@pytest.mark.parametrize("kind", ["client", "server", "producer", "consumer", "internal"])
def test_operations_by_kind(store, trace, service, seen, kind):
    """GET /api/operations?spanKind={kind}"""
    kinds = ["client", "server", "producer", "consumer", "internal", ""]
    store.send(trace, *(span(i, name=f"op {k}", kind=k) for i, k in enumerate(kinds, 1)), service=service)
    answer = store.get("/api/operations", service=service, spanKind=kind)
    assert answer.json["data"] == [{"name": f"op {kind}", "spanKind": kind}]
    assert answer.json["total"] == 1
    seen(str(answer.json["data"][0]))


def test_operations_of_all_kinds(store, trace, service, seen):
    """GET /api/operations lists an operation once for each of its kinds."""
    store.send(trace, span(1, kind="client"), span(2, 1, kind="server"), span(3, 1, kind=""), service=service)
    found = store.get("/api/operations", service=service).json
    kinds = sorted(each["spanKind"] for each in found["data"])
    assert (kinds, found["total"]) == (["", "client", "server"], 3)
    seen(f"{kinds}, total {found['total']}")


@pytest.mark.parametrize("kind", ["CLIENT", "nosuch"])
def test_operations_of_an_unknown_kind(store, trace, service, seen, kind):
    """GET /api/operations?spanKind={kind} finds nothing"""
    store.send(trace, span(1, kind="client"), service=service)
    answer = store.get("/api/operations", service=service, spanKind=kind)
    assert (answer.status, answer.json["data"]) == (200, [])
    seen(f"{answer.words} []")


@pytest.mark.parametrize(
    ("path", "data"),
    [("/api/services/nobody/operations", None), ("/api/operations?service=nobody", []), ("/api/dependencies", [])],
)
def test_nothing_to_list(store, seen, path, data):
    """GET {path} where there is nothing"""
    answer = store.fetch(store.url + path + ("?endTs=5&lookback=1" if path.endswith("dependencies") else ""))
    assert (answer.status, answer.json) == (200, {"data": data, "total": 0, "limit": 0, "offset": 0, "errors": None})
    seen(answer.body.decode())


def test_pretty_print(store, seen):
    """prettyPrint=true indents the answer."""
    answer = store.get("/api/traces/1", prettyPrint="true"), store.get("/api/operations?service=nobody&prettyPrint=1")
    assert answer[0].status == 404
    assert answer[1].body.startswith(b'{\n    "data": [],\n    "total": 0')
    assert b"\n" not in store.get("/api/operations?service=nobody&prettyPrint=false").body
    seen("four blanks for each level; errors are never indented")
