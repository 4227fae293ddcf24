"""How right an exploration is. Prints one JSON object; everything else goes to standard error.

Random topologies, each from its seed, are run in a lab and explored by `chaos mesh explore --stateful`, which knows
their URLs and nothing else. What it writes is scored against the truth: what the file plants and a request from the
entry can show, by a simulator of its own.

precision, recall: over all rules and graphs, a wrong value counting against both. by_rule: of each, right findings
(tp), wrong ones (fp) and what was missed (fn). undecidable: the share of what is there that no request can decide and
is not scored. wall_s: seconds that the explorations took. cells: faults that they injected. missed: each item that was
missed and each finding that was wrong, with its graph's seed and the reason. graphs, seed: as asked. outside: findings
about what no file says, such as the gateway.

`--keep DIR` leaves topologies, truths and reports there. `--seed S --graphs N` takes the seeds S to S+N-1.
`--stateless` leaves out the waves that hold up workloads for everybody, and the rules that need them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from truths.generate import generate
from truths.score import Score, score, total
from truths.truth import paths, truth

from chaosmesh_ext.model.topology import parse_topology

CHAOS = str(Path(sys.executable).with_name("chaos"))
DELAY, STATUS = 12.0, 507
"""What the truth is computed for; the exploration is told to inject just that."""

STATEFUL = ("circuit-breaker", "bulkhead", "unsafe-retry")
"""Rules that need the stateful waves."""

LONGEST = 1800.0
"""Seconds for one exploration; who takes longer has found nothing."""


class Explored(msgspec.Struct):
    """One exploration. findings: as in findings.json. problem: why there are none, for people."""

    findings: list[dict[str, Any]]
    cells: int
    wall: float
    problem: str = ""


def say(words: str) -> None:
    """A line for people."""
    print(words, file=sys.stderr, flush=True)


@contextmanager
def lab(name: str, topology: Path, state: Path) -> Iterator[dict[str, str]]:
    """The environment of a lab of its own that runs TOPOLOGY."""
    home = {**os.environ, "XDG_STATE_HOME": str(state)}
    up = [CHAOS, "mesh", "lab", "up", "--name", name, "--topology", str(topology), "--json"]
    try:
        done = subprocess.run(up, env=home, check=True, stdout=subprocess.PIPE, text=True)
        # every service of a graph is a host, and all of them are faulted at once; a lab of 25 services on a busy
        # machine is slow to answer who renews a Lease
        patient = {"CHAOSMESH_MAX_HOSTS": "100", "CHAOSMESH_LEASE_DURATION": "120"}
        yield {**patient, **home, **json.loads(done.stdout)["env"]}
    finally:
        down = [CHAOS, "mesh", "lab", "down", "--name", name]
        subprocess.run(down, env=home, check=True, stdout=2)  # what prints is one object


def explore(environment: Mapping[str, str], asked: Sequence[str], out: Path, *, stateful: bool) -> Explored:
    """Explore the lab's application by requests to the paths ASKED; the report goes to OUT."""
    urls = [environment["APP_URL"] + path for path in asked]
    words = ["mesh", "explore", *urls, "--out", str(out), "--json", "--delay", f"{DELAY:g}", "--status", str(STATUS)]
    words.append("--stateful" if stateful else "--no-stateful")
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [CHAOS, *words], env=environment, check=False, stdout=subprocess.PIPE, text=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return Explored([], 0, LONGEST, f"explore took longer than {LONGEST:g} s")
    wall = time.perf_counter() - began
    written = out / "findings.json"
    if not written.exists():
        return Explored([], 0, wall, f"explore ended with {done.returncode} and wrote no findings.json")
    if done.returncode not in (0, 1):
        say(f"explore ended with {done.returncode}")
    return Explored(json.loads(written.read_text())["findings"], _cells(done.stdout), wall)


def _cells(printed: str) -> int:
    """How many cells the exploration says that it ran; 0 where it does not say."""
    try:
        cells = json.loads(printed)["cells"]
    except (ValueError, KeyError, TypeError):
        return 0
    return cells if isinstance(cells, int) else len(cells)


def graph(seed: int, folder: Path, state: Path, *, stateful: bool = True) -> tuple[Explored, Score]:
    """Make the topology of SEED, explore it, score what was found; all files go to FOLDER."""
    folder.mkdir(parents=True)
    file = folder / "topology.yaml"
    file.write_text(generate(seed), encoding="utf-8")
    topology = parse_topology(file.read_text(encoding="utf-8"), str(file))
    found = truth(topology, delay=DELAY, status=STATUS)
    (folder / "truth.json").write_bytes(msgspec.json.format(msgspec.json.encode(found.items)))
    with lab(f"truth-{seed}", file, state) as environment:
        explored = explore(environment, paths(topology), folder / "report", stateful=stateful)
    return explored, score(found, explored.findings, without=() if stateful else STATEFUL)


def report(seeds: Sequence[int], done: Sequence[tuple[Explored, Score]]) -> dict[str, Any]:
    """The object that is printed."""
    scores = [scored for _, scored in done]
    whole = total(scores)
    missed: list[dict[str, Any]] = []
    for seed, (explored, scored) in zip(seeds, done, strict=True):
        if explored.problem:
            missed.append({"seed": seed, "why": explored.problem})
        missed += [{"seed": seed, **msgspec.structs.asdict(each)} for each in scored.missed]
    return {
        "precision": round(whole.precision, 4),
        "recall": round(whole.recall, 4),
        "by_rule": whole.by_rule,
        "undecidable": round(whole.share, 4),
        "wall_s": round(sum(explored.wall for explored, _ in done), 1),
        "cells": sum(explored.cells for explored, _ in done),
        "missed": missed,
        "graphs": len(seeds),
        "seed": seeds[0],
        "outside": whole.outside,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="How right an exploration is.")
    parser.add_argument("--graphs", type=int, default=5, help="how many topologies  [5]")
    parser.add_argument("--seed", type=int, default=1, help="of the first one; the others count on from it  [1]")
    parser.add_argument("--keep", type=Path, help="a folder for topologies, truths and reports")
    parser.add_argument("--stateless", action="store_true", help="without the waves that need --stateful")
    asked = parser.parse_args()
    if asked.graphs < 1:
        parser.error("--graphs must be at least 1")
    seeds = range(asked.seed, asked.seed + asked.graphs)
    # whoever ends this ends its lab too
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    done: list[tuple[Explored, Score]] = []
    with tempfile.TemporaryDirectory(prefix="truth-") as scratch:
        keep = asked.keep or Path(scratch)
        for seed in seeds:
            explored, scored = graph(seed, keep / str(seed), Path(scratch) / "state", stateful=not asked.stateless)
            done.append((explored, scored))
            say(
                f"graph {seed}: {scored.present} items, precision {scored.precision:.3f}, recall {scored.recall:.3f},"
                f" {explored.wall:.0f} s{', ' + explored.problem if explored.problem else ''}"
            )
    print(json.dumps(report(seeds, done)))


if __name__ == "__main__":
    main()
