"""Servers on port 0 that say what a test wants, and the lab's own trace store."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import loops
import pytest

from chaosmesh_ext.lab.traces.embedded import EmbeddedTraces

DATA = Path(__file__).parents[1] / "data"


@dataclass
class Told:
    """A server that answers as it is told; `asked` holds (method, path with query, headers). server: what listens."""

    url: str = ""
    answer: Callable[[BaseHTTPRequestHandler], None] = lambda _handler: None
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None

    def says(self, status: int, body: bytes | str | object, kind: str = "application/json") -> None:
        """Every request gets this."""
        data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("content-type", kind)
            handler.send_header("content-length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)

        self.answer = answer


@pytest.fixture
def told():
    """A real HTTP server whose words the test chooses."""
    state = Told()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536

        def log_message(self, *_args: object) -> None: ...

        def do_GET(self) -> None:
            state.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            state.answer(self)

        do_POST = do_GET  # noqa: N815 the name is http.server's

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that leaves in the middle is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    state.server = server
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def sample():
    """A reply of a real server, from tests/data."""
    return lambda name: json.loads((DATA / name).read_text())


@pytest.fixture(scope="session")
def free_host():
    """A loopback address on which nobody listens."""

    def find(*ports: int) -> str:
        while True:
            host = f"127.{random.randint(64, 254)}.{random.randint(1, 254)}.7"
            try:
                for port in ports:
                    with closing(socket.socket()) as probe:
                        probe.bind((host, port))
            except OSError:
                continue
            return host

    return find


@dataclass
class Running:
    """The lab's store, running in a thread of its own: `url` for Jaeger's API, `otlp` for the receiver."""

    url: str
    otlp: str


@pytest.fixture
def trace_store(free_host):
    """The lab's trace store, asked over HTTP as the product asks it."""
    host = free_host(16686, 4318)
    loop = asyncio.new_event_loop()
    store = EmbeddedTraces((host, 16686), (host, 4318))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(store.start(), loop).result(60)
        yield Running(store.url, f"http://{host}:4318/v1/traces")
        asyncio.run_coroutine_threadsafe(store.stop(), loop).result(60)
    finally:
        loops.stop(loop)
        thread.join()
        loop.close()
