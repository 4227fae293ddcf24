"""Pods → processes: each Pod is a real Envoy and a real application, and comes back when either dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from chaosmesh_ext.errors import ChaosMeshError, LabError
from chaosmesh_ext.lab.apps import AppHost, AppSpec, image_app
from chaosmesh_ext.lab.envoy import Sidecar
from chaosmesh_ext.lab.envoy.node import APP, OUTBOUND, WORKLOAD, is_gateway, is_proxied
from chaosmesh_ext.lab.kube.api import Kube, Obj
from chaosmesh_ext.lab.network import Network, PodAddresses, check_free
from chaosmesh_ext.lab.pod_processes import PodProcesses, environment, farewell, listening, log, now, status_of
from chaosmesh_ext.lab.stand_in import is_mirror

__all__ = ["ADMIN_PORT", "Kubelet"]

_LOG = logging.getLogger(__name__)

ADMIN_PORT = 15000
_RESTART_S = (0.05, 0.5, 2.0, 5.0, 10.0)
"""Seconds before each further restart of the same container; Kubernetes' first is immediate, its later ones grow."""


class Kubelet:
    """Runs every Pod of the lab that has a Node, whichever, on this machine.

    network: where the Pods' addresses come from. bootstrap: makes a Pod's Envoy configuration. directory: for logs.
    """

    def __init__(
        self,
        kube: Kube,
        network: Network,
        apps: AppHost,
        bootstrap: Callable[[Obj], Awaitable[Obj]],
        directory: Path,
    ) -> None:
        self._kube = kube
        self._network = network
        self._apps = apps
        self._bootstrap = bootstrap
        self._directory = directory
        self._pods: dict[tuple[str, str], PodProcesses] = {}
        self._ending: dict[str, PodProcesses] = {}
        self._taken: set[int] = set()
        self._refused: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._fatal: LabError | None = None
        self._stopping = False

    @property
    def pods(self) -> list[PodProcesses]:
        """Every Pod that runs here, in order of its address."""
        return sorted(self._pods.values(), key=lambda pod: pod.index)

    def start(self) -> None:
        """Begin to run what Pods there are."""
        self._kube.subscribe(("Pod",), self._seen)

    async def stop(self) -> None:
        """End every process."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._end(pod, 0) for pod in [*self.pods, *self._ending.values()]))

    def log(self, pod: Obj, container: str) -> str:
        """What CONTAINER of POD wrote, at most its last MiB; its first one's where CONTAINER is empty."""
        return log(self._directory, pod, container)

    async def all_ready(self, count: int, timeout: float) -> None:
        """Wait until COUNT Pods are ready.

        Raises LabError with the last words of what did not start.
        """
        try:
            async with asyncio.timeout(timeout):
                while len([pod for pod in self.pods if pod.ready]) < count:
                    if self._fatal:
                        raise self._fatal
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            late = [
                f"{p.key[1]} ({', '.join(c for c, up in p.up.items() if not up)})" for p in self.pods if not p.ready
            ]
            words = "; ".join(p.last_words for p in self.pods if p.last_words)
            raise LabError(
                f"not ready after {timeout:g} s: {', '.join(late) or 'no Pods at all'}; last words: {words or 'none'}"
            ) from None

    def _seen(self, event: str, pod: Obj) -> None:
        if is_mirror(pod) and event != "DELETED" and not pod["metadata"].get("deletionTimestamp"):
            return
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        if event == "DELETED" or pod["metadata"].get("deletionTimestamp"):
            uid = pod["metadata"]["uid"]
            if (running := self._pods.pop(key, None)) is not None:
                self._ending[uid] = running
                self._spawn(self._end(running, farewell(pod)))
            if uid in self._ending:
                if event == "DELETED":
                    self._ending[uid].gone.set()
            elif event != "DELETED" and not self._stopping:
                self._spawn(self._let_go(pod))
        elif key not in self._pods and pod["spec"].get("nodeName") and not self._stopping:
            index = next((index for index in range(1, 255) if index not in self._taken), 0)
            if not index:
                if pod["metadata"]["uid"] not in self._refused:
                    self._refused.add(pod["metadata"]["uid"])
                    why = "a lab holds 254 Pods at once: scale something down, and delete this Pod"
                    self._spawn(self._cannot_run(pod, why))
                return
            self._taken.add(index)
            self._pods[key] = running = PodProcesses(pod, index, self._network.pod(index))
            self._spawn(self._begin(running), running)

    def _spawn(self, work: Any, pod: PodProcesses | None = None) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        owners = [self._tasks] if pod is None else [self._tasks, pod.tasks]
        for tasks in owners:
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _begin(self, running: PodProcesses) -> None:
        """Run the Pod; what keeps it from starting is said on the Pod itself."""
        try:
            await self._run(running)
        except Exception as error:
            _LOG.exception("Pod %s could not be started", running.key[1])
            await self._waiting(running, f"{type(error).__name__}: {error}")

    async def _run(self, running: PodProcesses) -> None:
        pod, addresses = running.pod, running.addresses
        gateway, bare = is_gateway(pod), not is_proxied(pod)
        container = (pod["spec"].get("containers") or [{}])[0]
        app = None if gateway else image_app(container.get("image", ""))
        if not gateway and app is None:
            await self._waiting(running, f"the lab has no application for the image {container.get('image')!r}")
            return
        ports = [port["containerPort"] for port in container.get("ports", [])] or [9080]
        try:
            check_free([(addresses.inbound, port) for port in ports] + [(addresses.outbound, ADMIN_PORT)])
        except LabError as error:
            self._fatal = error
            self._changed.set()
            await self._waiting(running, str(error))
            return
        placed = await self._place(pod, addresses)
        if placed is None or running.deleted:
            return  # deleted meanwhile
        running.pod = pod = placed
        running.up = {} if bare else {"istio-proxy": False}
        if not gateway:
            running.up["app"] = False
        if not bare:
            self._spawn(self._keep_sidecar(running), running)
        if app is not None:
            host = addresses.inbound if bare else addresses.app
            spec = AppSpec(
                name=running.key[1],
                app=app,
                host=host,
                port=int(ports[0]),
                proxy_host=addresses.outbound,
                env=environment(container),
                config={},
            )
            self._spawn(self._keep_app(running, spec), running)

    async def _place(self, pod: Obj, addresses: PodAddresses) -> Obj | None:
        """Give POD its addresses; None when it is gone."""
        workload = pod["metadata"].get("annotations", {}).get(WORKLOAD, pod["metadata"]["name"])
        placed = await self._kube.annotate(pod, {WORKLOAD: workload, OUTBOUND: addresses.outbound, APP: addresses.app})
        if placed is None:
            return None
        status = {"phase": "Pending", "podIP": addresses.inbound, "podIPs": [{"ip": addresses.inbound}]}
        return await self._kube.patch_status(placed, {**status, "hostIP": self._network.control, "startTime": now()})

    async def _keep_sidecar(self, running: PodProcesses) -> None:
        async def once() -> None:
            sidecar = Sidecar(
                running.key[1],
                await self._bootstrap(running.pod),
                (running.addresses.outbound, ADMIN_PORT),
                self._directory,
            )
            running.sidecar = sidecar
            try:
                await sidecar.start()
                await sidecar.ready()
                await self._mark(running, "istio-proxy", up=True)
                await sidecar.wait()
            finally:
                if not running.deleted:
                    running.last_words = sidecar.dead() or running.last_words
                await sidecar.stop()

        await self._keep(running, "istio-proxy", once)

    async def _keep_app(self, running: PodProcesses, spec: AppSpec) -> None:
        async def once() -> None:
            ended = asyncio.get_running_loop().create_future()

            def on_exit(status: int) -> None:
                if not ended.done():
                    ended.set_result(status)

            running.app_pid = await self._apps.run(spec, on_exit)
            await listening(spec.host, spec.port, ended)
            if not ended.done():
                await self._mark(running, "app", up=True)
            status = await ended
            running.app_pid = 0
            words = self._apps.last_words(spec.name)
            running.last_words = f"{running.key[1]} application: ended with {status}; its last words: {words}"

        await self._keep(running, "app", once)

    async def _keep(self, running: PodProcesses, container: str, once: Callable[[], Awaitable[None]]) -> None:
        while not running.deleted and not self._stopping:
            try:
                await once()
            except LabError as error:
                running.last_words = str(error)
                self._changed.set()
            except Exception as error:
                _LOG.exception("%s of Pod %s", container, running.key[1])
                running.last_words = f"{running.key[1]} {container}: {type(error).__name__}: {error}"
                self._changed.set()
            if running.deleted or self._stopping:
                return
            running.restarts[container] += 1
            await self._mark(running, container, up=False)
            await asyncio.sleep(_RESTART_S[min(running.restarts[container], len(_RESTART_S)) - 1])

    async def _mark(self, running: PodProcesses, container: str, *, up: bool) -> None:
        running.up[container] = up
        if not running.deleted:
            try:
                await self._kube.patch_status(running.pod, status_of(running))
            except ChaosMeshError:
                _LOG.exception("the status of Pod %s could not be written", running.key[1])
        self._changed.set()

    async def _waiting(self, running: PodProcesses, why: str) -> None:
        running.last_words = why
        await self._cannot_run(running.pod, why)

    async def _cannot_run(self, pod: Obj, why: str) -> None:
        status = {"phase": "Pending", "reason": "CannotRun", "message": why}
        if await self._kube.patch_status(pod, status) is not None:
            await self._kube.record(pod, "CannotRun", why)

    async def _end(self, running: PodProcesses, patience: float) -> None:
        """End its processes, after PATIENCE seconds while the API has it; then let that go on with its deletion."""
        running.deleted = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running.gone.wait(), patience)
        mine = [task for task in running.tasks if task is not asyncio.current_task()]
        for task in mine:
            task.cancel()
        if running.app_pid:
            await self._apps.kill(running.app_pid)
        if running.sidecar is not None:
            await running.sidecar.stop()
        await asyncio.gather(*mine, return_exceptions=True)
        self._taken.discard(running.index)
        self._ending.pop(running.pod["metadata"]["uid"], None)
        if not running.gone.is_set() and not self._stopping:
            await self._let_go(running.pod)

    async def _let_go(self, pod: Obj) -> None:
        """A Pod that was asked to end is there until its node says that it ended."""
        meta = pod["metadata"]
        try:
            await self._kube.delete("Pod", meta["namespace"], meta["name"], grace=0, uid=meta["uid"])
        except ChaosMeshError:
            _LOG.exception("Pod %s could not be deleted", pod["metadata"]["name"])
