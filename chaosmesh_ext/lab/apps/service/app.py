"""A service that speaks HTTP: every path and method."""

from __future__ import annotations

import logging
import traceback

from aiohttp import web

from chaosmesh_ext.lab.apps.service.config import ServiceConfig
from chaosmesh_ext.lab.apps.service.work import CallFailed, Failed, Work
from chaosmesh_ext.lab.apps.sidecar import Outbound
from chaosmesh_ext.lab.apps.spec import AppSpec

__all__ = ["CANCEL", "application"]

CANCEL = web.AppKey("cancel", bool)
"""Set on an application whose calls stop when its caller is gone."""


def application(spec: AppSpec, outbound: Outbound) -> web.Application:
    """The routes of a topology's service.

    Raises LabError when its environment does not hold its behaviour.
    """
    config = ServiceConfig.of(spec)
    app = web.Application()
    app[CANCEL] = config.version.on_caller_gone == "cancel"
    app.router.add_route("*", "/{path:.*}", _Service(config, outbound).handle)
    return app


class _Service:
    def __init__(self, config: ServiceConfig, outbound: Outbound) -> None:
        self._status = config.version.status
        self._work = Work(config, outbound)

    async def handle(self, request: web.Request) -> web.Response:
        done = await self._work.answer(request.rel_url.raw_path, request.headers)
        if isinstance(done, Failed):
            return _ended(done)
        return web.Response(body=done.body, status=self._status, content_type="application/json")


def _ended(done: Failed) -> web.Response:
    """The answer of a request that a failed call ends."""
    if done.call.on_failure == "bug":
        try:
            raise CallFailed(done.outcome.why)
        except CallFailed:
            words = traceback.format_exc()
        logging.getLogger(__name__).error("%s", words)
        return web.Response(text=words, status=500)
    # "raw" has nothing to pass on when no status came
    status = done.outcome.status if done.call.on_failure == "raw" and done.outcome.status else 502
    return web.Response(body=done.body, status=status, content_type="application/json")
