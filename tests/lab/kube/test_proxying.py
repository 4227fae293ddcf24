"""The proxy of Services and Pods, where a real API server cannot be had beside it: Pods on loopback, and broken backends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from chaosmesh_ext.lab.kube.embedded import EmbeddedKube

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def _ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK)


async def _half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK.replace(b"2\r\n", b"20\r\n"))
        await writer.drain()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer):
        await reader.readuntil(b"\r\n\r\n")


@contextlib.asynccontextmanager
async def shop(speak: Speak, *, ready: bool = True) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A Service shop (port 80, to the Pod's port web) in front of a Pod that does what SPEAK does; where it is."""
    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kube = EmbeddedKube("127.0.0.1", 0)
    await kube.start()
    meta: dict[str, Any] = {"name": "shop", "namespace": "default"}
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    await kube.create(
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {"a": "b"}, "ports": ports}}
    )
    containers = [{"name": "app", "image": "app", "ports": [{"name": "web", "containerPort": port}]}]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**meta, "labels": {"a": "b"}},
        "spec": {"containers": containers},
    }
    conditions = [{"type": "Ready", "status": str(ready)}]
    await kube.patch_status(await kube.create(pod), {"podIP": "127.0.0.1", "conditions": conditions})
    try:
        async with aiohttp.ClientSession() as client:
            yield client, f"{kube.url}/api/v1/namespaces/default"
    finally:
        await kube.stop()
        server.close()


def test_a_service_leads_to_a_ready_pod_by_the_name_of_its_port():
    async def scenario() -> None:
        async with shop(_ok) as (client, base):
            for where in ("services/shop:80", "services/shop:http", "services/http:shop:80", "pods/shop"):
                async with client.get(f"{base}/{where}/proxy/") as answer:
                    assert (answer.status, await answer.text()) == (200, "ok")

    asyncio.run(scenario())


def test_a_pod_that_is_not_ready_is_not_behind_its_service():
    async def scenario() -> None:
        async with shop(_ok, ready=False) as (client, base), client.get(f"{base}/services/shop:80/proxy/") as answer:
            assert answer.status == 503
            assert (await answer.json())["message"] == 'no endpoints available for service "shop:80"'

    asyncio.run(scenario())


def test_a_backend_that_says_nothing_is_a_503():
    async def scenario() -> None:
        async with shop(_silent) as (client, base), client.get(f"{base}/services/shop:80/proxy/") as answer:
            assert answer.status == 503
            assert (await answer.json())["message"] == "error trying to reach service: EOF"

    asyncio.run(scenario())


def test_a_backend_that_breaks_off_is_no_whole_answer():
    """Half a page must never look like a page."""

    async def scenario() -> None:
        async with shop(_half) as (client, base), client.get(f"{base}/services/shop:80/proxy/") as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()

    asyncio.run(scenario())


def test_a_connection_that_is_to_be_upgraded_is_refused():
    async def scenario() -> None:
        headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
        async with (
            shop(_ok) as (client, base),
            client.get(f"{base}/services/shop:80/proxy/", headers=headers) as answer,
        ):
            assert answer.status == 501

    asyncio.run(scenario())
