"""gRPC as the rest of the world speaks it, by grpcio: a client, and a server that answers every unary method."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # tests start processes while a server runs, and none uses gRPC

import grpc

__all__ = ["METHOD", "Got", "Server", "call", "channel"]

METHOD = "/chaosmesh.Echo/Call"


class Got(NamedTuple):
    """How a call ended: gRPC's status by name, its message, the answer, and after how many seconds."""

    status: str
    message: str
    body: bytes
    took: float


@contextmanager
def channel(address: str, port: int, authority: str) -> Iterator[grpc.Channel]:
    """A connection of its own, on which calls are for AUTHORITY; nothing is tried again."""
    options = [("grpc.default_authority", authority), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"{address}:{port}", options=options) as made:
        yield made


def call(
    through: grpc.Channel, metadata: Mapping[str, str] | None = None, timeout: float = 10.0, method: str = METHOD
) -> Got:
    """Call METHOD with an empty message; TIMEOUT is the deadline."""
    started = time.monotonic()
    try:
        body = through.unary_unary(method)(b"", timeout=timeout, metadata=tuple((metadata or {}).items()))
    except grpc.RpcError as error:
        return Got(error.code().name, error.details(), b"", time.monotonic() - started)
    return Got("OK", "", body, time.monotonic() - started)


class Server(grpc.GenericRpcHandler):
    """Answers every method with `body`, or with the error `status`, after `delay` seconds; keeps what it was sent."""

    def __init__(self, address: str, port: int) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.gone = threading.Event()
        self.reset()
        self._pool = ThreadPoolExecutor(16)
        self._server = grpc.server(self._pool, handlers=[self], options=[("grpc.so_reuseport", 0)])
        self._server.add_insecure_port(f"{address}:{port}")
        self._server.start()

    def reset(self) -> None:
        """As new."""
        self.status, self.body, self.delay = "OK", b"\x0a\x02{}", 0.0
        self.seen.clear()
        self.gone.clear()

    def stop(self) -> None:
        """End it, and what it serves."""
        self.gone.set()
        self._server.stop(0).wait()
        self._pool.shutdown()

    def service(self, details: Any) -> Any:
        """Of grpcio: who serves a call."""
        self.seen.append((details.method, dict(details.invocation_metadata)))
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(self._ended)
        if self.delay:
            self.gone.clear()
            self.gone.wait(self.delay)
        if self.status != "OK":
            context.abort(grpc.StatusCode[self.status], "as the test says")
        return self.body

    def _ended(self) -> None:
        self.gone.set()
