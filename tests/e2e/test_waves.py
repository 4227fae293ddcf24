"""Waves on real sidecars: all edges of Bookinfo at once, by both carriers; seen, and ended, from outside like any fault."""

from __future__ import annotations

import json

import msgspec
import pytest

from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import Run, runs
from chaosmesh_ext.run.traffic import Errand, application
from chaosmesh_ext.settings import load

EDGES = {
    ("productpage-v1", "details"),
    ("productpage-v1", "reviews"),
    ("reviews-v2", "ratings"),
    ("reviews-v3", "ratings"),
}
DELAY = 2.0


@pytest.fixture
def run(lab, monkeypatch):
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    one = Run(settings=msgspec.structs.replace(load(), request_budget=16))
    yield one
    one.close()
    assert runs(connect()) == []


def begin(run: Run, fault, carrier: str):
    page = Errand.to(application(run.settings, "/productpage"), {})
    edges = sorted(EDGES)
    return run.inject_wave(
        [(fault, Scope(host, source=caller)) for caller, host in edges], carrier=carrier, errands=[page]
    )


def faulted(cell) -> set[tuple[str, str]]:
    """The edges on which a request of CELL met a fault."""
    spans = [span for trace in cell.traces.values() for span in trace.spans]
    return {(str(span.workload), span.peer) for span in spans if span.flags & {"DI", "FI"}}


@pytest.mark.parametrize(("carrier", "objects"), [("envoyfilter", 3), ("virtualservice", 3)])
def test_every_edge_at_once_each_met_by_its_own_requests_only(run, lab, carrier, objects):
    """One EnvoyFilter a caller, one VirtualService a host; the end of the second wave comes from the command line."""
    wave = begin(run, Delay(DELAY), carrier)
    assert len(wave.objects) == objects
    answers = wave.send(counts=1)
    assert wave.unmet == {}
    cells = wave.cells()
    assert [faulted(cell) for cell in cells] == [{edge} for edge in sorted(EDGES)]
    assert all(max(one.duration for one in found) >= DELAY for found in answers.values())
    assert wave.canary
    assert max(one.duration for one in wave.canary) < DELAY
    assert wave.undo().gone_after is not None
    assert runs(connect()) == [] or not runs(connect())[0].objects

    wave = begin(run, Abort(507), carrier)
    wave.send(counts=1)
    assert [faulted(cell) for cell in wave.cells()] == [{edge} for edge in sorted(EDGES)]
    (seen,) = json.loads(lab.chaos("mesh", "runs", "--json").stdout)
    assert (seen["run"], seen["state"], len(seen["objects"])) == (run.token, "live", objects)
    done = lab.chaos("mesh", "recover", "--run", run.token)
    assert done.returncode == 0, done.stderr
    assert runs(connect()) == []
