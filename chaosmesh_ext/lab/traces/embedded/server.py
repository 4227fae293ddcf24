"""OTLP over HTTP in, Jaeger's query API out."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from aiohttp import web
from multidict import MultiMapping

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.traces.embedded import golang, v3
from chaosmesh_ext.lab.traces.embedded.convert import trace_hex
from chaosmesh_ext.lab.traces.embedded.document import trace_json
from chaosmesh_ext.lab.traces.embedded.parameters import (
    BadParameter,
    by_ids,
    check_times,
    dependencies_window,
    raw_wanted,
    search_query,
    trace_id,
)
from chaosmesh_ext.lab.traces.embedded.receiver import LARGEST_EXPORT, Unreadable, body_of, receive, refusal, taken
from chaosmesh_ext.lab.traces.embedded.store import SpanStore, Stored

__all__ = ["EmbeddedTraces"]

_FEW_SPANS = 100
"""Written at once; more would hold up the lab's loop for longer than 5 ms."""

_SLASHES = re.compile("//+")
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
                web.get("/api/services", self._services, allow_head=False),
                web.get("/api/services/{service}/operations", self._service_operations, allow_head=False),
                web.get("/api/operations", self._operations, allow_head=False),
                web.get("/api/traces", self._traces, allow_head=False),
                web.get("/api/traces/{id}", self._trace, allow_head=False),
                web.get("/api/dependencies", self._dependencies, allow_head=False),
                web.get("/api/v3/services", self._v3_services, allow_head=False),
                web.route("*", "/api/v3/services", _not_allowed),
                web.get("/api/v3/traces", self._v3_traces, allow_head=False),
                web.get("/api/v3/traces/{id}", self._v3_trace, allow_head=False),
                web.route("*", "/api/{call:(metrics|archive|v3)}/{rest:.+}", _not_here),
                web.route("*", "/api/{call:(transform|deep-dependencies|quality-metrics)}", _not_here),
            ]
        )
        otlp = web.Application(client_max_size=LARGEST_EXPORT)
        otlp.add_routes([web.route("*", "/v1/traces", self._export)])
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
        if request.method != "POST":
            return _plain(405, "405 method not allowed, supported: [POST]")
        if kind not in ("application/x-protobuf", "application/json"):
            return _plain(415, "415 unsupported media type, supported: [application/json, application/x-protobuf]")
        try:
            self._store.add(receive(kind, await body_of(request)))
        except Unreadable as error:
            return refusal(kind, str(error))
        return taken(kind)

    async def _services(self, request: web.Request) -> web.Response:
        names = self._store.services()
        return _envelope(request, names or None, total=len(names))

    async def _service_operations(self, request: web.Request) -> web.Response:
        service = golang.unescaped(_segment(request, -2))
        names = sorted({name for name, _ in self._store.operations(service)})
        return _envelope(request, names or None, total=len(names))

    async def _operations(self, request: web.Request) -> web.Response:
        asked = _asked(request)
        service, kind = asked.get("service", ""), asked.get("spanKind", "")
        if not service:
            raise BadParameter("parameter 'service' is required")
        found = [{"name": n, "spanKind": k} for n, k in self._store.operations(service) if kind in ("", k)]
        return _envelope(request, found, total=len(found))

    async def _traces(self, request: web.Request) -> web.Response:
        query = search_query(_asked(request))
        if not (named := by_ids(_asked(request))):
            return await _written(request, self._store.search(query))
        found = {identity: self._store.trace(identity) for identity in named}
        missing = [
            {"msg": "trace not found", "traceID": trace_hex(identity)} for identity in named if not found[identity]
        ]
        traces = [trace for identity in named if (trace := found[identity])]
        return await _written(request, traces, errors=missing or None)

    async def _trace(self, request: web.Request) -> web.Response:
        identity = trace_id(_segment(request, -1))
        check_times(_asked(request))
        raw_wanted(_asked(request))
        trace = self._store.trace(identity)
        return _failure(404, "trace not found") if trace is None else await _written(request, [trace])

    async def _v3_trace(self, request: web.Request) -> web.Response:
        v3.raw_only(_asked(request), "raw_traces", ["raw_traces"])
        return await _v3_written([self._store.trace(trace_id(_segment(request, -1))) or []])

    async def _v3_services(self, request: web.Request) -> web.Response:
        del request
        names = self._store.services()
        return _otlp({"services": names} if names else {})

    async def _v3_traces(self, request: web.Request) -> web.Response:
        return await _v3_written(self._store.search(v3.search_query(_asked(request))))

    async def _dependencies(self, request: web.Request) -> web.Response:
        service = _asked(request).get("service", "")
        calls = self._store.dependencies(*dependencies_window(_asked(request)))
        return _envelope(
            request,
            [
                {"parent": caller, "child": called, "callCount": number}
                for caller, called, number in calls
                if service in ("", caller, called)
            ],
        )


