"""Ports of Pods that a node hands on, for the API server's port-forwards."""

from __future__ import annotations

import asyncio
import socket
import struct

import aiohttp
import pytest
from aiohttp import web

from chaosmesh_ext.lab.kube.apiserver.port_forwards import forwarding

_PROTOCOL = "v4.channel.k8s.io"


@pytest.mark.parametrize("reset", [False, True])
def test_a_pod_that_ends_its_connection_ends_the_forward(reset):
    """Or resets it, as Envoy does to plain text under STRICT: who waits for an answer must not wait for a timeout."""

    async def rude(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async def find(namespace: str, name: str) -> dict:
        return {"metadata": {"namespace": namespace, "name": name}, "status": {"podIP": "127.0.0.1"}}

    async def play() -> list[bytes]:
        pod = await asyncio.start_server(rude, "127.0.0.1", 0)
        app = web.Application()
        app.router.add_get("/portForward/{namespace}/{pod}", forwarding(find))
        node = web.AppRunner(app)
        await node.setup()
        await web.TCPSite(node, "127.0.0.1", 0).start()
        here, there = node.addresses[0][1], pod.sockets[0].getsockname()[1]
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(
                    f"http://127.0.0.1:{here}/portForward/a/b?port={there}", protocols=[_PROTOCOL]
                ) as forward,
                asyncio.timeout(60),
            ):
                return [message.data async for message in forward]
        finally:
            pod.close()
            await node.cleanup()

    assert [message[0] for message in asyncio.run(play())] == [0, 1]
