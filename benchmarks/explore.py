"""How fast an exploration is. Prints one JSON object; everything else goes to standard error.

plan: `chaos mesh explore --plan` of 1,000 services and 5,000 edges, with several versions, operations and entry
    URLs, some calls made several times a request. seconds: from the file's bytes to the plan, the best of three.
    command_s: the whole command, Python's start and the printing of all cells included. cells, one_by_one: what is
    injected, and how many experiments a fault on each call alone would have been.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from chaosmesh_ext.explore.plan import plan
from chaosmesh_ext.model import CallSite, Edge, Graph, Workload

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
        command = [str(Path(sys.executable).with_name("chaos")), "mesh", "explore", "--plan", "--graph", str(file)]
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


def main() -> None:
    """Measure everything."""
    print(json.dumps({"plan": planning(graph(SERVICES, EDGES, SEED).to_json())}))


if __name__ == "__main__":
    main()
