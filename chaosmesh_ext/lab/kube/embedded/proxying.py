"""The `proxy` of Services and Pods: a request to the API is handed on to what runs behind them, and its answer back."""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from chaosmesh_ext.lab.kube.embedded.backends import Backend, pod_backend, service_backend
from chaosmesh_ext.lab.kube.embedded.objects import Objects
from chaosmesh_ext.lab.kube.embedded.refusals import not_implemented, service_unavailable

__all__ = ["Proxy"]

_PATH = re.compile(
    "(?P<own>/api/v1/namespaces/(?P<space>[^/]+)/(?P<kind>services|pods)/(?P<id>[^/]+)/proxy)(?P<rest>/.*)?"
)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_HOP = ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade")  # fmt: skip
_NOT_SENT = (*_HOP, "authorization", "content-length")
"""What ends here; a real API server keeps the credentials by which it knew the client, too."""
_NOT_ANSWERED = (*_HOP, "content-length")


class Proxy:
    """Hands requests on to what OBJECTS say. One connection serves many requests."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._session: aiohttp.ClientSession | None = None

    async def stop(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def answer(self, request: web.Request) -> web.StreamResponse | None:
        """The answer of what REQUEST asks for through a proxy; None when it asks for none.

        Raises Refused: 503 when nothing is there or nothing answers, 400 and 404 for what cannot be asked.
        """
        path, _, query = request.raw_path.partition("?")
        match = _PATH.fullmatch(path)
        if match is None or request.method not in _METHODS:
            return None
        if "upgrade" in request.headers.get("Connection", "").lower():
            raise not_implemented(f"{match['kind']}/proxy for a connection that is upgraded")
        find = service_backend if match["kind"] == "services" else pod_backend
        backend = find(self._objects, unquote(match["space"]), unquote(match["id"]))
        if not match["rest"] and request.method in ("GET", "HEAD"):
            return web.Response(status=301, headers={"Location": f"{path}/{'?' + query if query else ''}"})
        url = f"{backend.scheme}://{_host(backend)}{_cleaned(match['rest'] or '')}{'?' + query if query else ''}"
        return await self._handed_on(request, backend, url, match["own"])

    async def _handed_on(self, request: web.Request, backend: Backend, url: str, own: str) -> web.StreamResponse:
        headers = CIMultiDict((name, text) for name, text in request.headers.items() if name.lower() not in _NOT_SENT)
        known = headers.popall("X-Forwarded-For", [])
        headers["X-Forwarded-For"] = ", ".join([*known, request.remote or ""])
        headers["X-Forwarded-Uri"] = request.raw_path.partition("?")[0]
        body = await request.read() if request.can_read_body else None
        try:
            async with self._open().request(
                request.method,
                URL(url, encoded=True),
                headers=headers,
                data=body,
                allow_redirects=False,
                ssl=False,
            ) as answer:
                return await _passed_back(request, answer, backend, own)
        except aiohttp.ClientConnectorError as error:
            why = os.strerror(error.os_error.errno).lower() if error.os_error.errno else str(error)
            raise service_unavailable(
                f"error trying to reach service: dial tcp {_host(backend)}: connect: {why}"
            ) from None
        except aiohttp.ClientError:
            raise service_unavailable("error trying to reach service: EOF") from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session


async def _passed_back(
    request: web.Request, answer: aiohttp.ClientResponse, backend: Backend, own: str
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, text in answer.headers.items():
        if name.lower() == "location":
            response.headers.add(name, _through(text, backend, request.host, own))
        elif name.lower() not in _NOT_ANSWERED:
            response.headers.add(name, text)
    if (length := answer.headers.get("Content-Length")) is not None:
        response.content_length = int(length)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except aiohttp.ClientError as error:  # too late for a refusal: what was begun is cut off
        raise ConnectionResetError(f"the backend at {_host(backend)} broke off: {error}") from error
    return response


def _through(location: str, backend: Backend, host: str, own: str) -> str:
    """LOCATION, to which the backend redirects, as it is reached through the proxy at OWN."""
    parts: Any = urlsplit(location)
    if (parts.netloc and parts.netloc not in (_host(backend), host)) or not parts.path.startswith("/"):
        return location
    path = parts.path if parts.path.startswith(own) else own + parts.path
    kept = (parts.scheme, parts.netloc) if parts.netloc == host else ("", "")
    return str(urlunsplit((*kept, path, parts.query, parts.fragment)))


def _cleaned(path: str) -> str:
    """PATH as it is handed on: without dots and double slashes, also those that were escaped."""
    plain = unquote(path)
    clean = posixpath.normpath(f"/{plain.lstrip('/')}")
    whole = f"{clean}/" if plain.endswith("/") and clean != "/" else clean
    return quote(whole, safe="/:@!$&'()*+,;=~") if path else ""


def _host(backend: Backend) -> str:
    host = f"[{backend.host}]" if ":" in backend.host else backend.host
    return f"{host}:{backend.port}"
