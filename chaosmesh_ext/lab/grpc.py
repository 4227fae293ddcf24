"""A gRPC server of one streaming method, as Envoys ask for configuration and for secrets."""

from __future__ import annotations

from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server, Stream

from chaosmesh_ext.errors import LabError

__all__ = ["StreamServer"]


class StreamServer:
    """Answers one METHOD on HOST and PORT; who inherits it says by `serve` what happens on a stream.

    what: its name in messages. codec: reads requests of REQUEST and writes what `serve` sends.
    """

    def __init__(self, what: str, method: str, host: str, port: int, codec: CodecBase, request: Any) -> None:
        self._what = what
        self._method = method
        self._host = host
        self._port = port
        self._codec = codec
        self._request = request
        self._server: Server | None = None

    async def start(self) -> None:
        """Listen; raises LabError when the address is taken."""
        server = Server([self], codec=self._codec)
        try:
            await server.start(self._host, self._port)
        except OSError as error:
            raise LabError(
                f"{self._what} cannot listen on {self._host}:{self._port} ({error.strerror}): end what holds the port,"
                f" `ss -ltnp 'sport = :{self._port}'` names it"
            ) from error
        self._server = server

    async def stop(self) -> None:
        """Close every stream; a second call does nothing."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib asks a service for."""
        return {self._method: Handler(self.serve, Cardinality.STREAM_STREAM, self._request, None)}

    async def serve(self, stream: Stream[Any, Any]) -> None:
        """Answer on one stream until it ends."""
        raise NotImplementedError
