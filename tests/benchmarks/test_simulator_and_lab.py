"""The simulator and a real lab of the same file meet the same: so truth is what the words mean, and what the lab does."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest
from lab_under_test import LabUnderTest, start_lab, stop_lab
from truths.simulate import simulate
from truths.story import Abort as Fails
from truths.story import Delay as Slow

from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.model import Cell, Scope
from chaosmesh_ext.model.topology import Topology, parse_topology
from chaosmesh_ext.run import Run
from chaosmesh_ext.settings import load

DELAY = 1.6
FILE = """
apiVersion: chaosmesh-ext/v1alpha1
kind: Topology
metadata: {name: crosscheck}
spec:
  entry: a
  services:
  - name: a
    versions:
    - name: v1
      calls:
      - {to: b, timeout: 600ms, onFailure: omit, retries: {attempts: 2, backoff: 100ms, growth: 2, on: [timeout, 5xx]}}
      - together:
        - {to: c, timeout: 800ms, onFailure: default}
        - {to: d, onFailure: raw}
  - name: b
    versions:
    - name: v1
      calls: [{to: e, timeout: 1s}]
  - name: c
    versions:
    - name: v1
      onCallerGone: cancel
      calls: [{to: e, timeout: 1s, retries: {attempts: 1}, onFailure: bug}]
  - name: d
    versions:
    - name: v1
      calls: [{to: f, method: POST, retries: {attempts: 2, backoff: 50ms, on: [5xx]}}]
  - name: e
  - name: f
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[LabUnderTest]:
    folder = tmp_path_factory.mktemp("crosscheck")
    file = folder / "topology.yaml"
    file.write_text(FILE)
    name = f"crosscheck-{os.getpid()}"
    one = start_lab(name, folder / "state", "--without-prometheus", "--topology", str(file))
    try:
        yield one
    finally:
        stop_lab(one)


@pytest.fixture(scope="module")
def topology() -> Topology:
    return parse_topology(FILE)


@pytest.fixture
def run(lab, monkeypatch) -> Iterator[Run]:
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    one = Run(settings=msgspec.structs.replace(load(), request_budget=16))
    yield one
    one.close()


def calls(cell: Cell) -> Counter[tuple[str, str]]:
    """Attempts that the callers' sidecars saw, by edge, but for the gateway's."""
    (trace,) = cell.traces.values()
    edges = Counter((str(span.workload), span.peer) for span in trace.calls())
    return Counter({edge: count for edge, count in edges.items() if edge[0] != "istio-ingressgateway"})


@pytest.mark.parametrize(("fault", "word"), [(Delay(DELAY), Slow(DELAY)), (Abort(507), Fails(507))])
def test_every_call_fails_in_the_lab_as_the_simulator_says(run, topology, fault, word):
    """Attempts on each edge, how long the faulted ones last, how long the user waits, and what for."""
    edges = sorted({(each.source, each.destination) for each in simulate(topology).attempts})
    wave = run.inject_wave([(fault, Scope(host, source=caller)) for caller, host in edges], carrier="envoyfilter")
    wave.send(counts=1)
    assert wave.unmet == {}
    for edge, cell in zip(edges, wave.cells(), strict=True):
        told = simulate(topology, faults={edge: word})
        (answer,) = cell.answers
        assert calls(cell) == Counter((each.source, each.destination) for each in told.attempts), edge
        assert answer.status == told.visit.status, edge
        assert answer.duration == pytest.approx(told.visit.end, abs=0.4), edge
        (trace,) = cell.traces.values()
        lasted = sorted(span.duration for span in trace.calls() if (str(span.workload), span.peer) == edge)
        expected = sorted(each.end - each.start for each in told.attempts if each.faulted)
        assert lasted == pytest.approx(expected, abs=0.3), edge
