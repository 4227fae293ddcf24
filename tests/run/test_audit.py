"""Whom a run's faults met, by Istio's counters: its own requests, strangers, or another run's that cannot be told apart."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import Holder, connect, lock
from chaosmesh_ext.mesh.locks import lock_name, release
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import Run
from chaosmesh_ext.settings import Settings

SCOPE = Scope("details", source="productpage-v1")
HOST = "details.default.svc.cluster.local"
OTHER = Holder("bbbbbbbb", exact=True)


class _Prometheus(ThreadingHTTPServer):
    """Answers what the audit asks, with the calls that the mesh's traces show. asked: called for each question."""

    daemon_threads = True

    def __init__(self, mesh) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.mesh = mesh
        self.asked: Callable[[str], None] = lambda query: None
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, query: str) -> dict:
        now = time.time()
        if query == "time()":
            return {"resultType": "scalar", "result": [now, str(now)]}
        if "up == 1" in query:
            return {"resultType": "vector", "result": [{"metric": {}, "value": [now, str(now + 1)]}]}
        spans = (span for trace in list(self.mesh.traces.values()) for span in trace.spans if span.flags)
        counted = Counter((str(span.workload), span.peer) for span in spans)
        return {
            "resultType": "vector",
            "result": [
                {
                    "metric": {
                        "source_workload": caller,
                        "source_workload_namespace": "default",
                        "destination_service_name": service,
                    },
                    "value": [now, str(count)],
                }
                for (caller, service), count in counted.items()
            ],
        }


class _Asked(BaseHTTPRequestHandler):
    def _reply(self, query: str) -> None:
        self.server.asked(query)
        body = json.dumps({"status": "success", "data": self.server.answer(query)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._reply(parse_qs(urlsplit(self.path).query)["query"][0])

    def do_POST(self) -> None:
        self._reply(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["query"][0])

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def prometheus(mesh) -> Iterator[_Prometheus]:
    server = _Prometheus(mesh)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def audited(mesh, prometheus) -> Iterator[Run]:
    settings = Settings(app_url=mesh.url, prometheus_url=prometheus.url, jaeger_url=mesh.url)
    one = Run(settings=settings, traces=mesh, connect=connect)
    yield one
    one.close()


def met_by_somebody(mesh, calls: int = 200) -> None:
    """Faulted calls that no request of the run led to."""
    trace = next(trace for trace in mesh.traces.values() if any(span.flags for span in trace.spans))
    for number in range(calls):
        mesh.traces[f"stranger-{number}"] = msgspec.structs.replace(trace, trace_id=f"stranger-{number}")


def test_a_run_whose_own_requests_alone_met_its_faults_has_no_problem(audited):
    audited.inject(Abort(507), SCOPE)
    audited.send("/", 5)
    audited.close()
    assert (audited.problems, audited.notes) == ([], [])


def test_an_interrupt_amid_many_requests_accuses_nobody(audited, mesh):
    """They were sent, and met the fault: that nobody waited for their answers does not make them a stranger's."""
    audited.inject(Abort(507), SCOPE)
    before = len(mesh.requests)

    def interrupt() -> None:
        while len(mesh.requests) < before + 20:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    soon = threading.Thread(target=interrupt)
    soon.start()
    with pytest.raises(KeyboardInterrupt):
        audited.send("/", 1000)
    soon.join()
    audited.close()
    assert audited.problems == []


def test_strangers_that_met_the_fault_are_a_problem(audited, mesh):
    audited.inject(Abort(507), SCOPE)
    met_by_somebody(mesh)
    audited.close()
    [problem] = audited.problems
    assert "not met by its own requests alone: 2" in str(problem)
    assert "calls of productpage-v1 to details met an injected fault, and only" in str(problem)


@pytest.mark.parametrize("when", ["is there", "has gone", "came after"])
def test_calls_that_may_be_another_runs_are_a_note_and_no_problem(audited, prometheus, mesh, when):
    """Two runs with markers of their own may be there together, and Istio's counters know no markers."""
    client = connect()
    audited.inject(Abort(507), SCOPE)
    if when == "came after":  # while this run, which has let go, waits for the last counters
        once = itertools.count()
        prometheus.asked = lambda query: (
            lock(client, "default", HOST, OTHER) if query == "time()" and not next(once) else None
        )
    else:
        lock(client, "default", HOST, OTHER)
    if when == "has gone":
        release(client, client.get("Lease", "default", lock_name("default", HOST)), OTHER.run)
    met_by_somebody(mesh)
    audited.close()
    assert audited.problems == []
    [note] = audited.notes
    assert "bbbbbbbb" in note
    assert "calls of productpage-v1 to details" in note
