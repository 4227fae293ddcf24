"""Requests to the API server: TLS that is verified, a bearer token, JSON."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import msgspec

from chaosmesh_ext.errors import ApiError, LabError, Unreachable
from chaosmesh_ext.lab.kube.api import Obj, refused

__all__ = ["JSON", "MERGE_PATCH", "Client"]

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
_CALL = aiohttp.ClientTimeout(total=30)
_WATCH = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=None)
_LINE_LIMIT = 8 * 1024 * 1024
"""Bytes of one event: an object has at most 1.5 MB, and a Pod's managedFields as much again."""


class Client:
    """Speaks to the API server at URL.

    root: PEM, what its certificate is checked against. dead: says why it cannot answer, empty when nothing is known.
    """

    def __init__(self, url: str, token: str, root: bytes, dead: Callable[[], str]) -> None:
        self.url = url
        self._dead = dead
        self._session = aiohttp.ClientSession(
            url,
            headers={"Authorization": f"Bearer {token}"},
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=root.decode()), limit=0),
            read_bufsize=_LINE_LIMIT,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """The document that is answered.

        body: a value that is sent as JSON, or bytes that are. Raises ApiError for a refusal (404 has its plain class),
        LabError when the server died, Unreachable when it does not answer.
        """
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Accept": accept} | ({"Content-Type": content_type} if data is not None else {})
        try:
            async with self._session.request(
                method, path, data=data, headers=headers, params=query, timeout=_CALL
            ) as answer:
                raw = await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self._silent(error) from error
        if answer.status >= 400:
            raise _refusal(answer.status, raw)
        return msgspec.json.decode(raw)

    async def answers(self, path: str) -> bool:
        """Whether a GET of PATH is answered with 200."""
        try:
            async with self._session.get(path, timeout=_CALL) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError):
            return False

    async def events(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Obj]:
        """The events of a watch, until the server ends it; raises what `ask` does."""
        try:
            async with self._session.get(path, params={**query, "watch": "1"}, timeout=_WATCH) as answer:
                if answer.status >= 400:
                    raise _refusal(answer.status, await answer.read())
                async for line in answer.content:
                    yield msgspec.json.decode(line)
        except (aiohttp.ClientError, OSError) as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> LabError | Unreachable:
        if words := self._dead():
            return LabError(words)
        return Unreachable(
            f"{self.url} does not answer: {type(error).__name__}: {error}; ask again, or restart the lab"
        )


def _refusal(status: int, raw: bytes) -> ApiError:
    try:
        said = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        said = None
    if not isinstance(said, dict):
        said = {"message": raw.decode(errors="replace").strip()}
    return refused(status, str(said.get("reason", "")), str(said.get("message", "")))
