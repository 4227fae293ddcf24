"""Proof by counters: a call is counted when it ends, and everybody's calls are in the same counter."""

from __future__ import annotations

import time
from concurrent.futures import Future

import pytest

from chaosmesh_ext.errors import LeftBehind
from chaosmesh_ext.faults import Delay
from chaosmesh_ext.model import Answer, Marker
from chaosmesh_ext.run.evidence import Watched
from chaosmesh_ext.run.metrics_proof import MetricsProver
from chaosmesh_ext.run.traffic import Errand


class Counters:
    """Prometheus over a mesh in which others make ten calls a second; scraped all the time unless `asleep`.

    sticks: ours are still delayed by 0.6 s after the fault's removal, and counted as faulted at their end.
    """

    def __init__(self, *, sticks: bool = False) -> None:
        self.sticks, self.asleep = sticks, False
        self.began = time.time()
        self.sent: list[float] = []
        self.budget = 4
        self.queries: list[str] = []

    def send(self, _errand: Errand, _marker: Marker) -> Future[Answer]:
        self.sent.append(time.time())
        future: Future[Answer] = Future()
        ends = self.sent[-1] + (0.6 if self.sticks else 0.0)
        future.done = lambda: time.time() >= ends  # type: ignore[method-assign]
        return future

    def scalar(self, query: str) -> float:
        self.queries.append(query)
        now = self.began if self.asleep else time.time()
        if "timestamp" in query:
            return now
        faulted = sum(now >= sent + 0.6 for sent in self.sent) if self.sticks else 0
        if "DI|FI" in query:
            return float(faulted)
        return 10 * (now - self.began) + sum(now >= sent for sent in self.sent)


def prover(counters: Counters, monkeypatch, timeout: float = 20.0) -> MetricsProver:
    monkeypatch.setattr("chaosmesh_ext.run.metrics_proof._SCRAPE", 1.0)
    monkeypatch.setattr("chaosmesh_ext.run.metrics_proof._PAUSE", 0.02)
    return MetricsProver(
        counters,  # type: ignore[arg-type]
        counters,  # type: ignore[arg-type]
        Errand("http://page/"),
        fault=Delay(0.6),
        watched=Watched((), "details", "shop"),
        sources=(),
        marker=Marker("0badcafe", "1"),
        timeout=timeout,
    )


def test_a_removed_fault_is_gone_once_our_own_calls_came_back_without_it(monkeypatch):
    assert prover(Counters(), monkeypatch).gone() < 10


def test_others_calls_do_not_hide_ours_that_are_still_delayed(monkeypatch):
    """Thirty calls of theirs are counted before the first of ours ends."""
    with pytest.raises(LeftBehind, match="could not show that it is gone"):
        prover(Counters(sticks=True), monkeypatch, timeout=1.0).gone()


def test_what_was_counted_before_our_calls_ended_proves_nothing(monkeypatch):
    counters = Counters()
    counters.asleep = True
    with pytest.raises(LeftBehind):
        prover(counters, monkeypatch, timeout=1.0).gone()


def test_callers_of_other_namespaces_are_not_taken_for_those_that_are_meant(monkeypatch):
    counters = Counters()
    prover(counters, monkeypatch).gone()
    assert all('source_workload_namespace="shop"' in query for query in counters.queries if "DI|FI" not in query)
