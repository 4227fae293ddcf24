"""The secret discovery service, where Envoys get their certificates; in a cluster each pod's Istio agent is one.

It believes every caller: it listens on a loopback address, and a lab's keys protect nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

import msgspec
from grpclib.const import Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.server import Stream

from chaosmesh_ext.lab.grpc import StreamServer
from chaosmesh_ext.lab.identity.authority import Authority
from chaosmesh_ext.lab.identity.protobuf import field, fields

__all__ = ["SdsServer"]

_LOG = logging.getLogger(__name__)
_METHOD = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"
_SECRET = b"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_LOOK_AGAIN_S = 60.0
"""How often expiry is looked at, by the clock on the wall: a machine may have slept."""


class _Request(msgspec.Struct, frozen=True):
    """What matters of a DiscoveryRequest. account: namespace and service account, where the request has a node."""

    names: tuple[str, ...]
    nonce: str
    account: tuple[str, str] | None
    error: str

    @staticmethod
    def parse(data: bytes) -> _Request:
        """Raises ValueError for what is no DiscoveryRequest, or has a node that is no proxy of Istio's."""
        names, nonce, account, error = [], "", None, ""
        for number, value in fields(data):
            if number == 2:
                account = _account(value)
            elif number == 3:
                names.append(value.decode())
            elif number == 5:
                nonce = value.decode()
            elif number == 6:
                error = next((text.decode() for field_, text in fields(value) if field_ == 2), "no reason given")
        return _Request(tuple(names), nonce, account, error)


class SdsServer(StreamServer):
    """Answers for ``default``, the certificate of the proxy that asks, and ``ROOTCA``, on HOST and PORT.

    A certificate is sent anew before it expires.
    """

    def __init__(self, authority: Authority, host: str, port: int) -> None:
        super().__init__("the secret discovery service", _METHOD, host, port, _Codec(), bytes)
        self._authority = authority

    async def serve(self, stream: Stream[Any, Any]) -> None:
        """One stream: Envoy opens one for each secret that it wants."""
        subscription = _Subscription(self._authority)
        requests: asyncio.Queue[bytes | None] = asyncio.Queue()
        reader = asyncio.create_task(_read(stream, requests))
        try:
            while True:
                try:
                    async with asyncio.timeout(subscription.patience):
                        data = await requests.get()
                except TimeoutError:
                    answer = subscription.renewed()
                else:
                    if data is None:
                        return
                    answer = subscription.take(data)
                if answer is not None:
                    await stream.send_message(answer)
        except (StreamTerminatedError, ConnectionError):
            return
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


class _Subscription:
    """What one stream asked for and was sent."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._account: tuple[str, str] | None = None
        self._names: tuple[str, ...] | None = None
        self._renew_at = float("inf")
        self._count = 0

    @property
    def patience(self) -> float:
        """How many seconds to wait before `renewed` is asked."""
        return max(0.0, min(_LOOK_AGAIN_S, self._renew_at - time.time()))

    def take(self, data: bytes) -> bytes | None:
        """The answer to a request, or None for an acknowledgement; raises GRPCError for what is none."""
        try:
            request = _Request.parse(data)
        except ValueError as error:
            raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
        self._account = request.account or self._account
        if self._account is None:
            raise GRPCError(Status.INVALID_ARGUMENT, "the first request of a stream must say which node asks")
        if request.error:
            _LOG.warning("the Envoy of %s refused %s: %s", "/".join(self._account), request.names, request.error)
        if request.nonce and request.names == self._names:
            return None
        self._names = request.names
        return self._answer(self._account)

    def renewed(self) -> bytes | None:
        """The same secrets with a new certificate, once the old one is due."""
        if self._account is None or time.time() < self._renew_at:
            return None
        return self._answer(self._account)

    def _answer(self, account: tuple[str, str]) -> bytes:
        """A DiscoveryResponse; a secret that does not exist is left out, and Envoy waits for it."""
        self._count += 1
        version = str(self._count).encode()
        out = field(1, version)
        self._renew_at = float("inf")
        for name in self._names or ():
            secret = self._secret(name, account)
            if secret is None:
                _LOG.warning("the Envoy of %s asks for the secret %s, which no lab has", "/".join(account), name)
            else:
                out += field(2, field(1, _SECRET) + field(2, field(1, name.encode()) + secret))
        return out + field(4, _SECRET) + field(5, version)

    def _secret(self, name: str, account: tuple[str, str]) -> bytes | None:
        if name == "ROOTCA":
            return field(4, field(1, _inline(self._authority.root)))
        if name == "default":
            certificate = self._authority.workload(*account)
            self._renew_at = certificate.renew_at
            return field(2, field(1, _inline(certificate.chain)) + field(2, _inline(certificate.key)))
        return None


class _Codec(CodecBase):
    """Messages as bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ARG002 the signature is grpclib's
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:  # noqa: ARG002
        return data


async def _read(stream: Stream[Any, Any], requests: asyncio.Queue[bytes | None]) -> None:
    try:
        with contextlib.suppress(StreamTerminatedError, ConnectionError):
            async for message in stream:
                requests.put_nowait(message)
    finally:
        requests.put_nowait(None)


def _inline(data: bytes) -> bytes:
    """A DataSource that holds DATA itself."""
    return field(2, data)


def _account(node: bytes) -> tuple[str, str]:
    """Namespace and service account of a Node: from its id and, as Istio's injector writes it, from its metadata.

    Raises ValueError for an id that is not ``sidecar~ip~pod.namespace~domain``.
    """
    parts = dict(fields(node))
    words = parts.get(1, b"").decode().split("~")
    namespace = words[2].rpartition(".")[2] if len(words) == 4 else ""
    if not namespace:
        raise ValueError(f"{'~'.join(words)!r} is not the id of a proxy: sidecar~ip~pod.namespace~domain is wanted")
    for number, entry in fields(parts.get(3, b"")):
        pair = dict(fields(entry)) if number == 1 else {}
        if pair.get(1) == b"SERVICE_ACCOUNT":
            return namespace, dict(fields(pair.get(2, b""))).get(3, b"").decode() or "default"
    return namespace, "default"
