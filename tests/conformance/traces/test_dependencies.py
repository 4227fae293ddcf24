"""Traces: dependencies."""

from __future__ import annotations

import pytest
from trace_store import BASE, an_id, span

MS = BASE // 10**6
"""Milliseconds of `BASE`."""


@pytest.fixture
def calls(store, service):
    """`calls(**query)`: the calls between this test's services, by their short names."""

    def ask(**query) -> str:
        query = {"endTs": MS + 60_000, "lookback": 120_000, **query}
        answer = store.get("/api/dependencies", query)
        assert answer.status == 200
        assert (answer.json["total"], answer.json["errors"]) == (0, None)
        own = [each for each in answer.json["data"] if each["parent"].startswith(service)]
        return " ".join(sorted(f"{e['parent'][-1]}>{e['child'][-1]}:{e['callCount']}" for e in own)) or "none"

    return ask


@pytest.fixture
def tree(store, service):
    """a calls itself and twice b, b calls c; in a trace that began at AT milliseconds."""

    def send(at: float = 0.0) -> None:
        trace = an_id()
        store.send(trace, span(1, at=at), span(2, 1, at=at, kind="client"), service=f"{service}.a")
        store.send(trace, span(3, 2, at=at), span(4, 2, at=at), service=f"{service}.b")
        store.send(trace, span(5, 4, at=at), service=f"{service}.c")

    return send


def test_calls(tree, calls, seen):
    """GET /api/dependencies counts calls between services; those of a service to itself are left out."""
    tree()
    tree(at=5)
    assert calls() == "a>b:4 b>c:2"
    seen(calls())


@pytest.mark.parametrize(("name", "found"), [("b", "a>b:2 b>c:1"), ("c", "b>c:1"), ("a", "a>b:2"), ("x", "none")])
def test_of_a_service(tree, calls, service, seen, name, found):
    """service={name} keeps the calls from it and to it"""
    tree()
    assert calls(service=f"{service}.{name}") == found
    seen(found)


@pytest.mark.parametrize(
    ("end", "lookback", "found"),
    [(1, 2, "some"), (0, 10, "none"), (10, 10, "none"), (10, 11, "some"), (1, -2, "none"), (-100, 50, "none")],
    ids=["around", "at its end", "at its start", "a millisecond more", "turned around", "before"],
)
def test_window(store, service, calls, seen, end, lookback, found):
    """endTs and lookback in milliseconds: a span must begin within them, neither bound included"""
    trace = an_id()
    store.send(trace, span(1), service=f"{service}.a")
    store.send(trace, span(2, 1), service=f"{service}.b")
    got = calls(endTs=MS + end, lookback=lookback)
    assert (got == "a>b:1") == (found == "some")
    seen(got)


def test_half_within(store, service, calls, seen):
    """A trace of which one span is within the window counts as a whole."""
    trace = an_id()
    store.send(trace, span(1, at=0), service=f"{service}.a")
    store.send(trace, span(2, 1, at=1000), service=f"{service}.b")
    store.send(trace, span(3, 2, at=2000), service=f"{service}.c")
    got = calls(endTs=MS + 1001, lookback=2)
    assert got == "a>b:1 b>c:1"
    seen(got)


def test_default_window(store, service, calls, seen):
    """Without endTs and lookback the last day is meant."""
    for at in (0, -2 * 86_400_000):
        trace = an_id()
        store.send(trace, span(1, at=at), service=f"{service}.a")
        store.send(trace, span(2, 1, at=at), service=f"{service}.b")
    got = calls(endTs="", lookback="")
    assert got == "a>b:1"
    seen(got)


def test_orphans_and_links(store, service, calls, seen):
    """An orphan is nobody's call; a link within the trace is one where there is no parent."""
    trace = an_id()
    store.send(trace, span(1), service=f"{service}.a")
    store.send(trace, span(2, 0x99), span(3, links=[(trace, 1, {})]), service=f"{service}.b")
    assert calls() == "a>b:1"
    seen(calls())


def test_sent_twice(store, service, calls, seen):
    """A span that came twice is counted twice."""
    trace = an_id()
    store.send(trace, span(1), service=f"{service}.a")
    for _ in range(2):
        store.send(trace, span(2, 1), service=f"{service}.b")
    assert calls() == "a>b:2"
    seen(calls())
