"""The API on a socket: plain HTTP, JSON, watches as streams of lines."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

import msgspec
from aiohttp import web

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.kube.embedded import discovery, openapi, reviews
from chaosmesh_ext.lab.kube.embedded.bodies import as_object
from chaosmesh_ext.lab.kube.embedded.paths import target
from chaosmesh_ext.lab.kube.embedded.proxying import Proxy
from chaosmesh_ext.lab.kube.embedded.refusals import (
    NoSuchPage,
    Refused,
    method_not_allowed,
    no_such_path,
    too_large_body,
)
from chaosmesh_ext.lab.kube.embedded.verbs import Answer, Request, Text, Verbs
from chaosmesh_ext.lab.kube.embedded.watching import Watch

__all__ = ["BODY_LIMIT", "Server"]

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes of a request's body (Kubernetes' MaxRequestBodyBytes)."""
_GRACE = 0.5
"""Seconds that open requests have when the server stops."""
_JSON = "application/json"
_HEALTH = ("healthz", "readyz", "livez")
_encode = msgspec.json.encode
_log = logging.getLogger(__name__)


class Server:
    """Listens on HOST and PORT (0: any free one) and hands requests to VERBS."""

    def __init__(self, verbs: Verbs, host: str, port: int) -> None:
        self._verbs = verbs
        self._proxy = Proxy(verbs.objects)
        self._host = host
        self.port = port
        self._watches: set[Watch] = set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; raises LabError when the address cannot be had."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self.port).start()
        except OSError as error:
            await runner.cleanup()
            raise LabError(self._cannot_listen(error)) from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    def _cannot_listen(self, error: OSError) -> str:
        what = f"the lab's Kubernetes API cannot listen on {self._host}:{self.port}"
        if error.errno == errno.EADDRINUSE:
            return f"{what}: the address is taken; stop what listens there (ss -ltnp), or start the lab elsewhere"
        return f"{what}: {error.strerror or error}; choose an address of this machine and a port above 1023"

    async def stop(self) -> None:
        """End the watches and close every connection."""
        for watch in list(self._watches):
            watch.end()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        await self._proxy.stop()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except NoSuchPage as refused:
            return web.Response(text=str(refused), status=refused.code)
        except Refused as refused:
            return _json(refused.status(), refused.code)
        except web.HTTPRequestEntityTooLarge:
            return _json(too_large_body(f"limit is {BODY_LIMIT}").status(), 413)
        except ConnectionError:
            raise
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path)
            why = f"Internal error occurred: {type(error).__name__}: {error}"
            return _json(Refused(500, "InternalError", why).status(), 500)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        proxied = await self._proxy.answer(request)
        if proxied is not None:
            return proxied
        path = request.path.rstrip("/") or "/"
        document = self._document(path, request)
        if document is not None:
            if request.method not in ("GET", "HEAD"):
                raise method_not_allowed()
            return document
        if not path.startswith(("/api/", "/apis/")):
            raise NoSuchPage
        body = await request.read() if request.can_read_body else b""
        content_type = request.headers.get("Content-Type", "")
        parts = path.split("/")
        review = reviews.REVIEWS.get((parts[2], parts[4])) if len(parts) == 5 and parts[3] == "v1" else None
        if review:
            if request.method != "POST":
                raise method_not_allowed()
            return _json(reviews.answer(parts[2], review, as_object(body, content_type)), 201)
        asked = Request(
            request.method, target(request.raw_path.partition("?")[0]), request.query,
            request.headers.get("Accept", ""), content_type, body,
        )  # fmt: skip
        done = self._verbs.do(asked)
        if isinstance(done, Watch):
            return await self._stream(request, done)
        if isinstance(done, Text):
            return web.Response(text=done.text)
        if isinstance(done, Answer):
            return _json(done.document, done.code)
        raise TypeError(done)

    def _document(self, path: str, request: web.Request) -> web.Response | None:
        """What is answered at a fixed path."""
        accept = request.headers.get("Accept", "")
        if path.split("/")[1] in _HEALTH:
            return web.Response(text="ok")
        if path == "/openapi/v2":
            if openapi.PROTOBUF_V2 in accept:
                return web.Response(body=openapi.v2_protobuf(), content_type=openapi.PROTOBUF_V2_ANSWER)
            return _json(openapi.v2())
        if path.startswith("/openapi/v3/"):
            document = openapi.v3(path.removeprefix("/openapi/v3/"))
            return web.Response(status=404) if document is None else _json(document)
        if path in ("/api", "/apis"):
            return self._groups(path, accept)
        fixed = _FIXED.get(path)
        if fixed is not None:
            return _json(fixed())
        parts = path.strip("/").split("/")
        if len(parts) == 2 and parts[0] in ("api", "apis"):
            core = parts[0] == "api"
            if core:
                return _found(discovery.api_resources("", parts[1]), no_such_path())
            return _found(discovery.api_group(parts[1]), NoSuchPage())
        if len(parts) == 3 and parts[0] == "apis":
            return _found(discovery.api_resources(parts[1], parts[2]), NoSuchPage())
        return None

    def _groups(self, path: str, accept: str) -> web.Response:
        for wanted in accept.split(","):
            parameters = dict(part.strip().partition("=")[::2] for part in wanted.split(";"))
            version = parameters.get("v", "")
            if parameters.get("as") == "APIGroupDiscoveryList" and version in ("v2", "v2beta1"):
                response = _json(discovery.aggregated(core=path == "/api", version=version))
                response.headers["Content-Type"] = f"{_JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                return response
        if path == "/apis":
            return _json(discovery.api_groups())
        return _json(discovery.api_versions(f"{self._host}:{self.port}"))

    async def _stream(self, request: web.Request, watch: Watch) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _JSON, "Cache-Control": "no-cache, private"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._watches.add(watch)
        try:
            async for event in watch.events():
                await response.write(_encode(event) + b"\n")
            await response.write_eof()
        except ConnectionError:
            pass  # the client has gone, which is how most watches end
        finally:
            self._watches.discard(watch)
        return response


_FIXED: dict[str, Callable[[], object]] = {
    "/": lambda: {"paths": sorted(["/openapi/v2", "/version", *(f"/{word}" for word in _HEALTH), *discovery.paths()])},
    "/version": lambda: discovery.VERSION,
    "/openapi/v3": openapi.v3_index,
}


def _json(document: object, code: int = 200) -> web.Response:
    return web.Response(body=_encode(document), status=code, content_type=_JSON)


def _found(document: object | None, refusal: Refused) -> web.Response:
    if document is None:
        raise refusal
    return _json(document)
