"""A Kubernetes API that proxies to a Service and forwards ports of its pods, over real sockets, as its test wants."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import threading
from typing import Any, Self

import aiohttp
import loops
from aiohttp import web

__all__ = ["NAMESPACE", "ProxyingApi", "status"]

NAMESPACE = "istio-system"
_PREFIX = "/api/v1/namespaces/{namespace}"
_DROPPED = ("authorization", "host", "content-length", "transfer-encoding")


def status(code: int, message: str, reason: str = "", kind: str = "") -> web.Response:
    """An answer of the API's own."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return web.json_response({**body, "reason": reason, "code": code, "details": {"kind": kind}}, status=code)


class ProxyingApi:
    """Serves one Service, ``tracing`` in `NAMESPACE`, at port 80, whose named target is BACKEND (port) on 127.0.0.1.

    token: what requests must bear; others get 401. asked: what the proxy handed on: (method, path, headers). refusal:
    what the proxy says instead of handing on. forwards: the pods that were forwarded to. no_forward: what a
    port-forward is refused with. pods: names of the ready ones; gone: those that have no forward any more.
    """

    def __init__(self, backend: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.backend = backend
        self.token = "api-s3cret"
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.refusal: web.Response | None = None
        self.no_forward: web.Response | None = None
        self.forwards: list[str] = []
        self.pods = ["tracing-1"]
        self.gone: set[str] = set()
        self.selector = {"app": "jaeger"}
        self.words = ""
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(60)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(60)
        asyncio.run_coroutine_threadsafe(self._session.close(), self._loop).result(60)
        asyncio.run_coroutine_threadsafe(self._quiet(), self._loop).result(60)
        loops.stop(self._loop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._authenticated])
        app.router.add_route("*", _PREFIX + "/services/{ref}/proxy/{tail:.*}", self._proxy)
        app.router.add_get(_PREFIX + "/services/{name}", self._service)
        app.router.add_get(_PREFIX + "/pods", self._list)
        app.router.add_get(_PREFIX + "/pods/{name}/portforward", self._forward)
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    @staticmethod
    async def _quiet() -> None:
        """Wait until what was cut off has ended."""
        mine = asyncio.current_task()
        while rest := [task for task in asyncio.all_tasks() if task is not mine]:
            await asyncio.wait(rest, timeout=5)
        await asyncio.sleep(0)

    @web.middleware
    async def _authenticated(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return status(401, "Unauthorized", "Unauthorized")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _proxy(self, request: web.Request) -> web.StreamResponse:
        where = request.match_info
        parts = where["ref"].split(":")
        if where["namespace"] != NAMESPACE or "tracing" not in parts:
            return status(404, f'services "{where["ref"]}" not found', "NotFound", "services")
        if parts[-1] != "80":
            return status(503, f'no service port {parts[-1]} found for service "tracing"', "ServiceUnavailable")
        if self.refusal is not None:
            said = self.refusal
            return web.Response(body=said.body, status=said.status, content_type=said.content_type)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _DROPPED}
        path = "/" + request.raw_path.split("/proxy/", 1)[1]
        self.asked.append((request.method, path, {name.lower(): value for name, value in request.headers.items()}))
        try:
            answer = await self._session.request(
                request.method,
                f"{'https' if parts[0] == 'https' else 'http'}://127.0.0.1:{self.backend}{path}",
                ssl=False,  # as Kubernetes does
                headers=headers,
                data=await request.read(),
                allow_redirects=False,
            )
        except aiohttp.ClientError as error:
            return status(503, f"error trying to reach service: {error}", "ServiceUnavailable")
        given = {name: value for name, value in answer.headers.items() if name.lower() not in _DROPPED}
        if given.get("Location", "").startswith("/"):
            given["Location"] = request.path.partition("/proxy/")[0] + "/proxy" + given["Location"]
        return web.Response(body=await answer.read(), status=answer.status, headers=given)

    async def _service(self, request: web.Request) -> web.StreamResponse:
        name, namespace = request.match_info["name"], request.match_info["namespace"]
        if (namespace, name) != (NAMESPACE, "tracing"):
            return status(404, f'services "{name}" not found', "NotFound", "services")
        spec = {"selector": self.selector, "ports": [{"port": 80, "targetPort": "query"}]}
        return web.json_response({"kind": "Service", "metadata": {"name": name}, "spec": spec})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        assert request.query["labelSelector"] == "app=jaeger"
        ports = [{"name": "admin", "containerPort": 1}, {"name": "query", "containerPort": self.backend}]
        late = {
            "metadata": {"name": "late"},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "False"}]},
        }
        ready = [
            {
                "metadata": {"name": name},
                "spec": {"containers": [{"ports": ports}]},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            }
            for name in self.pods
        ]
        return web.json_response({"kind": "PodList", "metadata": {}, "items": [late, *ready]})

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if self.no_forward is not None:
            said = self.no_forward
            return web.Response(body=said.body, status=said.status, content_type=said.content_type)
        if name in self.gone:
            return status(404, f'pods "{name}" not found', "NotFound", "pods")
        port = int(request.query["ports"])
        self.forwards.append(name)
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        for channel in (0, 1):
            await socket.send_bytes(bytes([channel]) + struct.pack("<H", port))
        if self.words:
            await socket.send_bytes(b"\1" + self.words.encode())
            await socket.close()
            return socket
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        back = asyncio.create_task(self._back(reader, socket))
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY and message.data[:1] == b"\0":
                writer.write(message.data[1:])
                await writer.drain()
        back.cancel()
        writer.close()
        return socket

    @staticmethod
    async def _back(reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await socket.send_bytes(b"\0" + data)
            await socket.close()
