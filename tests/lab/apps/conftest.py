"""An application on addresses of its own, and the callees that its sidecar would lead to."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web

from chaosmesh_ext.lab.apps import AppSpec
from chaosmesh_ext.lab.apps.serving import listen
from chaosmesh_ext.lab.apps.topology import manifests
from chaosmesh_ext.model.topology import parse_topology

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def free_addresses() -> tuple[str, str]:
    """An application's address and its sidecar's, on which nobody holds port 9080."""
    while True:
        base = f"127.{random.randint(64, 254)}.{random.randint(0, 254)}"
        pair = (f"{base}.3", f"{base}.2")
        try:
            for host in pair:
                with socket.socket() as probe:
                    probe.bind((host, 9080))
        except OSError:
            continue
        return pair


@dataclass
class Seen:
    """A request that a callee got; `gone` when its caller closed the connection before the answer."""

    service: str
    method: str
    path: str
    headers: dict[str, str]
    at: float
    end: float = 0.0
    gone: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Answer:
    """What our own client got."""

    status: int
    body: str
    seconds: float
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Rig:
    """Runs one application in this event loop; `answers` holds a handler for each callee that shall misbehave."""

    def __init__(self, spec: AppSpec) -> None:
        self.spec = spec
        self.seen: list[Seen] = []
        self.answers: dict[str, Handler] = {}
        self.arrived = asyncio.Condition()
        self._url = f"http://{spec.host}:{spec.port}"

    async def __aenter__(self) -> Self:
        self._callees = web.ServerRunner(web.Server(self._callee, handler_cancellation=True))
        await self._callees.setup()
        await web.TCPSite(self._callees, self.spec.proxy_host, 9080).start()
        self._app = await listen(self.spec)
        self._client = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), skip_auto_headers=["User-Agent"])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._app.cleanup()
        await self._callees.cleanup()

    async def get(self, path: str = "/", method: str = "GET", **kwargs: Any) -> Answer:
        began = time.monotonic()
        async with self._client.request(method, self._url + path, allow_redirects=False, **kwargs) as response:
            body = await response.text()
            return Answer(response.status, body, time.monotonic() - began, response.headers)

    async def until(self, count: int) -> None:
        """Wait until COUNT requests have reached the callees."""
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(lambda: len(self.seen) >= count), 60)

    def calls(self, service: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.service == service]

    async def _callee(self, request: web.BaseRequest) -> web.StreamResponse:
        service = request.headers["Host"].removesuffix(":9080")
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(service, request.method, request.path_qs, headers, time.monotonic())
        self.seen.append(seen)
        async with self.arrived:
            self.arrived.notify_all()
        try:
            if service in self.answers:
                return await self.answers[service](request)
            return web.json_response({"from": service})
        except asyncio.CancelledError:
            seen.gone = True
            raise
        finally:
            seen.end = time.monotonic()
            seen.done.set()


class Kit:
    """What tests make rigs and answers with."""

    @staticmethod
    def app(name: str, **env: str) -> Rig:
        host, proxy = free_addresses()
        return Rig(AppSpec(f"{name}-pod", name, host, 9080, proxy, env))

    @staticmethod
    def service(words: str) -> Rig:
        """The service `front` whose version v1 has these WORDS (YAML, `calls: …`), through its own Deployment."""
        body = "\n".join(f"      {line}" for line in words.strip("\n").splitlines())
        others = "\n".join(f"  - {{name: {name}}}" for name in ("a", "b", "c"))
        topology = parse_topology(
            "apiVersion: chaosmesh-ext/v1alpha1\nkind: Topology\nmetadata: {name: test}\nspec:\n  entry: front\n"
            f"  services:\n  - name: front\n    versions:\n    - name: v1\n{body}\n{others}\n"
        )
        (front,) = [o for o in manifests(topology) if o["kind"] == "Deployment" and o["metadata"]["name"] == "front-v1"]
        (container,) = front["spec"]["template"]["spec"]["containers"]
        env = {entry["name"]: entry["value"] for entry in container["env"]}
        host, proxy = free_addresses()
        return Rig(AppSpec("front-pod", "service", host, 9080, proxy, env))

    @staticmethod
    def status(code: int) -> Handler:
        async def handler(_: web.Request) -> web.StreamResponse:
            return web.json_response({"error": code}, status=code)

        return handler

    @staticmethod
    def slow(seconds: float) -> Handler:
        async def handler(_: web.Request) -> web.StreamResponse:
            await asyncio.sleep(seconds)
            return web.json_response({"slow": seconds})

        return handler

    @staticmethod
    async def hang_up(request: web.Request) -> web.StreamResponse:
        """Close the connection without an answer."""
        assert request.transport is not None
        request.transport.abort()
        await asyncio.sleep(3600)
        raise AssertionError

    @staticmethod
    def free_addresses() -> tuple[str, str]:
        return free_addresses()


@pytest.fixture
def kit() -> Kit:
    return Kit()
