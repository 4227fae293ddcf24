"""What the API server asks a node's kubelet for: ports of its Pods, for a port-forward by WebSocket.

Each connection is one WebSocket (subprotocol v4.channel.k8s.io): binary messages whose first byte is the channel, for
each port one of data and one of errors; the first message of each is the port's number.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import WSMsgType, web

from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["forwarding"]

_PROTOCOL: Final = "v4.channel.k8s.io"
_PORTS: Final = range(1, 65536)


def forwarding(
    find: Callable[[str, str], Awaitable[Obj | None]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Answers ``/portForward/{namespace}/{pod}``. FIND: the Pod of a namespace and name.

    One port a connection; kubectl, which asks for a SPDY tunnel, is refused.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = request.match_info
        pod = await find(asked["namespace"], asked["pod"])
        address = (pod.get("status") or {}).get("podIP") if pod else None
        if not address:
            return web.Response(status=404, text=f'pod "{asked["pod"]}" not found')
        wanted = ",".join(request.query.getall("port", []) or request.query.getall("ports", []))
        if not wanted.isdecimal() or int(wanted) not in _PORTS:
            return web.Response(status=400, text=f"ports {wanted!r}: a lab forwards one at a time")
        answer = web.WebSocketResponse(protocols=[_PROTOCOL])
        if not answer.can_prepare(request):
            return web.Response(status=400, text=f"a lab forwards by WebSocket only, with the subprotocol {_PROTOCOL}")
        await answer.prepare(request)
        await _join(answer, address, int(wanted))
        return answer

    return answer


async def _join(socket: web.WebSocketResponse, address: str, port: int) -> None:
    for channel in (0, 1):
        await socket.send_bytes(bytes([channel]) + struct.pack("<H", port))
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError as error:
        await socket.send_bytes(b"\1" + f"failed to connect to {address}:{port}: {error.strerror}".encode())
        await socket.close()
        return
    back = asyncio.create_task(_back(reader, socket))
    try:
        async for message in socket:
            if message.type == WSMsgType.BINARY and message.data[:1] == b"\0":
                writer.write(message.data[1:])
                await writer.drain()
    except ConnectionError:
        pass
    finally:
        back.cancel()
        writer.close()
        await asyncio.gather(back, return_exceptions=True)


async def _back(reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
    """What comes from the Pod; that it ended its connection, or reset it, ends the WebSocket."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            await socket.send_bytes(b"\0" + data)
    with contextlib.suppress(ConnectionError):
        await socket.close()
