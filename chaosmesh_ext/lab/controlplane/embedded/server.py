"""The gRPC server that Envoys connect to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from grpclib.encoding.base import CodecBase
from grpclib.exceptions import StreamTerminatedError
from grpclib.server import Stream

from chaosmesh_ext.lab.controlplane.embedded.ads import Connection, Push
from chaosmesh_ext.lab.controlplane.embedded.protos import DeltaDiscoveryRequest
from chaosmesh_ext.lab.grpc import StreamServer

__all__ = ["AdsServer"]

_METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


class _Codec(CodecBase):
    """Requests as the generated class reads them, answers as they encode themselves."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ARG002 the signature is grpclib's
        data: bytes = message.encode()
        return data

    def decode(self, data: bytes, message_type: Any) -> Any:
        return message_type.parse(data)


class AdsServer(StreamServer):
    """Speaks delta ADS on HOST and PORT; CONNECT makes the state of a new stream around its `send`."""

    def __init__(self, host: str, port: int, connect: Callable[[Callable[[Push], None]], Connection]) -> None:
        super().__init__("the control plane", _METHOD, host, port, _Codec(), DeltaDiscoveryRequest)
        self._connect = connect
        self._connections: dict[int, Connection] = {}
        self._count = 0

    def __iter__(self) -> Iterator[Connection]:
        """The open streams, oldest first."""
        return iter(tuple(self._connections.values()))

    async def serve(self, stream: Stream[Any, Any]) -> None:
        queue: asyncio.Queue[Push] = asyncio.Queue()
        connection = self._connect(queue.put_nowait)
        self._count += 1
        number = self._count
        self._connections[number] = connection
        writer = asyncio.create_task(self._write(stream, queue))
        try:
            with contextlib.suppress(StreamTerminatedError, ConnectionError):
                async for message in stream:
                    connection.request(message)
        finally:
            del self._connections[number]
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, StreamTerminatedError, ConnectionError):
                await writer

    @staticmethod
    async def _write(stream: Stream[Any, Any], queue: asyncio.Queue[Push]) -> None:
        while True:
            await stream.send_message(await queue.get())
