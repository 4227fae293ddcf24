"""`chaos mesh explore` among others: nobody else is faulted, and what cannot be explored leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

import httpx
import pytest
from lab_under_test import CHAOS, LabUnderTest

from chaosmesh_ext.mesh import connect
from chaosmesh_ext.model import new_trace_id
from chaosmesh_ext.run import runs

RATE = 20
"""Requests of others in a second."""

SPANS = 7
"""In the smallest whole trace of the page: at the gateway, of the page, of details and of reviews that calls nobody."""


@pytest.fixture
def page(lab: LabUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Bookinfo's page, in the environment of its lab; nothing is left afterwards."""
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    yield f"{lab.env['APP_URL']}/productpage"
    assert runs(connect()) == []


@dataclass
class Others:
    """Users of URL: so many requests a second, each sent when it is time, whether or not those before were answered.

    got: when each was sent, its trace, its status, and how many seconds its answer took.
    """

    url: str
    got: list[tuple[float, str, int, float]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._client = httpx.Client(limits=httpx.Limits(max_connections=None), timeout=60)
        self._senders: list[threading.Thread] = []
        self._clock = threading.Thread(target=self._go)
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._clock.join()
        for sender in self._senders:
            sender.join()
        self._client.close()

    def _go(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due += 1 / RATE
            self._senders.append(threading.Thread(target=self._ask))
            self._senders[-1].start()

    def _ask(self) -> None:
        began, trace_id = time.time(), new_trace_id()
        try:
            # a trace of their own, so that it can be found; no marker
            status = self._client.get(
                self.url, headers={"traceparent": f"00-{trace_id}-{trace_id[:16]}-01"}
            ).status_code
        except httpx.HTTPError:
            status = 0
        self.got.append((began, trace_id, status, time.time() - began))

    def more(self, count: int) -> None:
        """Wait for COUNT more answers."""
        wanted, end = len(self.got) + count, time.monotonic() + 60
        while len(self.got) < wanted and time.monotonic() < end:
            time.sleep(0.05)


def p95(durations: list[float]) -> float:
    return sorted(durations)[int(0.95 * len(durations))]


def faulted(trace_ids: Iterable[str]) -> dict[str, set[str]]:
    """By somebody else's trace, the flags of faults in it; every trace is awaited."""
    waiting, found, end = set(trace_ids), dict[str, set[str]](), time.monotonic() + 60
    while waiting and time.monotonic() < end:
        for some in batched(sorted(waiting), 50):
            asked = httpx.get(f"{os.environ['JAEGER_URL']}/api/traces", params=[("traceID", one) for one in some])
            for trace in asked.json()["data"]:
                tags = [tag for span in trace["spans"] for tag in span["tags"] if tag["key"] == "response_flags"]
                found[trace["traceID"]] = {flag for tag in tags for flag in str(tag["value"]).split(",")} & {"DI", "FI"}
                if len(trace["spans"]) >= SPANS:
                    waiting.discard(trace["traceID"])
        time.sleep(0.1)
    assert not waiting, f"{len(waiting)} traces are not whole"
    return {trace_id: flags for trace_id, flags in found.items() if flags}


def batched(every: list[str], count: int) -> list[list[str]]:
    return [every[i : i + count] for i in range(0, len(every), count)]


def test_nobody_else_is_faulted_while_calls_are(page: str, tmp_path) -> None:
    """Others send twenty requests a second all the while: none fails, meets a fault, or waits for one."""
    words = [CHAOS, "mesh", "explore", page, "--no-stateful", "--delay", "2", "--out", str(tmp_path)]
    words += ["--only", "edge=productpage:details", "--only", "edge=reviews:ratings"]
    with Others(page) as others:
        others.more(2 * RATE)
        began = time.time()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        ended = time.time()
        others.more(2 * RATE)
    assert done.returncode == 1, done.stdout + done.stderr
    assert json.loads((tmp_path / "findings.json").read_text())["coverage"]["tested"] == 3
    assert {status for _, _, status, _ in others.got} == {200}
    during = [one for one in others.got if began <= one[0] <= ended]
    assert len(during) >= RATE
    assert faulted(trace_id for _, trace_id, _, _ in during) == {}
    quiet = [[took for sent, _, _, took in others.got if sent < began], [t for s, _, _, t in others.got if s > ended]]
    assert p95([took for _, _, _, took in during]) <= 3 * max(map(p95, quiet)) + 1.0


def test_a_plan_of_a_url_shows_the_waves_and_injects_nothing(page: str, tmp_path) -> None:
    """Discovery alone; nothing is written."""
    done = subprocess.run(
        [CHAOS, "mesh", "explore", "--plan", page, "--json"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [wave["name"] for wave in plan["waves"]][:3] == ["healthy", "delay", "abort"]
    assert {"productpage-v1", "reviews-v2"} <= {cell["source"] for cell in plan["waves"][1]["cells"]}
    assert not (tmp_path / "reports").exists()


def test_a_signal_before_the_first_fault_is_one_line_and_soon_over(page: str, tmp_path) -> None:
    """Though the page, which answers nobody, would be waited for half a minute."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(60)
        words = [CHAOS, "mesh", "explore", f"http://127.0.0.1:{silent.getsockname()[1]}/", "--out", str(tmp_path / "o")]
        running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        asked, _ = silent.accept()
        with asked:
            running.send_signal(signal.SIGTERM)
            out, err = running.communicate(timeout=20)
    assert running.returncode == 4, out + err
    assert err.splitlines()[-1] == "Error: SIGTERM ended it early"
    assert out == ""
    assert not (tmp_path / "o").exists()
