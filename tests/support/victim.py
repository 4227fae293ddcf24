"""A callee whose application and sidecar can be taken away, and whose application may answer anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psutil
from aiohttp import web
from asking import get
from echo_apps import Echo
from echo_mesh import PORT, Mesh
from waiting import until

__all__ = ["Victim"]


class Victim:
    """The pod NAME of MESH: `app_*` is its application, `envoy_*` its sidecar; `mend` makes both well again."""

    def __init__(self, mesh: Mesh, name: str) -> None:
        self.mesh, self.name = mesh, name
        self.requests = 0
        self._address = mesh.addresses[name].app
        self._inbound = mesh.addresses[name].inbound
        self._runner: web.AppRunner | None = next(
            one for one in mesh._runners if (self._address, PORT) in one.addresses
        )
        self._raw: asyncio.Server | None = None

    @property
    def app(self) -> Echo:
        return self.mesh.apps[self.name]

    def app_down(self) -> None:
        """Nobody listens any more where the application was."""
        self.mesh.do(self._app_down())

    def app_answers(self, answer: Callable[[int], bytes | None]) -> None:
        """Each request, by its number from 1, is answered with these bytes and a close; with a reset where there are none."""
        self.requests = 0
        self.mesh.do(self._listen(answer))

    def envoy_down(self) -> None:
        self.mesh.do(self.mesh.sidecars[self.name].stop())

    def envoy_halt(self) -> None:
        """The sidecar hangs: its sockets are open, and it does nothing."""
        process = psutil.Process(self.mesh.sidecars[self.name].pid)
        process.suspend()
        until(lambda: process.status() == psutil.STATUS_STOPPED, f"the sidecar of {self.name} is stopped")

    def mend(self) -> None:
        """Whatever was done to it, undone; returns once it answers again, and every other sidecar knows."""
        sidecar = self.mesh.sidecars[self.name]
        if sidecar.running:
            psutil.Process(sidecar.pid).resume()
        self.mesh.do(self._mend())
        self.app.reset()
        until(self._answers, f"{self.name} answers again")
        self.app.reset()
        self.mesh.synced()

    async def _mend(self) -> None:
        sidecar = self.mesh.sidecars[self.name]
        if not sidecar.running:
            await sidecar.start()
            await sidecar.ready()
        if self._runner is None:
            await self._app_down()
            await self.mesh._serve(self.app.handle, self._address, PORT)
            self._runner = self.mesh._runners[-1]

    def _answers(self) -> bool:
        try:
            return get(self._inbound, port=PORT, path="/", headers={"Host": self.name}).status == 200
        except OSError:
            return False

    async def _app_down(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self.mesh._runners.remove(self._runner)
            self._runner = None
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    async def _listen(self, answer: Callable[[int], bytes | None]) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                said = answer(self.requests)
                if said is None:
                    _reset(writer)
                else:
                    writer.write(said)
                    await writer.drain()
            finally:
                writer.close()

        await self._app_down()
        self._raw = await asyncio.start_server(serve, self._address, PORT)


def _reset(writer: Any) -> None:
    writer.transport.abort()
