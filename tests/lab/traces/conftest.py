"""The lab's trace store on addresses of its own, and OTLP requests made by hand."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import random
import socket
import threading
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loops
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chaosmesh_ext.lab.traces.embedded import EmbeddedTraces

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
DATA = Path(__file__).parents[2] / "data" / "jaeger"


def _free_host() -> str:
    while True:
        host = f"127.{random.randint(64, 254)}.{random.randint(1, 254)}.8"
        try:
            for port in (16686, 4318):
                with closing(socket.socket()) as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return host


def export(document: dict[str, Any]) -> ExportTraceServiceRequest:
    """A request from OTLP's JSON, whose ids are hex."""
    document = json.loads(json.dumps(document))
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for holder in (span, *span.get("links", [])):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in holder:
                            holder[key] = base64.b64encode(binascii.unhexlify(holder[key])).decode()
    return json_format.ParseDict(document, ExportTraceServiceRequest())


@dataclass
class Reply:
    status: int
    kind: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class StoreUnderTest:
    """A running store: what is sent and asked goes over real sockets."""

    host: str
    store: EmbeddedTraces

    def fetch(self, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        request = urllib.request.Request(url, data=body, headers=headers or {})
        try:
            with _OPENER.open(request, timeout=10) as reply:
                return Reply(reply.status, reply.headers["content-type"], reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers["content-type"], error.read())

    def get(self, path: str) -> Reply:
        return self.fetch(f"http://{self.host}:16686{path}")

    def post(self, body: bytes, kind: str = "application/x-protobuf", path: str = "/v1/traces", **more: str) -> Reply:
        headers = {"content-type": kind} | {key.replace("_", "-"): value for key, value in more.items()}
        return self.fetch(f"http://{self.host}:4318{path}", body, headers)

    def send(self, *spans: dict[str, Any], service: str = "front", scope: dict[str, Any] | None = None) -> None:
        """Spans in OTLP's JSON, sent as protobuf."""
        name = {"key": "service.name", "value": {"stringValue": service}}
        document = {
            "resourceSpans": [
                {"resource": {"attributes": [name]}, "scopeSpans": [{"scope": scope or {}, "spans": list(spans)}]}
            ]
        }
        reply = self.post(export(document).SerializeToString())
        assert reply.status == 200, reply.body


def running(**options: Any):
    host = _free_host()
    loop = asyncio.new_event_loop()
    store = EmbeddedTraces((host, 16686), (host, 4318), **options)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(store.start(), loop).result(60)
    yield StoreUnderTest(host, store)
    asyncio.run_coroutine_threadsafe(store.stop(), loop).result(60)
    loops.stop(loop)
    thread.join()
    loop.close()


@pytest.fixture
def store():
    """A store for this test alone."""
    yield from running()


@pytest.fixture
def small_store():
    """A store of ten spans."""
    yield from running(max_spans=10)


@pytest.fixture(scope="module")
def shared_store():
    """A store for questions that leave nothing behind."""
    yield from running()


@pytest.fixture
def sample():
    """A reply of a real Jaeger."""
    return lambda name: json.loads((DATA / name).read_text())


@pytest.fixture
def otlp():
    """`export`, for tests."""
    return export
