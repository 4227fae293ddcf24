"""A small mesh to prove faults in: a real Kubernetes API, a real HTTP server, and traces that follow from the two."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import loops
import pytest
import yaml
from allowed import as_lab, caller
from end_watchdogs import end_watchdogs
from janitors import Cluster
from leftovers import owner as owners

from chaosmesh_ext.lab.kube.embedded import EmbeddedKube
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.model import Span, Trace, Workload
from chaosmesh_ext.observe.traces import Gathering, gather, gather_all
from chaosmesh_ext.run import Run
from chaosmesh_ext.settings import Settings

_MARKED = re.compile(r"chaosmesh=([0-9a-f]{8})-(\d+)")
_PAGE = Workload("productpage", "v1")


class Mesh:
    """productpage-v1 calls details, and, where `reviews` is set, reviews.

    lag: seconds that sidecars are behind the API. deaf: they never hear. leaks: the control meets the fault too.
    wanders: the fault is met on calls to reviews as well. sticks: it stays after its removal. share: of the calls
    that meet it, every how many-th. blind: the trace store has nothing.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="api-server")
        self._thread.start()
        self.kube = EmbeddedKube("127.0.0.1", 0)
        try:
            self.call(self.kube.start())
        except BaseException:
            self._end_loop()
            raise
        self.lag, self.deaf, self.leaks, self.wanders, self.sticks, self.blind = 0.0, False, False, False, False, False
        self.reviews, self.share, self.flags = True, 1, "FI"
        self.refuses: Callable[[dict], bool] = lambda obj: False
        self.requests: list[dict[str, str]] = []
        self.traces: dict[str, Trace] = {}
        self._seen: dict[str, float] = {}
        self._count = 0
        mesh = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def log_message(self, *_args: object) -> None:
                pass

            def do_GET(self) -> None:
                mesh.serve(dict(self.headers.items()))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(b"ok")

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._web = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._web.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def apply(self, *objs: dict) -> None:
        for obj in objs:
            self.call(self.kube.apply(obj))
            if "status" in obj:
                self.call(self.kube.patch_status(obj, obj["status"]))

    def objects(self, kind: str) -> list[dict]:
        return self.call(self.kube.list(kind))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._web.join()
        try:
            self.call(self.kube.stop())
        finally:
            self._end_loop()

    def _end_loop(self) -> None:
        loops.stop(self.loop)
        self._thread.join()
        self.loop.close()

    # --- sidecars and their traces

    def _faulted(self, marker: str) -> bool:
        for kind in ("EnvoyFilter", "VirtualService"):
            for obj in self.objects(kind):
                text = str(obj["spec"])
                if "'fault'" not in text and "http.fault" not in text:
                    continue
                if f"chaosmesh={marker}(" in text or "chaosmesh=" not in text:
                    self._seen.setdefault(marker, time.time())
        return marker in self._seen and time.time() - self._seen[marker] >= self.lag

    def serve(self, headers: dict[str, str]) -> None:
        headers = {name.lower(): value for name, value in headers.items()}
        self.requests.append(headers)
        marked = _MARKED.search(headers.get("tracestate", ""))
        trace_id = headers.get("traceparent", "-").split("-")[1]
        now = time.time()
        marker = f"{marked[1]}-{marked[2]}" if marked else ""
        self._count += 1
        there = bool(marker) and not self.deaf and self._faulted(marker) and self._count % self.share == 0
        if not self.sticks and marker in self._seen and not self._still(marker):
            there = False
        if self.leaks and any(self._seen.values()):
            there = True
        flags = frozenset({self.flags}) if there else frozenset()
        root = Span(trace_id, "a" * 16, "0" * 16, "SERVER", "page", now, 0.01, _PAGE, status=200)
        spans = [root, self._span(trace_id, "b" * 16, "details", now, flags)]
        if self.reviews:
            spans.append(self._span(trace_id, "c" * 16, "reviews", now, flags if self.wanders else frozenset()))
        if not self.blind:
            self.traces[trace_id] = Trace(trace_id, tuple(spans))

    def _still(self, marker: str) -> bool:
        return any(
            "fault" in str(obj["spec"])
            and (f"chaosmesh={marker}(" in str(obj["spec"]) or "chaosmesh=" not in str(obj["spec"]))
            for kind in ("EnvoyFilter", "VirtualService")
            for obj in self.objects(kind)
        )

    @staticmethod
    def _span(trace_id: str, span_id: str, peer: str, now: float, flags: frozenset[str]) -> Span:
        return Span(
            trace_id, span_id, "a" * 16, "CLIENT", "call", now, 0.005, _PAGE, peer=peer, status=200, flags=flags
        )

    # --- a trace source

    def trace(self, trace_id):
        return self.traces.get(trace_id)

    def many(self, ids):
        return {one: self.traces[one] for one in ids if one in self.traces}

    def search(self, service, *, start, end, operation="", limit=100):
        return list(self.traces.values())[-limit:]


def _service(name: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 9080}]},
    }


@contextmanager
def standing() -> Iterator[Mesh]:
    """A mesh with productpage-v1 → details and reviews; whatever goes wrong, it is closed."""
    there = Mesh()
    try:
        _fill(there)
        yield there
    finally:
        try:
            end_watchdogs()
        finally:
            there.close()


def _fill(there: Mesh) -> None:
    labels = {"app": "productpage", "version": "v1"}
    there.apply(
        *as_lab(),
        caller("productpage-v1-x", labels),
        *(caller(f"{name}-v1-x", {"app": name}) for name in ("details", "reviews")),
        _service("productpage"),
        _service("details"),
        _service("reviews"),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "productpage-v1", "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
            },
        },
    )


@pytest.fixture
def standing_mesh() -> Callable[[], AbstractContextManager[Mesh]]:
    """Makes one more."""
    return standing


@pytest.fixture
def mesh(tmp_path, monkeypatch) -> Iterator[Mesh]:
    """productpage-v1 → details and reviews."""
    for module in ("hunt", "trace_proof", "requests"):  # these traces are whole at once
        monkeypatch.setattr(f"chaosmesh_ext.run.{module}.gather", partial(gather, quiet=0.05))
    for waits in (gather_all, Gathering.__init__):
        monkeypatch.setitem(waits.__kwdefaults__, "quiet", 0.05)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("chaosmesh_ext.mesh.watchdog.runner.LATE_S", 0.2)  # what is not answered here never comes
    with standing() as there:
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(there.kube.kubeconfig()))
        monkeypatch.setenv("KUBECONFIG", str(file))
        yield there


@pytest.fixture
def run(mesh) -> Iterator[Run]:
    """A run in it."""
    one = Run(settings=Settings(app_url=mesh.url, proof_timeout=20.0), traces=mesh, connect=connect)
    yield one
    mesh.sticks = mesh.leaks = mesh.blind = False
    one.close()


@pytest.fixture
def owner() -> dict:
    """Somebody's VirtualService for details."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "details", "namespace": "default"},
        "spec": {"hosts": ["details"], "http": [{"route": [{"destination": {"host": "details"}}]}]},
    }


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Iterator[Cluster]:
    """What janitors look after; with somebody's VirtualService for details."""
    there = Cluster(tmp_path, monkeypatch)
    there.client.create(owners())
    yield there
    there.close()
