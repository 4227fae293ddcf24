"""A service that speaks gRPC: the unary methods that others call."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from typing import Any, Final

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from chaosmesh_ext.lab.apps.rpc import Opaque, message
from chaosmesh_ext.lab.apps.service.config import ServiceConfig
from chaosmesh_ext.lab.apps.service.work import CallFailed, Done, Failed, Work
from chaosmesh_ext.lab.apps.sidecar import Outbound
from chaosmesh_ext.lab.apps.spec import AppSpec

__all__ = ["GrpcApp"]

_LOG = logging.getLogger(__name__)

_FROM_HTTP: Final[Mapping[int, Status]] = {
    400: Status.INTERNAL,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.UNIMPLEMENTED,
    429: Status.UNAVAILABLE,
    502: Status.UNAVAILABLE,
    503: Status.UNAVAILABLE,
    504: Status.UNAVAILABLE,
}
"""gRPC's status for HTTP's, as gRPC's own libraries translate (grpc/doc/http-grpc-status-mapping.md); else UNKNOWN."""


class GrpcApp:
    """Serves SPEC; its calls go through OUTBOUND.

    Raises LabError when its environment does not hold its behaviour.
    """

    def __init__(self, spec: AppSpec, outbound: Outbound) -> None:
        config = ServiceConfig.of(spec)
        self._spec = spec
        self._outbound = outbound
        self._methods = config.methods
        self._goes_on = config.version.on_caller_gone == "continue"
        self._work = Work(config, outbound)
        self._going_on: set[asyncio.Task[Done | Failed]] = set()
        self._server = Server([self], codec=Opaque())

    async def start(self) -> None:
        """Listen; raises OSError when the address is taken."""
        listener = socket.create_server((self._spec.host, self._spec.port), backlog=1024)
        await self._server.start(sock=listener)

    async def cleanup(self) -> None:
        """End it, and every connection."""
        self._server.close()
        await self._server.wait_closed()
        for task in self._going_on:
            task.cancel()
        await self._outbound.close()

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib asks a service for."""
        return {
            method: Handler(self._handler(method), Cardinality.UNARY_UNARY, bytes, bytes) for method in self._methods
        }

    def _handler(self, method: str) -> Any:
        async def handle(stream: Stream[bytes, bytes]) -> None:
            await stream.recv_message()
            metadata = {name: value for name, value in (stream.metadata or {}).items() if isinstance(value, str)}
            done = await self._answer(method, metadata)
            if isinstance(done, Failed):
                raise _error(done)
            await stream.send_message(message(done.body))

        return handle

    async def _answer(self, method: str, metadata: Mapping[str, str]) -> Done | Failed:
        """Who serves a caller that is gone is cancelled by grpclib; the work itself only where the file says so."""
        if not self._goes_on:
            return await self._work.answer(method, metadata)
        task = asyncio.create_task(self._work.answer(method, metadata))
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)
        return await asyncio.shield(task)


def _error(done: Failed) -> Exception:
    """How a request ends that a failed call ends."""
    call, outcome = done.call, done.outcome
    if call.on_failure == "bug":
        return CallFailed(outcome.why)
    if call.on_failure == "raw" and outcome.grpc_status:
        return GRPCError(Status(outcome.grpc_status), outcome.why)
    if call.on_failure == "raw" and outcome.status:
        return GRPCError(_FROM_HTTP.get(outcome.status, Status.UNKNOWN), outcome.why)
    return GRPCError(Status.UNAVAILABLE, done.body.decode())
