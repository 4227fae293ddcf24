"""A mesh for many runs at once: a real Kubernetes API, a page, and a Jaeger whose traces follow from the API's objects.

Sidecars obey at once: a page that is asked while the API holds a fault for it meets that fault. All servers share one
event loop in a thread; each `SmallMesh` is a cluster of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Coroutine
from copy import deepcopy
from typing import Any, TypeVar

import loops
from aiohttp import web
from allowed import as_lab, caller
from numbered_api import NumberedApi
from sorts import http_route

from chaosmesh_ext.lab.kube.embedded import EmbeddedKube

__all__ = ["Background", "SmallMesh", "faults_in"]

T = TypeVar("T")
_MARKED = re.compile(r"chaosmesh=([0-9a-f]{8}-\d+)")
_LABELS = {"app": "productpage", "version": "v1"}


class Background:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def do(self, coroutine: Coroutine[Any, Any, T], timeout: float = 30) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def close(self) -> None:
        async def end() -> None:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        self.do(end())
        loops.stop(self.loop)
        self._thread.join(10)
        self.loop.close()


def _obj(kind: str, version: str, name: str, namespace: str = "default", **rest: Any) -> dict[str, Any]:
    meta = {"name": name, **({"namespace": namespace} if namespace else {}), **rest.pop("meta", {})}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **rest}


def _to(host: str, weight: int = 100, **rest: Any) -> dict[str, Any]:
    return {"destination": {"host": host, **rest}, "weight": weight}


def _owners() -> list[dict[str, Any]]:
    """What is there before any run: productpage-v1 calls details, whose routes nobody owns, reviews, and ratings."""
    service = {"selector": {"app": "x"}, "ports": [{"name": "http", "port": 9080}]}
    routes = [
        {
            "name": "jason",
            "match": [{"headers": {"end-user": {"exact": "jason"}}}],
            "route": [_to("reviews", subset="v2")],
        },
        {
            "match": [{"uri": {"prefix": "/reviews"}}],
            "route": [_to("reviews", 80), _to("reviews", 20)],
            "timeout": "3s",
        },
        {"route": [_to("reviews")], "retries": {"attempts": 2}},
    ]
    return [
        *as_lab(),
        caller("productpage-v1-x", _LABELS),
        caller("called-x", {"app": "x"}),
        *(_obj("Service", "v1", name, spec=service) for name in ("productpage", "details", "reviews", "ratings")),
        http_route("ratings"),
        _obj(
            "Deployment",
            "apps/v1",
            "productpage-v1",
            spec={
                "selector": {"matchLabels": _LABELS},
                "template": {
                    "metadata": {"labels": _LABELS},
                    "spec": {"containers": [{"name": "a", "image": "a"}]},
                },
            },
        ),
        _obj(
            "VirtualService",
            "networking.istio.io/v1",
            "reviews",
            meta={"annotations": {"owner": "shop"}},
            spec={"hosts": ["reviews"], "http": routes},
        ),
        _obj(
            "DestinationRule",
            "networking.istio.io/v1",
            "reviews",
            spec={"host": "reviews", "subsets": [{"name": "v2", "labels": {"version": "v2"}}]},
        ),
    ]


def faults_in(objects: list[dict[str, Any]], service: str, marker: str) -> bool:
    """Whether OBJECTS hold a fault for calls to SERVICE of a request with MARKER."""
    for obj in objects:
        hosts = [str(host).split(".")[0] for host in obj["spec"].get("hosts", ())]
        for piece in (*obj["spec"].get("http", ()), *obj["spec"].get("configPatches", ())):
            text = json.dumps(piece)
            if '"fault"' not in text and "http.fault" not in text:
                continue
            there = service in hosts or f'"{service}.default.svc' in text
            if there and (f"chaosmesh={marker}(" in text or "chaosmesh=" not in text):
                return True
    return False


class SmallMesh:
    """api: the proxy, which everybody but this class speaks to. url: of the page. jaeger: of the trace store.

    telemetry: what the trace store does instead of answering, see `_jaeger`.
    """

    def __init__(self, background: Background) -> None:
        self.background = background
        self.kube = EmbeddedKube("127.0.0.1", 0)
        self.telemetry = ""
        self.asked = 0
        self._traces: dict[str, dict[str, Any]] = {}
        background.do(self._start())

    async def _start(self) -> None:
        await self.kube.start()
        for obj in _owners():
            await self.kube.apply(obj)
            if "status" in obj:
                await self.kube.patch_status(obj, obj["status"])
        self.api = NumberedApi(self.kube.url)
        await self.api.start()
        app = web.Application()
        app.router.add_get("/jaeger/api/{path:.*}", self._jaeger)
        app.router.add_get("/{path:.*}", self._page)
        self._web = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._web.setup()
        site = web.TCPSite(self._web, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._web.addresses[0][1]}"
        self.jaeger = self.url + "/jaeger"

    def close(self) -> None:
        async def stop() -> None:
            await self.api.stop()
            await self._web.cleanup()
            await self.kube.stop()

        self.background.do(stop())

    def kubeconfig(self, *, direct: bool = False) -> dict[str, Any]:
        """For the proxy, or DIRECT to the API."""
        config = deepcopy(self.kube.kubeconfig())
        if not direct:
            config["clusters"][0]["cluster"]["server"] = self.api.url
        return config

    def objects(self, kind: str) -> list[dict[str, Any]]:
        return self.background.do(self.kube.list(kind))

    def apply(self, *objs: dict[str, Any]) -> None:
        for obj in objs:
            self.background.do(self.kube.apply(obj))

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self.background.do(self.kube.delete(kind, namespace, name))

    def everything(self) -> dict[str, dict[str, Any]]:
        """Every object but Events, without what each write changes."""

        async def read() -> dict[str, dict[str, Any]]:
            found = {}
            for _, obj in self.kube._store.all():
                if obj["kind"] == "Event":
                    continue
                plain = deepcopy(obj)
                for key in ("resourceVersion", "managedFields", "generation"):
                    plain["metadata"].pop(key, None)
                meta = plain["metadata"]
                found[f"{obj['kind']} {meta.get('namespace', '')}/{meta['name']}"] = plain
            return found

        return self.background.do(read())

    # --- sidecars, and what they tell of calls

    async def _faulted(self, service: str, marker: str) -> bool:
        objects = [obj for kind in ("EnvoyFilter", "VirtualService") for obj in await self.kube.list(kind)]
        return faults_in(objects, service, marker)

    async def _page(self, request: web.Request) -> web.Response:
        self.asked += 1
        marked = _MARKED.search(request.headers.get("tracestate", ""))
        trace_id = request.headers.get("traceparent", "-" + "0" * 32).split("-")[1]
        met = [service for service in ("details", "reviews") if marked and await self._faulted(service, marked[1])]
        now = int(time.time() * 1e6)
        spans = [_span(trace_id, "a" * 16, "", "server", now, 10_000)]
        for letter, service in (("b", "details"), ("c", "reviews")):
            flags = "DI" if service in met else "-"
            spans.append(_span(trace_id, letter * 16, service, "client", now + 1000, 5000, flags=flags))
        self._traces[trace_id] = {
            "traceID": trace_id,
            "spans": spans,
            "processes": {"p1": {"serviceName": "productpage.default", "tags": []}},
            "warnings": None,
        }
        return web.Response(text="ok", headers={"x-met": ",".join(met)})

    async def _jaeger(self, request: web.Request) -> web.StreamResponse:
        """stopped: nobody listens. slow: for a long time. nonsense: a page. none: no trace. error: 500. half: cut off."""
        match self.telemetry:
            case "stopped":
                request.transport.abort()
                return web.Response()
            case "slow":
                await asyncio.sleep(3600)
            case "nonsense":
                return web.Response(text='{"data": [{"traceID": 7, "spans": "many"}]}', content_type="application/json")
            case "page":
                return web.Response(text="<html>Jaeger</html>", content_type="text/html")
            case "error":
                return web.Response(status=500, text='{"errors":[{"code":500,"msg":"storage is gone"}]}')
            case "half":
                request.transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{"data": [')
                request.transport.close()
                return web.Response()
        known = {} if self.telemetry == "none" else self._traces
        asked = request.query.getall("traceID", []) or [request.path.rsplit("/", 1)[-1]]
        found = [known[one] for one in asked if one in known]
        return web.json_response({"data": found, "total": 0, "limit": 0, "offset": 0, "errors": None})


def _span(trace: str, span: str, peer: str, kind: str, start: int, took: int, flags: str = "-") -> dict[str, Any]:
    tags = {
        "span.kind": kind,
        "http.status_code": "200",
        "http.method": "GET",
        "response_flags": flags,
        "http.url": f"http://{peer or 'productpage'}:9080/",
        "istio.canonical_service": "productpage",
        "istio.canonical_revision": "v1",
        "istio.namespace": "default",
        "upstream_cluster": f"outbound|9080||{peer}.default.svc.cluster.local" if peer else "inbound|9080||",
        "component": "proxy",
    }
    parent = [{"refType": "CHILD_OF", "traceID": trace, "spanID": "a" * 16}] if peer else []
    return {
        "traceID": trace,
        "spanID": span,
        "operationName": f"{peer or 'productpage'}.default.svc.cluster.local:9080/*",
        "references": parent,
        "startTime": start,
        "duration": took,
        "tags": [{"key": key, "type": "string", "value": value} for key, value in tags.items()],
        "logs": [],
        "processID": "p1",
        "warnings": None,
    }
