"""One entry of a service's `calls`: its pool, its breaker, its attempts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from chaosmesh_ext.lab.apps.service.breaker import Circuit
from chaosmesh_ext.lab.apps.sidecar import NoAnswer, Outbound, Reply
from chaosmesh_ext.model.topology import Call, Trigger

__all__ = ["Caller", "Outcome"]


class Outcome(msgspec.Struct, frozen=True):
    """What a call came to.

    failed: whether it did. status: the callee's, 0 when none came; of gRPC the HTTP status that says the same.
    grpc_status: gRPC's, 0 when none came or all was well. content: the callee's answer. why: for people, when it
    failed.
    """

    failed: bool
    status: int = 0
    grpc_status: int = 0
    content: Any = None
    why: str = ""


class Caller:
    """Makes one entry's calls for this process.

    The pool counts attempts: a slot is held from dispatch to the last byte, not during a pause before a retry. grpc:
    the callee speaks it.
    """

    def __init__(self, call: Call, port: int, outbound: Outbound, *, grpc: bool = False) -> None:
        self.call = call
        self._port = port
        self._outbound = outbound
        self._grpc = grpc
        self._circuit = Circuit(call.breaker)
        self._pool = asyncio.Semaphore(call.pool) if call.pool else contextlib.nullcontext()

    async def make(self, headers: Mapping[str, str]) -> Outcome:
        """Attempt until one succeeds, none is left, or the breaker refuses."""
        retries = self.call.retries
        left = retries.attempts if retries else 0
        done = 0
        while True:
            outcome, failure = await self._attempt(headers)
            if failure is None or retries is None or failure not in retries.on or done == left:
                return outcome
            if pause := retries.pause(done):
                await asyncio.sleep(pause)
            done += 1

    async def _attempt(self, headers: Mapping[str, str]) -> tuple[Outcome, Trigger | None]:
        """One attempt; the second value says how it failed, None when it did not or must not be tried again."""
        call = self.call
        if self._circuit.refuses:  # at once: not after a wait for the pool
            return self._refused()
        async with self._pool:
            ticket = self._circuit.admit()
            if ticket is None:
                return self._refused()
            try:
                reply = await self._send(headers)
            except NoAnswer as error:
                self._circuit.done(ticket, failed=True)
                return Outcome(failed=True, why=str(error)), error.why
            except asyncio.CancelledError:
                self._circuit.abandon(ticket)
                raise
            self._circuit.done(ticket, failed=reply.status >= 500)
        if reply.status >= 400:
            why = f"{call.to} answered {reply.said or reply.status}"
            outcome = Outcome(failed=True, status=reply.status, grpc_status=reply.grpc_status, why=why)
            return outcome, "5xx" if reply.status >= 500 else None
        return Outcome(failed=False, status=reply.status, content=_content(reply)), None

    async def _send(self, headers: Mapping[str, str]) -> Reply:
        call = self.call
        if self._grpc:
            return await self._outbound.call_grpc(call.to, self._port, call.rpc, headers, call.timeout)
        return await self._outbound.call(call.to, self._port, call.path, headers, call.timeout, call.method)

    def _refused(self) -> tuple[Outcome, None]:
        return Outcome(failed=True, why=f"the breaker to {self.call.to} is open"), None


def _content(reply: Reply) -> Any:
    """A body as JSON where it is some, else as text."""
    try:
        return msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        return reply.body.decode(errors="replace")
