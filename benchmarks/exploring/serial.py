"""The same cells without an explorer: one plain `chaos run` after another, with chaostoolkit-istio's actions.

An experiment is what people write for one question: the fault in, half a second for its push, the requests one after
another (activities of an experiment are), a pause until the last call that they set going is over and its spans are in
the store, the fault out.
Its requests are as many as it takes, with shares as healthy requests have them, until so many met the fault as rules
ask for. Nothing else is waited for: no proof, no control, no reading of traces, no judgement.

A fault of chaostoolkit-istio goes into a VirtualService that is there. So each called service gets one before the clock
starts, and loses it when it is over; the gateway has Bookinfo's own.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from chaosmesh_ext.mesh import Client

__all__ = ["Question", "count", "experiment", "run", "virtual_services"]

CHAOS = str(Path(sys.executable).with_name("chaos"))
ENTRANCE = "bookinfo"
"""The VirtualService of what the gateway calls."""
FLUSH = 1.0
"""Seconds until the spans of a call that is over are read: one quiet second (rules)."""
PUSH = 0.5
"""Seconds from the write to the first request, which would go by the fault else: chaostoolkit-istio waits for nothing,
and istiod collects changes for 0.1 s before it pushes them.
"""
VERSION = "networking.istio.io/v1"


class Question(msgspec.Struct, frozen=True):
    """One cell. host: called service. delay: seconds, or status of an abort. requests: to send. after: seconds from the
    last answer to the end of the last call.
    """

    host: str
    at_the_gateway: bool
    requests: int
    after: float
    delay: float = 0.0
    status: int = 0


def count(wanted: int, shares: Sequence[float]) -> int:
    """Requests of which WANTED meet the fault of each caller, of whose calls there are SHARES per request."""
    return math.ceil(wanted / min(shares) - 1e-9)


def experiment(question: Question, url: str) -> dict[str, Any]:
    """As a file holds it."""
    name = ENTRANCE if question.at_the_gateway else question.host
    where = {
        "virtual_service_name": name,
        "routes": [{"destination": {"host": question.host}}],
        "ns": "default",
        "version": VERSION,
    }
    if question.delay:
        word, amount = "delay", {"fixed_delay": f"{question.delay:g}s"}
    else:
        word, amount = "abort", {"http_status": question.status}

    def act(verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        function = f"{verb}_{word}_fault"
        provider = {"type": "python", "module": "chaosistio.fault.actions", "func": function, "arguments": arguments}
        return {"type": "action", "name": f"{verb} the {word}", "provider": provider}

    asked = {
        "type": "action",
        "name": "ask for the page",
        "provider": {"type": "http", "url": url, "timeout": 10 + question.delay},
    }
    last = {**asked, "pauses": {"after": round(question.after + FLUSH, 3)}}
    return {
        "title": f"What if {question.host} is {'slow' if question.delay else 'failing'}?",
        "description": "One cell of an exploration.",
        "method": [
            {**act("add", {**where, **amount, "percentage": 100.0}), "pauses": {"after": PUSH}},
            *[asked] * (question.requests - 1),
            last,
        ],
        "rollbacks": [act("remove", where)],
        "runtime": {"rollbacks": {"strategy": "always"}},
    }


def run(questions: Sequence[Question], url: str, environment: Mapping[str, str], folder: Path) -> list[float]:
    """Seconds that each of QUESTIONS takes, about the application at URL. Raises RuntimeError where one goes wrong."""
    took = []
    for number, question in enumerate(questions):
        file, journal = folder / f"{number}.json", folder / f"{number}-journal.json"
        file.write_text(json.dumps(experiment(question, url)), encoding="utf-8")
        began = time.perf_counter()
        words = [CHAOS, "--no-version-check", "run", "--journal-path", str(journal), str(file)]
        done = subprocess.run(words, env=environment, cwd=folder, check=False, capture_output=True, text=True)
        took.append(time.perf_counter() - began)
        said = json.loads(journal.read_text(encoding="utf-8"))
        wrong = [each for each in [*said["run"], *said["rollbacks"]] if _wrong(each)]
        if done.returncode or wrong:
            raise RuntimeError(f"chaos run {file}: exit {done.returncode}, {json.dumps(wrong)[:1000]} {done.stderr}")
    return took


def _wrong(activity: Mapping[str, Any]) -> bool:
    """Whether it failed; the extension calls a refused write a success."""
    output = activity.get("output")
    python = activity["activity"]["provider"]["type"] == "python"
    return activity["status"] != "succeeded" or (python and isinstance(output, dict) and output.get("status") != 200)


@contextmanager
def virtual_services(client: Client, hosts: Sequence[str]) -> Iterator[None]:
    """One for each of HOSTS, which says what holds without it."""
    made = []
    try:
        for host in hosts:
            spec = {"hosts": [host], "http": [{"route": [{"destination": {"host": host}}]}]}
            metadata = {"name": host, "namespace": "default"}
            made.append(
                client.create({"apiVersion": VERSION, "kind": "VirtualService", "metadata": metadata, "spec": spec})
            )
        yield
    finally:
        for one in made:
            client.delete("VirtualService", "default", one["metadata"]["name"], uid=one["metadata"]["uid"])
