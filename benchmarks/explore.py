"""How fast an exploration is. Prints one JSON object; everything else goes to standard error.

Bookinfo on a lab of its own, the whole matrix of the stateless waves:

wall_s: from the first request of wave 0 to the findings, the run closed. bound_s: what no exploration can do without:
    the measured push of each wave (from the write to the first request that met one of its faults), for each wave the
    last span's end as exploring/bookinfo.yaml has it (predicted by the topologies' simulator, see exploring/predict.py:
    13 s for the delays, where a reviews-v2 that productpage has left twice gives up on ratings), and 0.2 s.
    ratio: of the two. Goal: at most 1.25. requests: that were sent with a marker.
serial_s: the same cells one after another by plain `chaos run` with chaostoolkit-istio (exploring/serial.py says what
    is in it, and what is spared it). speedup: how many times the exploration is faster. Goal: at least 6.
stateful: the waves that hold up workloads for everybody, of a second exploration. wall_s: from the first of them to the
    findings. bound_s: their pushes; for each breaker's cell, which take turns, as many failing requests one after the
    other as the rule asks for where nothing opens (30 failures of each pod), each as long as a healthy one; for the
    other cells of a wave the last span's end as predicted; and 0.2 s. null where there were none.
plan: `chaos mesh explore --plan` of 1,000 services and 5,000 edges, with several versions, operations and entry
    URLs, some calls made several times a request. seconds: from the file's bytes to the plan, the best of three.
    command_s: the whole command, Python's start and the printing of all cells included. cells, one_by_one: what is
    injected, and how many experiments a fault on each call alone would have been. Goal: at most 2 s.

`--without-serial` leaves out what takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exploring import serial
from exploring.measure import Measured, measure
from exploring.predict import READ, bound, ends
from truths.story import Abort, Delay, Fault

from chaosmesh_ext.explore.cells import wanted
from chaosmesh_ext.explore.plan import DELAY, STATUS, plan
from chaosmesh_ext.explore.waves import PlannedCell, Wave
from chaosmesh_ext.findings.stimulus import MOST_FAILURES
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.model import CallSite, Edge, Graph, Workload
from chaosmesh_ext.model.topology import Topology, parse_topology
from chaosmesh_ext.observe.prometheus import Prometheus

CHAOS = str(Path(sys.executable).with_name("chaos"))
PATH = "/productpage"
SERVICES, EDGES = 1_000, 5_000
SEED = 7


def graph(services: int, edges: int, seed: int) -> Graph:
    """A graph with exactly so many SERVICES and EDGES, all of which requests reach."""
    chance = random.Random(seed)  # noqa: S311 the same graph every time
    versions = [["v1", "v2"] if chance.random() < 0.2 else ["v1"] for _ in range(services)]
    # every service has a caller before it, so that requests reach it
    pairs = {(chance.randrange(callee), "v1", callee) for callee in range(1, services)}
    while len(pairs) < edges:
        caller, callee = sorted(chance.sample(range(services), 2))
        pairs.add((caller, chance.choice(versions[caller]), callee))
    sites = []
    for caller, version, callee in sorted(pairs):
        edge = Edge(Workload(f"service{caller}", version), f"service{callee}")
        for operation in range(chance.choice((1, 1, 2))):
            calls = chance.choice((1.0, 1.0, 1.0, 0.5, 4.0))
            url = f"http://shop.example/{chance.randrange(4)}"
            sites.append(CallSite(edge, f"GET /things{operation}/{{id}}", calls, url))
    return Graph.of(sites)


def planning(text: str) -> dict[str, Any]:
    """Plan the graph in TEXT, here and by the command."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        known = Graph.from_json(text)
        made = plan(known)
        best = min(best, time.perf_counter() - began)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.json"
        file.write_text(text, encoding="utf-8")
        command = [CHAOS, "mesh", "explore", "--plan", "--graph", str(file)]
        began = time.perf_counter()
        printed = subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE, cwd=folder).stdout
        whole = time.perf_counter() - began
    told = json.loads(printed)
    if (told["cells"], told["one_by_one"]) != (len(made.cells), made.one_by_one):
        raise ValueError("the command planned something else")
    return {
        "services": len(known.services),
        "edges": len(known.edges),
        "seconds": round(best, 3),
        "cells": len(made.cells),
        "one_by_one": made.one_by_one,
        "command_s": round(whole, 3),
    }


def bookinfo() -> Topology:
    """As the topology file has it."""
    file = Path(__file__).parent / "exploring" / "bookinfo.yaml"
    return parse_topology(file.read_text(encoding="utf-8"), str(file))


