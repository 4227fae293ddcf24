"""What a service does for one request, whichever protocol it came by: workers, work, calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from chaosmesh_ext.lab.apps.headers import passed_on
from chaosmesh_ext.lab.apps.service.calling import Caller, Outcome
from chaosmesh_ext.lab.apps.service.config import ServiceConfig
from chaosmesh_ext.lab.apps.sidecar import Outbound
from chaosmesh_ext.model.topology import Call

__all__ = ["CallFailed", "Done", "Failed", "Work"]

_LOG = logging.getLogger(__name__)


class CallFailed(Exception):
    """What escapes from a service whose call failed `bug`."""


class Done(msgspec.Struct, frozen=True):
    """The request was served; body: the answer."""

    body: bytes


class Failed(msgspec.Struct, frozen=True):
    """CALL failed with OUTCOME, which ended the request; body: what is said of that."""

    call: Call
    outcome: Outcome
    body: bytes


class Work:
    """One service of a topology in this process."""

    def __init__(self, config: ServiceConfig, outbound: Outbound) -> None:
        self._config = config
        version = config.version
        self._steps = [[_caller(config, call, outbound) for call in step] for step in version.steps]
        self._workers = asyncio.Semaphore(version.workers) if version.workers else contextlib.nullcontext()

    async def answer(self, path: str, headers: Mapping[str, str]) -> Done | Failed:
        """Serve a request to PATH with HEADERS, by name in lower case or in any."""
        async with self._workers:
            return await self._answer(path, headers)

    async def _answer(self, path: str, headers: Mapping[str, str]) -> Done | Failed:
        version = self._config.version
        if version.work:
            await asyncio.sleep(version.work)
        kept = passed_on(headers, version.forwards)
        sections: dict[str, object] = {}
        for step in self._steps:
            callers = [caller for caller in step if caller.call.concerns(path)]
            outcomes = await asyncio.gather(*(caller.make(kept) for caller in callers))
            ending: tuple[Call, Outcome] | None = None
            for caller, outcome in zip(callers, outcomes, strict=True):
                if outcome.failed:
                    _LOG.warning("%s", outcome.why)
                if outcome.failed and caller.call.on_failure not in {"omit", "default"}:
                    ending = ending or (caller.call, outcome)
                    continue
                sections[version.section(caller.call)] = _section(caller.call, outcome)
            if ending is not None:
                call, outcome = ending
                return Failed(call, outcome, self._json({"failed": call.to}))
        return Done(self._json({"sections": sections}))

    def _json(self, content: Mapping[str, object]) -> bytes:
        return msgspec.json.encode({"service": self._config.service, "version": self._config.version.name, **content})


def _caller(config: ServiceConfig, call: Call, outbound: Outbound) -> Caller:
    return Caller(call, config.ports[call.to], outbound, grpc=call.to in config.grpc)


def _section(call: Call, outcome: Outcome) -> Any:
    if not outcome.failed:
        return outcome.content
    return {"default": True} if call.on_failure == "default" else None
