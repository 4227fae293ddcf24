"""What serves in a mesh of tests: applications that tell what reached them, and a collector of spans."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

__all__ = ["Echo", "Otlp"]


class Echo:
    """An application that tells what reached it. `answer` makes it answer another status, after `delay` seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hits = 0
        self.answer = 200
        self.delay = 0.0
        self.seen: list[dict[str, str]] = []

    def reset(self) -> None:
        self.hits, self.answer, self.delay, self.seen = 0, 200, 0.0, []

    async def handle(self, request: web.Request) -> web.Response:
        self.hits += 1
        self.seen.append({key.lower(): ",".join(request.headers.getall(key)) for key in request.headers})
        if self.delay:
            await asyncio.sleep(self.delay)
        return web.json_response({"name": self.name, "path": request.path_qs}, status=self.answer)


class Otlp:
    """A collector that keeps the spans it is sent."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        message = ExportTraceServiceRequest.FromString(await request.read())
        for resource in message.resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        {
                            "service": service,
                            "name": span.name,
                            "kind": span.kind,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "start": span.start_time_unix_nano / 1e9,
                            "end": span.end_time_unix_nano / 1e9,
                            "tags": {a.key: a.value.string_value for a in span.attributes},
                        }
                    )
        return web.Response()
