"""The service's application: workers, work, calls, and the answer made of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Mapping

import msgspec
from aiohttp import web

from chaosmesh_ext.lab.apps.headers import passed_on
from chaosmesh_ext.lab.apps.service.calling import Caller, Outcome
from chaosmesh_ext.lab.apps.service.config import ServiceConfig
from chaosmesh_ext.lab.apps.sidecar import Outbound
from chaosmesh_ext.lab.apps.spec import SERVICE_VARIABLE, AppSpec
from chaosmesh_ext.model.topology import Call

__all__ = ["CANCEL", "CallFailed", "application"]

CANCEL = web.AppKey("cancel", bool)
"""Set on an application whose calls stop when its caller is gone."""


class CallFailed(Exception):
    """What escapes from a service whose call failed `bug`."""


def application(spec: AppSpec, outbound: Outbound) -> web.Application:
    """The routes of a topology's service: every path and method.

    Raises LabError when its environment does not hold its behaviour.
    """
    config = ServiceConfig.decode(spec.env.get(SERVICE_VARIABLE, ""), f"{spec.name}: {SERVICE_VARIABLE}")
    app = web.Application()
    app[CANCEL] = config.version.on_caller_gone == "cancel"
    app.router.add_route("*", "/{path:.*}", _Service(config, outbound).handle)
    return app


class _Service:
    def __init__(self, config: ServiceConfig, outbound: Outbound) -> None:
        self._config = config
        version = config.version
        self._steps = [[Caller(call, config.ports[call.to], outbound) for call in step] for step in version.steps]
        self._workers = asyncio.Semaphore(version.workers) if version.workers else contextlib.nullcontext()

    async def handle(self, request: web.Request) -> web.Response:
        async with self._workers:
            return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.Response:
        version = self._config.version
        if version.work:
            await asyncio.sleep(version.work)
        headers = passed_on(request.headers, version.forwards)
        sections: dict[str, object] = {}
        for step in self._steps:
            callers = [caller for caller in step if caller.call.concerns(request.rel_url.raw_path)]
            outcomes = await asyncio.gather(*(caller.make(headers) for caller in callers))
            ending: tuple[Call, Outcome] | None = None
            for caller, outcome in zip(callers, outcomes, strict=True):
                if outcome.failed:
                    logging.getLogger(__name__).warning("%s", outcome.why)
                if outcome.failed and caller.call.on_failure not in {"omit", "default"}:
                    ending = ending or (caller.call, outcome)
                    continue
                sections[version.section(caller.call)] = _section(caller.call, outcome)
            if ending is not None:
                return self._ended(*ending)
        return self._json({"sections": sections}, version.status)

    def _ended(self, call: Call, outcome: Outcome) -> web.Response:
        """The answer of a request that a failed call ends."""
        if call.on_failure == "bug":
            try:
                raise CallFailed(outcome.why)
            except CallFailed:
                words = traceback.format_exc()
            logging.getLogger(__name__).error("%s", words)
            return web.Response(text=words, status=500)
        # "raw" has nothing to pass on when no status came
        status = outcome.status if call.on_failure == "raw" and outcome.status else 502
        return self._json({"failed": call.to}, status)

    def _json(self, content: Mapping[str, object], status: int) -> web.Response:
        body = {"service": self._config.service, "version": self._config.version.name, **content}
        return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def _section(call: Call, outcome: Outcome) -> object:
    if not outcome.failed:
        return outcome.content
    return {"default": True} if call.on_failure == "default" else None
