"""The lab's real API server as its other parts see it."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Collection, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.kube.api import Obj, PodLog, Watcher, kubeconfig
from chaosmesh_ext.lab.kube.apiserver import definitions, seed
from chaosmesh_ext.lab.kube.apiserver.client import Client
from chaosmesh_ext.lab.kube.apiserver.controllers import Controllers
from chaosmesh_ext.lab.kube.apiserver.events import Events
from chaosmesh_ext.lab.kube.apiserver.informer import Informer
from chaosmesh_ext.lab.kube.apiserver.objects import Objects
from chaosmesh_ext.lab.kube.apiserver.pod_logs import PodLogs
from chaosmesh_ext.lab.kube.apiserver.programs import api_server, etcd, secrets_below
from chaosmesh_ext.lab.network import API_PORT, ETCD_PEER_PORT, ETCD_PORT, KUBELET_PORT, check_free
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.process import Process

__all__ = ["PORTS", "ApiServer"]

PORTS = (API_PORT, KUBELET_PORT, ETCD_PORT, ETCD_PEER_PORT)

_START_S = 60.0
"""Seconds that a start may take: it computes for 5, which two idle cores do in 3 to 4, and busy ones in 20."""


class ApiServer(Objects):
    """A `Kube` over a kube-apiserver and an etcd of its own, and the kubelet's port for logs.

    definitions: files of resource definitions, which are served once `start` is through. Nothing is kept: each start
    begins with an empty etcd, another token and another certificate.
    """

    def __init__(self, place: Place, *, etcd: Path, program: Path, definitions: Sequence[Path]) -> None:
        super().__init__()
        self.url = f"https://{place.control}:{API_PORT}"
        self._place = place
        self._etcd_program = etcd
        self._program = program
        self._definitions = definitions
        self._programs: list[Process] = []
        self._kubeconfig: Obj = {}
        self._events: Events | None = None
        self._logs: PodLogs | None = None
        self._controllers: Controllers | None = None
        self._pod_log: PodLog | None = None
        self._informers: dict[str, Informer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start both programs and wait until every kind is served.

        Raises LabError: a port is taken, a program died (with its last words), or a definition was refused.
        """
        host = self._place.control
        check_free((host, port) for port in PORTS)
        try:
            async with asyncio.timeout(_START_S):
                await self._start(host)
        except TimeoutError:
            raise LabError(
                f"kube-apiserver is not ready after {_START_S:g} s; its last words: {self._programs[-1].last_words()}"
            ) from None

    async def _start(self, host: str) -> None:
        reading = asyncio.create_task(asyncio.to_thread(definitions.read, self._definitions))
        try:
            data, files = self._folders()
            shutil.rmtree(data, ignore_errors=True)
            secrets = secrets_below(files, host)
            store = etcd(self._etcd_program, host, data, self._place.log("etcd"))
            server = api_server(self._program, host, secrets, self._place.log("kube-apiserver"))
            client = Client(self.url, secrets.token, secrets.root, self.dead)
            self._connect(client)
            self._events = Events(client)
            self._logs = PodLogs(host, secrets, partial(self.get, "Pod"))
            self._logs.pod_log = self._pod_log
            root = base64.b64encode(secrets.root).decode()
            self._kubeconfig = kubeconfig(
                {"server": self.url, "certificate-authority-data": root}, {"token": secrets.token}
            )
            await self._run(store)
            await store.ready(partial(_listens, host))
            await self._run(server)
            await self._logs.start()
            wanted = await reading
        finally:
            reading.cancel()
        await self._watched(self._fill(server, wanted))

    async def _fill(self, server: Process, wanted: Sequence[Obj]) -> None:
        """Give the starting SERVER what it is to have, and wait until it serves that to everybody."""
        await definitions.apply(self._client, wanted)
        await server.ready(partial(self._client.answers, "/readyz"), _START_S)
        await seed.seed(self._client, self._place.control)
        await self._resources.discovered(wanted)
        self._controllers = Controllers(self, self._client, self._resources)
        self._controllers.start()

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Do WORK while both programs live; raises LabError with the last words of the one that dies."""
        doing = asyncio.create_task(work)
        ends = [asyncio.create_task(program.wait()) for program in self._programs]
        try:
            await asyncio.wait([doing, *ends], return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise LabError(self.dead() or "the API server was stopped while it started: start it again")
            await doing
        finally:
            for task in (doing, *ends):
                task.cancel()
            await asyncio.gather(doing, *ends, return_exceptions=True)

    async def _run(self, program: Process) -> None:
        self._programs.append(program)
        await program.start()

    def _folders(self) -> tuple[Path, Path]:
        """Where etcd keeps its data, and where the secrets are."""
        return self._place.directory / "etcd", self._place.directory / "kube-apiserver"

    async def stop(self) -> None:
        """End the watches and both programs, and remove what they kept."""
        programs, self._programs = self._programs, []
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._informers.clear()
        if self._controllers is not None:
            await self._controllers.stop()
        if self._logs is not None:
            await self._logs.stop()
        if self._connection is not None:
            await self._client.close()
        for program in reversed(programs):
            await asyncio.shield(program.stop())
        for folder in self._folders():
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def kubeconfig(self) -> Obj:
        """A kubeconfig of one context, with the administrator's token and what the certificate is checked against."""
        return self._kubeconfig

    def dead(self) -> str:
        """Which program died by itself, and its last words; empty while both run, and after `stop`."""
        return next((words for program in self._programs if (words := program.dead())), "")

    def serve_pod_logs(self, pod_log: PodLog) -> None:
        """Answer `kubectl logs` with what POD_LOG(pod, container) returns."""
        self._pod_log = pod_log
        if self._logs is not None:
            self._logs.pod_log = pod_log

    async def record(self, about: Obj, reason: str, message: str, kind: str = "Warning") -> None:
        """Write an Event (Normal or Warning) about an object; the same again raises its count."""
        if self._events is None:
            raise RuntimeError("the API server has not been started")
        await self._events.record(about, reason, message, kind)

    def subscribe(self, kinds: Collection[str], watcher: Watcher) -> None:
        """Call WATCHER on the event loop with every object of KINDS that is there (ADDED), then with every change.

        Each kind's changes come in their order; the order between kinds is not kept. One that is there is told of
        soon, not before this returns.
        """
        for kind in kinds:
            informer = self._informers.get(kind)
            if informer is None:
                informer = self._informers[kind] = Informer(self._client, partial(self._resource, kind))
                task = asyncio.create_task(informer.run())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            informer.subscribe(watcher)


async def _listens(host: str) -> bool:
    """Whether etcd accepts clients, which it does once it has elected itself."""
    _, writer = await asyncio.open_connection(host, ETCD_PORT)
    writer.close()
    return True