def await_metrics(name: str) -> None:
    """Wait until Prometheus looks at all proxies of the lab: a mesh that is explored has been up for a while."""
    status = [CHAOS, "mesh", "lab", "status", "--name", name, "--json"]
    pods = json.loads(subprocess.run(status, check=True, stdout=subprocess.PIPE, text=True).stdout)["pods"]
    prometheus, deadline = Prometheus(os.environ["PROMETHEUS_URL"]), time.monotonic() + 60
    while (prometheus.scalar("count(up == 1)") or 0) < len(pods):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Prometheus does not look at {len(pods)} proxies; see `chaos mesh lab status`")
        time.sleep(0.1)


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """Bookinfo on a lab of its own, which this process' environment leads to; the application's origin."""
    home = {**os.environ, "XDG_STATE_HOME": str(folder)}
    name = f"speed-{os.getpid()}"
    try:
        up = [CHAOS, "mesh", "lab", "up", "--name", name, "--json"]
        done = subprocess.run(up, env=home, check=True, stdout=subprocess.PIPE, text=True)
        os.environ |= {"XDG_STATE_HOME": str(folder), **json.loads(done.stdout)["env"]}
        await_metrics(name)
        yield os.environ["APP_URL"]
    finally:
        subprocess.run([CHAOS, "mesh", "lab", "down", "--name", name], env=home, check=True, stdout=sys.stderr)


def fault_of(cell: PlannedCell) -> Fault:
    """In the simulator's words."""
    return Delay(cell.delay) if cell.delay else Abort(cell.status)


def questions(topology: Topology, cells: Sequence[PlannedCell]) -> list[serial.Question]:
    """An experiment for each of CELLS."""
    found = []
    for cell in cells:
        service = cell.edge.source.service
        end = ends(topology, (service, cell.edge.destination), fault_of(cell), PATH)
        versions = len(topology.service(service).versions)
        question = serial.Question(
            host=cell.edge.destination,
            at_the_gateway=service == topology.entry,
            requests=serial.count(wanted(cell), [1 / versions] * len(cell.edges)),
            after=end.last - end.answer,
            delay=cell.delay,
            status=cell.status,
        )
        found.append(question)
    return found


def one_by_one(topology: Topology, found: Measured, origin: str, folder: Path) -> float:
    """Seconds that the cells of what was FOUND take by plain experiments."""
    asked = questions(topology, [c for wave in found.explored.plan.waves if not wave.stateful for c in wave.cells])
    hosts = sorted({each.host for each in asked if not each.at_the_gateway})
    folder.mkdir()
    with serial.virtual_services(connect(), hosts):
        took = serial.run(asked, origin + PATH, os.environ, folder)
    for question, seconds in zip(asked, took, strict=True):
        what = f"delay {question.delay:g} s" if question.delay else f"abort {question.status}"
        print(f"{question.host}, {what}: {question.requests} requests, {seconds:.1f} s", file=sys.stderr, flush=True)
    return sum(took)


def lasts(topology: Topology, wave: Wave, usual: float, pushes: Mapping[str, float]) -> float:
    """Seconds that a stateful WAVE takes at least. USUAL: a healthy answer's; the topology file has no work in it."""
    failing, others = 0.0, 0.0
    for cell in wave.cells:
        service = cell.edge.source.service
        end = ends(topology, (service, cell.edge.destination), fault_of(cell), PATH)
        if cell.kind == "breaker":
            requests = serial.count(MOST_FAILURES, [end.met / len(topology.service(service).versions)])
            failing += requests * max(usual, end.answer)
        else:
            others = max(others, end.last)
    return failing + others + pushes.get("delay" if wave.cells[0].delay else "abort", 0.0)


def stateful(topology: Topology, found: Measured) -> dict[str, float | None]:
    """Of the exploration FOUND."""
    waves = [wave for wave in found.explored.plan.waves if wave.stateful and wave.cells]
    if not waves or found.stateful is None:
        print("no stateful wave was injected", file=sys.stderr)
        return {"wall_s": None, "bound_s": None}
    usual = statistics.median(answer.duration for answer in found.explored.found.control.answers)
    least = READ + sum(lasts(topology, wave, usual, found.pushes) for wave in waves)
    return {"wall_s": round(found.stateful, 2), "bound_s": round(least, 2)}


def speed(*, with_serial: bool) -> dict[str, Any]:
    """Everything about Bookinfo."""
    topology = bookinfo()
    with tempfile.TemporaryDirectory(prefix="speed-") as scratch, lab(Path(scratch)) as origin:
        print(f"load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        found = measure(origin + PATH, stateful=False)
        least = bound(topology, [Delay(DELAY), Abort(STATUS)], found.pushes, PATH)
        whole = one_by_one(topology, found, origin, Path(scratch) / "serial") if with_serial else None
        others = stateful(topology, measure(origin + PATH, stateful=True))
    return {
        "wall_s": round(found.wall, 2),
        "bound_s": round(least, 2),
        "ratio": round(found.wall / least, 3),
        "serial_s": None if whole is None else round(whole, 1),
        "speedup": None if whole is None else round(whole / found.wall, 1),
        "requests": found.requests,
        "stateful": others,
    }


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description="How fast an exploration is.")
    parser.add_argument("--without-serial", action="store_true", help="without the experiments one after another")
    asked = parser.parse_args()
    # whoever ends this ends its lab too
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    measured = speed(with_serial=not asked.without_serial)
    print(json.dumps({**measured, "plan": planning(graph(SERVICES, EDGES, SEED).to_json())}))


if __name__ == "__main__":
    main()
