"""gRPC as the lab's applications speak it, over grpclib: one unary method, without generated classes.

A request is an empty message, an answer has one text in its field 1: what google.protobuf's Empty and StringValue are
on the wire, so that any client can be told of them. Imported only by processes that speak gRPC: it takes 2 MB of each
(measured).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

from grpclib.client import Channel, Stream
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.metadata import Deadline
from h2.errors import ErrorCodes

from chaosmesh_ext.lab.varint import varint

__all__ = ["HTTP_STATUS", "Channels", "Opaque", "Refused", "message", "text"]

HTTP_STATUS: Final[Mapping[Status, int]] = {
    Status.OK: 200,
    Status.CANCELLED: 499,
    Status.UNKNOWN: 500,
    Status.INVALID_ARGUMENT: 400,
    Status.DEADLINE_EXCEEDED: 504,
    Status.NOT_FOUND: 404,
    Status.ALREADY_EXISTS: 409,
    Status.PERMISSION_DENIED: 403,
    Status.RESOURCE_EXHAUSTED: 429,
    Status.FAILED_PRECONDITION: 400,
    Status.ABORTED: 409,
    Status.OUT_OF_RANGE: 400,
    Status.UNIMPLEMENTED: 501,
    Status.INTERNAL: 500,
    Status.UNAVAILABLE: 503,
    Status.DATA_LOSS: 500,
    Status.UNAUTHENTICATED: 401,
}
"""The HTTP status that says the same as gRPC's, as google.rpc.Code has it."""

_AT_THE_DEADLINE: Final = frozenset({Status.DEADLINE_EXCEEDED, Status.UNAVAILABLE})
_EARLY_S: Final = 0.005
"""A sidecar knows the deadline in whole milliseconds, and its clock may run out before ours: its 504 is UNAVAILABLE."""

_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[ -~]+")
_OWN: Final = frozenset({"te", "content-type", "user-agent"})


class Opaque(CodecBase):
    """Messages stay the bytes that they are."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ARG002 the signature is grpclib's
        """MESSAGE."""
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:  # noqa: ARG002
        """DATA."""
        return data


class Refused(Exception):
    """The call was answered with a status that is an error."""

    def __init__(self, status: Status, words: str) -> None:
        super().__init__(words)
        self.status = status


class Channels:
    """Connections to a sidecar's outbound address, one for each service; calls share it, as gRPC's do."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._open: dict[tuple[str, int], Channel] = {}

    async def call(
        self, service: str, port: int, method: str, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        """The answer to one call of METHOD with HEADERS as its metadata, as far as metadata can hold them.

        timeout: seconds, sent as the call's deadline too. Raises Refused for an error status, TimeoutError at the
        deadline, when the call is cancelled, and ConnectionError where there was no whole answer.
        """
        metadata = [(name, value) for name, value in headers.items() if _sendable(name, value)]
        deadline = None if timeout is None else Deadline.from_timeout(timeout)
        stream: Stream[bytes, bytes] = self._channel(service, port).request(
            method, Cardinality.UNARY_UNARY, bytes, bytes, deadline=deadline, metadata=metadata
        )
        try:
            async with stream:
                try:
                    await stream.send_message(b"", end=True)
                    answer = await stream.recv_message()
                except (TimeoutError, asyncio.CancelledError):
                    _cancel(stream)
                    raise
        except GRPCError as error:
            if error.status in _AT_THE_DEADLINE and deadline is not None and deadline.time_remaining() < _EARLY_S:
                raise TimeoutError from error
            raise Refused(error.status, error.message or "") from error
        except (StreamTerminatedError, ProtocolError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise ConnectionError(str(error)) from error
        return answer or b""

    def close(self) -> None:
        """Close every connection."""
        for channel in self._open.values():
            channel.close()
        self._open.clear()

    def _channel(self, service: str, port: int) -> Channel:
        key = service, port
        if key not in self._open:
            channel = Channel(self._host, port, codec=Opaque())
            channel._authority = f"{service}:{port}"
            self._open[key] = channel
        return self._open[key]


def _cancel(stream: Stream[Any, Any]) -> None:
    """Reset a call that is not waited for any more with CANCEL, as every other gRPC library does.

    Left to itself grpclib sends NO_ERROR, of which Envoy makes no DR (measured).
    """
    if stream._send_request_done and stream._stream.closable:
        stream._stream.reset_nowait(ErrorCodes.CANCEL)


def message(words: bytes) -> bytes:
    """The message whose field 1 is the text WORDS, in UTF-8."""
    return b"\x0a" + varint(len(words)) + words


def text(data: bytes) -> bytes:
    """The inverse of `message`; nothing where DATA is no such message."""
    if not data.startswith(b"\x0a"):
        return b""
    length = at = 0
    for at in range(1, min(len(data), 10)):
        length |= (data[at] & 0x7F) << 7 * (at - 1)
        if data[at] < 0x80:
            break
    return data[at + 1 : at + 1 + length]


def _sendable(name: str, value: str) -> bool:
    """Metadata has no binary values under such names, and gRPC's own names are the library's."""
    if name in _OWN or name.startswith("grpc-") or name.endswith("-bin"):
        return False
    return bool(_NAME.fullmatch(name) and _VALUE.fullmatch(value))
