"""How fast a run is undone that nobody ends, and what a run asks of the API. Prints one JSON object.

watchdog_ms: from SIGKILL of the runner to the first marked request that is clean again, on a warm connection through
the caller's sidecar, 100 times on the embedded lab. Goal: p99 at most 250.
janitor_s: runner and watchdog killed, `chaos mesh janitor --watch` at work; from the expiry of the run's Lease until
its fault is gone, the slowest of three. Goal: at most 5.
requests: of an uncontended run with one fault, without Lease renewals and deletions. inject, undo: those that write;
reads: all others, until the run is closed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import Client, connect
from chaosmesh_ext.mesh.lease import when
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import Run

CHAOS = str(Path(sys.executable).with_name("chaos"))
TIMES = 100
SCOPE = Scope("details", source="productpage-v1")
OTHERS = (SCOPE, Scope("reviews", source="productpage-v1"), Scope("ratings", source="reviews-v2"))
"""One fault at a time on the calls of one workload to one host."""


def chaos(*words: str) -> str:
    """Run `chaos …` and return its standard output."""
    return subprocess.run([CHAOS, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


class Caller:
    """One keep-alive connection through the caller's sidecar to details."""

    def __init__(self, address: str) -> None:
        self._socket = socket.create_connection((address, 9080), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def status(self, marker: str) -> int:
        """Of a request with MARKER."""
        parent = f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"
        head = (
            "GET /details/0 HTTP/1.1",
            "Host: details:9080",
            f"traceparent: {parent}",
            f"tracestate: chaosmesh={marker}",
        )
        self._socket.sendall("\r\n".join([*head, "", ""]).encode())
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._buffer += self._read()
        lines = bytes(self._buffer[:end]).lower()
        length = int(lines.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        while len(self._buffer) < end + 4 + length:
            self._buffer += self._read()
        del self._buffer[: end + 4 + length]
        return int(lines[9:12])

    def _read(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise SystemExit("the sidecar closed the connection")
        return data


def runner(pipe: Pipe, scope: Scope) -> None:
    """A process with a fault in the mesh, which never ends it."""
    run = Run()
    run.inject(Abort(507), scope, prove=False)
    pipe.send(str(run.marker))
    signal.pause()


@contextmanager
def injected(scope: Scope = SCOPE) -> Iterator[tuple[Any, str]]:
    """A runner whose fault is in, and its marker."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("forkserver").Process(target=runner, args=(theirs, scope))
    process.start()
    try:
        if not ours.poll(30):
            raise SystemExit("the runner did not inject within 30 s")
        yield process, ours.recv()
    finally:
        process.kill()
        process.join()


def by_watchdog(address: str) -> list[float]:
    """Milliseconds, each time."""
    caller = Caller(address)
    found = []
    for turn in range(TIMES):
        with injected() as (process, marker):
            while caller.status(marker) != 507:
                time.sleep(0.002)
            began = time.perf_counter()
            os.kill(process.pid, signal.SIGKILL)
            while caller.status(marker) != 200:
                pass
            found.append((time.perf_counter() - began) * 1000)
        if turn % 20 == 19:
            print(f"watchdog {turn + 1}: {statistics.median(found):.1f} ms", file=sys.stderr)
    return found


def watchdogs_of(token: str) -> list[int]:
    """The processes that hold the log of the run's watchdog."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "fd" / "2").endswith(f"watchdog-{token}.log"):  # noqa: PTH115
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def by_janitor() -> float:
    """Seconds, the most of three runs at once."""
    client, slowest = connect(), 0.0
    janitor = subprocess.Popen([CHAOS, "mesh", "janitor", "--watch"], stdout=subprocess.DEVNULL)
    try:
        with ExitStack() as stack:
            runners = [stack.enter_context(injected(scope)) for scope in OTHERS]
            expires = {}
            for process, marker in runners:
                token = marker.partition("-")[0]
                for pid in (*watchdogs_of(token), process.pid):
                    os.kill(pid, signal.SIGKILL)
                process.join()
                obj = client.get("Lease", "default", f"chaosmesh-run-{token}")
                expires[token] = when(obj["spec"]["renewTime"]) + obj["spec"]["leaseDurationSeconds"]
            while expires:
                for token, at in list(expires.items()):
                    if client.find("EnvoyFilter", "default", f"chaos-{token}-1") is None:
                        slowest = max(slowest, time.time() - at)
                        del expires[token]
                time.sleep(0.02)
    finally:
        janitor.terminate()
        janitor.wait()
    return slowest


class Counting(Client):
    """seen: method and path of each request of any of them."""

    seen: list[tuple[str, str]] = []  # noqa: RUF012 - of the class

    def _send(self, held: Any, method: str, target: str, *rest: Any) -> urllib3.BaseHTTPResponse:
        self.seen.append((method, target))
        return super()._send(held, method, target, *rest)


def requests() -> dict[str, int]:
    """Of one run."""

    def writes() -> int:
        changes = [(method, path) for method, path in Counting.seen if method != "GET" and "reviews" not in path]
        return sum(not ("/leases/" in path and method in ("PATCH", "DELETE")) for method, path in changes)

    run = Run(connect=lambda: Counting(connect().access))
    run.inject(Abort(507), SCOPE, prove=False)
    inject = writes()
    run.undo()
    run.close()
    reads = sum(method == "GET" or "reviews" in path for method, path in Counting.seen)
    for method, path in Counting.seen:
        print(method, path, file=sys.stderr)
    return {"inject": inject, "undo": writes() - inject, "reads": reads}


def main() -> None:
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    multiprocessing.get_context("forkserver").set_forkserver_preload(["chaosmesh_ext.run", "chaosmesh_ext.faults"])
    up = json.loads(chaos("mesh", "lab", "up", "--name", "rollback", "--json"))
    try:
        os.environ.update(up["env"])
        page = urlsplit(up["env"]["APP_URL"])
        urllib3.PoolManager().request("GET", f"{page.scheme}://{page.netloc}/productpage")
        status = json.loads(chaos("mesh", "lab", "status", "--name", "rollback", "--json"))
        pods = {pod["name"].rsplit("-", 2)[0]: pod["address"] for pod in status["pods"]}
        address = pods["productpage-v1"].rsplit(".", 1)[0] + ".2"
        counted = requests()
        times = sorted(by_watchdog(address))
        janitor = by_janitor()
    finally:
        chaos("mesh", "lab", "down", "--name", "rollback")
    print(
        json.dumps(
            {
                "watchdog_ms": {
                    "median": round(statistics.median(times), 1),
                    "p99": round(times[min(len(times) - 1, int(len(times) * 0.99))], 1),
                },
                "janitor_s": round(janitor, 2),
                "requests": counted,
            }
        )
    )


if __name__ == "__main__":
    main()
