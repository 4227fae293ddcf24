"""An application's calls, all through its sidecar."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import aiohttp
import msgspec

if TYPE_CHECKING:
    from chaosmesh_ext.lab.apps.rpc import Channels

__all__ = ["NoAnswer", "Outbound", "Reply"]


class Reply(msgspec.Struct, frozen=True):
    """A whole answer: its status, its body, and the body's type.

    Of a gRPC call: status is the HTTP status that says the same, body the text in the answer. grpc_status, said: gRPC's
    error, by number and by name, with its message.
    """

    status: int
    body: bytes
    content_type: str = ""
    grpc_status: int = 0
    said: str = ""


class NoAnswer(Exception):
    """There was no whole answer: `why` is ``timeout`` or ``connect`` (no connection, or one that broke)."""

    def __init__(self, why: Literal["timeout", "connect"], detail: str) -> None:
        super().__init__(detail)
        self.why: Literal["timeout", "connect"] = why


class Outbound:
    """Keep-alive connections to the sidecar's outbound address; a call that times out closes its own.

    host: the sidecar's. One call is one request on the wire: nothing is tried again, redirected or remembered here.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._session: aiohttp.ClientSession | None = None
        self._channels: Channels | None = None

    async def call(
        self,
        service: str,
        port: int,
        path: str,
        headers: Mapping[str, str],
        timeout: float | None = None,
        method: str = "GET",
    ) -> Reply:
        """Call PATH of SERVICE:PORT with exactly HEADERS (and what HTTP needs).

        timeout: seconds from now to the last body byte, None is none. Raises NoAnswer.
        """
        session = self._open()
        try:
            async with (
                asyncio.timeout(timeout),
                session.request(
                    method,
                    f"http://{self._host}:{port}{path}",
                    headers={**headers, "Host": f"{service}:{port}"},
                    allow_redirects=False,
                ) as response,
            ):
                return Reply(response.status, await response.read(), response.content_type)
        except TimeoutError:
            raise NoAnswer("timeout", f"no answer from {service} within {timeout} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer("connect", f"no answer from {service}: {error}") from error

    async def call_grpc(
        self, service: str, port: int, method: str, headers: Mapping[str, str], timeout: float | None = None
    ) -> Reply:
        """Call METHOD of SERVICE:PORT over gRPC with HEADERS as its metadata, as far as it can hold them.

        timeout: seconds from now to the whole answer, the call's deadline; None is none. Raises NoAnswer.
        """
        from chaosmesh_ext.lab.apps import rpc  # only those that speak gRPC need its memory

        if self._channels is None:
            self._channels = rpc.Channels(self._host)
        try:
            return Reply(200, rpc.text(await self._channels.call(service, port, method, headers, timeout)))
        except rpc.Refused as error:
            said = f"{error.status.name} {error}".strip()
            return Reply(rpc.HTTP_STATUS[error.status], b"", grpc_status=error.status.value, said=said)
        except TimeoutError:
            raise NoAnswer("timeout", f"no answer from {service} within {timeout} s") from None
        except ConnectionError as error:
            raise NoAnswer("connect", f"no answer from {service}: {error}") from error

    async def close(self) -> None:
        """Close every connection."""
        if self._channels is not None:
            self._channels.close()
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0),
                cookie_jar=aiohttp.DummyCookieJar(),
                # our own clock above: aiohttp's rounds a timeout beyond 5 s up to a whole second
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
                auto_decompress=True,
            )
            # aiohttp quietly sends an idempotent request twice when the connection breaks: an attempt must stay one
            self._session._retry_connection = False
        return self._session
