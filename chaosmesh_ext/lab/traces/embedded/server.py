"""OTLP over HTTP in, Jaeger's query API out."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.traces.embedded.parameters import (
    BadParameter,
    dependencies_window,
    raw_wanted,
    search_query,
    trace_id,
)
from chaosmesh_ext.lab.traces.embedded.store import SpanStore, Stored, trace_json

__all__ = ["EmbeddedTraces"]

_LARGEST_EXPORT = 64 * 1024 * 1024
_FEW_SPANS = 100
"""Written at once; more would hold up the lab's loop for longer than 5 ms."""

_UNREADABLE = (
    DecodeError,
    json_format.ParseError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
    web.RequestPayloadError,
    HttpProcessingError,
)
_PAGE = "<!DOCTYPE html><html><head><title>Jaeger UI</title></head><body>The lab has no pages here.</body></html>"


class EmbeddedTraces:
    """The lab's own trace store.

    query, otlp: host and port of Jaeger's API and of the receiver. max_spans: the bound of its memory; an Envoy span
    takes some 3 kB.
    """

    def __init__(self, query: tuple[str, int], otlp: tuple[str, int], *, max_spans: int = 20_000) -> None:
        self.url = f"http://{query[0]}:{query[1]}"
        self.otlp = otlp
        self._query = query
        self._max_spans = max_spans
        self._store = SpanStore(max_spans)
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Listen on both addresses; raises LabError when one is taken."""
        query = web.Application(middlewares=[_like_jaeger])
        query.add_routes(
            [
                web.get("/api/services", self._services),
                web.get("/api/services/{service}/operations", self._service_operations),
                web.get("/api/operations", self._operations),
                web.get("/api/traces", self._traces),
                web.get("/api/traces/{id}", self._trace),
                web.get("/api/dependencies", self._dependencies),
            ]
        )
        otlp = web.Application(client_max_size=_LARGEST_EXPORT)
        otlp.add_routes([web.post("/v1/traces", self._export)])
        for app, (host, port) in ((query, self._query), (otlp, self.otlp)):
            runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
            self._runners.append(runner)
            await runner.setup()
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                raise LabError(
                    f"{host}:{port} of the trace store cannot be had: {error.strerror}; end what holds it"
                ) from error

    async def stop(self) -> None:
        """Stop listening; what was stored is gone."""
        while self._runners:
            await self._runners.pop().cleanup()

    def dead(self) -> str:
        """Empty: it is a part of the process that asks."""
        return ""

    async def _export(self, request: web.Request) -> web.Response:
        kind = request.content_type
        export = ExportTraceServiceRequest()
        try:
            body = await request.read()
            if kind == "application/x-protobuf":
                export.ParseFromString(body)
            elif kind == "application/json":
                json_format.ParseDict(_with_bytes(json.loads(body)), export, ignore_unknown_fields=True)
            else:
                return web.Response(status=415, text=f"unsupported content type {kind!r}")
            self._store.add(export)
        except _UNREADABLE as error:
            return web.Response(status=400, text=f"cannot read the export: {error}")
        if kind == "application/json":
            return web.json_response({"partialSuccess": {}})
        return web.Response(body=b"", content_type="application/x-protobuf")

    async def _services(self, _request: web.Request) -> web.Response:
        names = self._store.services()
        return _envelope(names or None, total=len(names))

    async def _service_operations(self, request: web.Request) -> web.Response:
        names = sorted({name for name, _ in self._store.operations(request.match_info["service"])})
        return _envelope(names or None, total=len(names))

    async def _operations(self, request: web.Request) -> web.Response:
        service, kind = request.query.get("service", ""), request.query.get("spanKind", "")
        if not service:
            raise BadParameter("parameter 'service' is required")
        found = [{"name": n, "spanKind": k} for n, k in self._store.operations(service) if kind in ("", k)]
        return _envelope(found or None, total=len(found))

    async def _traces(self, request: web.Request) -> web.Response:
        asked = request.query.getall("traceID", [])
        if asked:
            return await self._batch(asked, raw=raw_wanted(request.query))
        query = search_query(request.query)
        if query.limit <= 0 or query.limit > self._max_spans:
            return _failure(500, "search depth must be greater than 0 and less than max traces")
        return await _written(self._store.search(query), raw=query.raw)

    async def _batch(self, asked: list[str], *, raw: bool) -> web.Response:
        found, missing = [], []
        for text in asked:
            try:
                identity = trace_id(text)
            except BadParameter as error:
                raise BadParameter(f"cannot parse traceID param: {error}") from None
            trace = self._store.trace(identity)
            if trace is None:
                missing.append({"code": 0, "msg": "trace not found", "traceID": text})
            else:
                found.append(trace)
        return await _written(found, raw=raw, errors=missing or None)

    async def _trace(self, request: web.Request) -> web.Response:
        trace = self._store.trace(trace_id(request.match_info["id"]))
        raw = raw_wanted(request.query)
        return await _written([trace], raw=raw) if trace is not None else _failure(404, "trace not found")

    async def _dependencies(self, request: web.Request) -> web.Response:
        return _envelope(self._store.dependencies(*dependencies_window(request.query)))


async def _written(traces: list[list[Stored]], *, raw: bool, errors: Any = None) -> web.Response:
    """The traces in Jaeger's JSON; many spans are written in a thread, so that the lab's loop goes on."""

    def write() -> web.Response:
        return _envelope([trace_json(trace, raw=raw) for trace in traces], errors=errors)

    return write() if sum(map(len, traces)) <= _FEW_SPANS else await asyncio.to_thread(write)


def _envelope(data: Any, *, total: int = 0, errors: Any = None) -> web.Response:
    body = msgspec.json.encode({"data": data, "total": total, "limit": 0, "offset": 0, "errors": errors})
    return web.Response(body=body, content_type="application/json")


def _failure(status: int, message: str) -> web.Response:
    """Jaeger's errors are JSON but say that they are text."""
    errors = [{"code": status, "msg": message}]
    body = {"data": None, "total": 0, "limit": 0, "offset": 0, "errors": errors}
    return web.Response(status=status, text=json.dumps(body), content_type="text/plain")


@web.middleware
async def _like_jaeger(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except BadParameter as error:
        return _failure(400, str(error))
    except ValueError as error:
        return _failure(500, str(error))
    except web.HTTPNotFound:
        return web.Response(text=_PAGE, content_type="text/html")
    return answer


def _with_bytes(export: Any) -> Any:
    """OTLP's JSON writes ids in hex where protobuf's JSON has base64."""
    for resource in export.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                for holder in (span, *span.get("links", [])):
                    for field in ("traceId", "spanId", "parentSpanId"):
                        if holder.get(field):
                            with contextlib.suppress(TypeError):
                                holder[field] = base64.b64encode(bytes.fromhex(holder[field])).decode()
    return export