def _asked(request: web.Request) -> MultiMapping[str]:
    """The query, read as Go reads one."""
    return golang.query(request.raw_path.partition("?")[2])


def _segment(request: web.Request, at: int) -> str:
    """A part of the path as it was sent: Jaeger does not unescape a trace id."""
    return request.raw_path.partition("?")[0].split("/")[at]


async def _written(request: web.Request, traces: list[list[Stored]], *, errors: Any = None) -> web.Response:
    """The traces in Jaeger's JSON; many spans are written in a thread, so that the lab's loop goes on."""
    raw = raw_wanted(_asked(request))

    def write() -> web.Response:
        return _envelope(request, [trace_json(trace, raw=raw) for trace in traces], errors=errors)

    return write() if sum(map(len, traces)) <= _FEW_SPANS else await asyncio.to_thread(write)


async def _v3_written(traces: list[list[Stored]]) -> web.Response:
    """OTLP's JSON, which says that it is text; none is a 404."""
    spans = [item for trace in traces for item in trace]
    if not spans:
        body = msgspec.json.encode({"error": {"httpCode": 404, "message": "No traces found"}})
        return web.Response(status=404, text=body.decode() + "\n", content_type="text/plain")
    few = len(spans) <= _FEW_SPANS
    found = v3.result(spans) if few else await asyncio.to_thread(v3.result, spans)
    return _otlp(found)


def _otlp(document: Any) -> web.Response:
    return web.Response(text=msgspec.json.encode(document).decode(), content_type="text/plain")


def _envelope(request: web.Request, data: Any, *, total: int = 0, errors: Any = None) -> web.Response:
    body = msgspec.json.encode({"data": data, "total": total, "limit": 0, "offset": 0, "errors": errors})
    if _asked(request).get("prettyPrint", "") not in ("", "false"):
        body = msgspec.json.format(body, indent=4)
    return web.Response(body=body, content_type="application/json")


def _failure(status: int, message: str) -> web.Response:
    """Jaeger's errors are JSON but say that they are text."""
    errors = [{"code": status, "msg": message}]
    body = msgspec.json.encode({"data": None, "total": 0, "limit": 0, "offset": 0, "errors": errors})
    return web.Response(status=status, text=body.decode() + "\n", content_type="text/plain")


def _plain(status: int, text: str) -> web.Response:
    return web.Response(status=status, body=text.encode(), headers={"content-type": "text/plain"})


async def _not_allowed(request: web.Request) -> web.Response:
    raise web.HTTPMethodNotAllowed(request.method, ["GET"])


async def _not_here(request: web.Request) -> web.Response:
    if request.match_info["call"] == "metrics":
        return _failure(501, "metrics querying is currently disabled")
    return _unknown(request.path)


def _unknown(what: str) -> web.Response:
    return _failure(501, f"the lab's own trace store does not know {what}: start the lab with --traces jaeger")


@web.middleware
async def _like_jaeger(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except BadParameter as error:
        return _failure(400, str(error))
    except v3.NotHere as error:
        return _unknown(str(error))
    except ValueError as error:
        return _failure(500, str(error))
    except web.HTTPMethodNotAllowed:
        return web.Response(status=405)
    except web.HTTPNotFound:
        path, _, query = request.raw_path.partition("?")
        if "//" in path:
            location = _SLASHES.sub("/", path) + (f"?{query}" if query else "")
            return web.Response(status=301, headers={"location": location})
        return web.Response(text=_PAGE, content_type="text/html")
    return answer
