"""An application's own process: an HTTP server around one of the lab's applications."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.apps.bookinfo import details, productpage, ratings, reviews
from chaosmesh_ext.lab.apps.service import app as service
from chaosmesh_ext.lab.apps.sidecar import Outbound
from chaosmesh_ext.lab.apps.spec import GRPC_SERVICE, SERVICE, AppSpec

__all__ = ["APPLICATIONS", "Application", "Listening", "listen", "prepare", "serve"]

Application = Callable[[AppSpec, Outbound], web.Application]
"""Makes an application's routes; they call other services through the `Outbound`."""

APPLICATIONS: dict[str, Application] = {
    "bookinfo-productpage": productpage.application,
    "bookinfo-details": details.application,
    "bookinfo-reviews-v1": reviews.v1,
    "bookinfo-reviews-v2": reviews.v2,
    "bookinfo-reviews-v3": reviews.v3,
    "bookinfo-ratings": ratings.application,
    SERVICE: service.application,
}
"""Every application that speaks HTTP, by the name that `image_app` gives it."""


class Listening(Protocol):
    """An application at work."""

    async def cleanup(self) -> None:
        """End it."""


_IDLE_S = 3900.0
"""Longer than Envoy keeps an idle connection (an hour), so that a request never meets a connection being closed."""


def prepare() -> None:
    """Do once, before any fork, what every application would do first: it is quicker later, and its memory shared."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    productpage.prepare()
    asyncio.run(_rehearse())


async def _rehearse() -> None:
    """Serve a page and a file to ourselves, on any free port."""
    runner = await _listen_http(AppSpec("rehearsal", "bookinfo-productpage", "127.0.0.1", 0, "127.0.0.1"))
    caller = Outbound("127.0.0.1")
    try:
        for path in ("/", "/static/bookinfo.css"):
            await caller.call("rehearsal", runner.addresses[0][1], path, {})
    finally:
        await caller.close()
        await runner.cleanup()


def serve(spec: AppSpec) -> None:
    """Be the application until a signal ends the process."""
    asyncio.run(_serve_forever(spec))


async def _serve_forever(spec: AppSpec) -> None:
    await listen(spec)
    await asyncio.Event().wait()


async def listen(spec: AppSpec) -> Listening:
    """Listen for SPEC in this event loop; `cleanup` of the result ends it.

    Raises LabError for an unknown application or a behaviour that cannot be read, OSError when the address is taken.
    """
    if spec.app != GRPC_SERVICE:
        return await _listen_http(spec)
    from chaosmesh_ext.lab.apps.service.grpc_app import GrpcApp  # only those that speak gRPC need its memory

    app = GrpcApp(spec, Outbound(spec.proxy_host))
    await app.start()
    return app


async def _listen_http(spec: AppSpec) -> web.AppRunner:
    make = APPLICATIONS.get(spec.app)
    if make is None:
        known = ", ".join([*APPLICATIONS, GRPC_SERVICE])
        raise LabError(f"{spec.name}: the lab has no application {spec.app!r}; it has {known}")
    outbound = Outbound(spec.proxy_host)
    application = make(spec, outbound)
    application.on_cleanup.append(lambda _: outbound.close())
    runner = web.AppRunner(
        application,
        access_log=None,
        keepalive_timeout=_IDLE_S,
        # "cancel": the request's handler, and with it its calls, stops when its caller is gone
        handler_cancellation=service.CANCEL in application and application[service.CANCEL],
    )
    await runner.setup()
    listener = socket.create_server((spec.host, spec.port), backlog=1024)
    await web.SockSite(runner, listener).start()
    return runner
