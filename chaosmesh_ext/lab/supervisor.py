"""The lab's one long-lived process: API server, control plane, trace store, and everything that it starts.

Started by `chaos mesh lab up` as ``python -m chaosmesh_ext.lab.supervisor``, with its options as JSON on standard
input. Tells how it goes as JSON lines on standard output, which it then leaves: ``{"progress": …}``, and at the end
``{"ready": …}`` or ``{"error": …, "exit_code": …}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import psutil

from chaosmesh_ext.errors import ChaosMeshError, InvalidInput, LabError
from chaosmesh_ext.lab.addons import PROMETHEUS, TRACING, addon
from chaosmesh_ext.lab.apps import AppHost
from chaosmesh_ext.lab.claim import claim
from chaosmesh_ext.lab.contents import contents, pods_of
from chaosmesh_ext.lab.controlplane.api import ControlPlane
from chaosmesh_ext.lab.deployments import Deployments
from chaosmesh_ext.lab.desk import DESK_PORT, Desk, Part, targets_url
from chaosmesh_ext.lab.identity import Authority, SdsServer
from chaosmesh_ext.lab.kube.api import Kube, Obj
from chaosmesh_ext.lab.kubelet import Kubelet
from chaosmesh_ext.lab.metrics import Prometheus
from chaosmesh_ext.lab.network import (
    API_PORT,
    JAEGER_PORT,
    OTLP_PORT,
    PROMETHEUS_PORT,
    SDS_PORT,
    XDS_PORT,
)
from chaosmesh_ext.lab.parts import part
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.process import die_with_parent, outlive_parent
from chaosmesh_ext.lab.scheduler import Scheduler
from chaosmesh_ext.lab.stand_in import stand_in
from chaosmesh_ext.lab.state import LabState, remove, save
from chaosmesh_ext.lab.traces.api import Traces

__all__ = ["Lab", "Options", "main"]

_PORTS = (API_PORT, XDS_PORT, SDS_PORT, JAEGER_PORT, OTLP_PORT, PROMETHEUS_PORT, DESK_PORT)
"""Of the control address, whichever parts a lab has."""


class Options(msgspec.Struct, frozen=True):
    """What `lab up` asks for.

    topology: a file, or empty for Bookinfo. control_plane, traces: which of `parts`. block: of `Network`, 0 for the
    first free one. prometheus: its binary, or empty for a lab without metrics. sampling: percent of unmarked requests
    that are traced. started: seconds since the epoch at which the command began. command: its pid, with which a start
    ends. bound: and so does the lab.
    """

    name: str
    directory: str
    topology: str = ""
    control_plane: str = "embedded"
    traces: str = "embedded"
    block: int = 0
    prometheus: str = ""
    sampling: float = 100.0
    started: float = 0.0
    timeout: float = 60.0
    command: int = 0
    bound: bool = False


class Lab:
    """Every part of one lab, in the order in which they need each other."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._directory = Path(options.directory)
        self._stack = contextlib.AsyncExitStack()
        self._parts: list[Part] = []
        self.env: dict[str, str] = {}

    async def start(self, progress: Callable[[str], None]) -> LabState:
        """Start everything and wait until it is ready.

        Raises InvalidInput for a topology that cannot be, LabError with the last words of the part that failed.
        """
        objects = contents(self._options.topology, self._options.name)
        apps = AppHost(self._directory / "logs")
        await self._begin(apps)
        # the largest import of all, half a second: the application host imports its own meanwhile
        controlplane = part("controlplane", self._options.control_plane)
        stores, api = part("traces", self._options.traces), part("kube", controlplane.KUBE)
        parts = (api, controlplane, stores)
        _require([name for one in parts for name in getattr(one, "TOOLS", ())])
        network, held = claim(
            f"{os.getuid()}/{self._options.directory}",
            pods_of(objects),
            {*_PORTS, *(port for one in parts for port in getattr(one, "PORTS", ()))},
            block=self._options.block,
        )
        self._stack.callback(held.close)
        control = network.control
        progress(f"addresses 127.{network.block}.0.0/16")
        place = Place(control, self._directory, self._options.sampling)
        authority = Authority()
        traces: Traces = stores.create(place)
        kube: Kube = api.create(place)
        plane: ControlPlane = controlplane.create(place, kube, authority, traces.otlp)
        await self._begin(SdsServer(authority, control, SDS_PORT))
        await asyncio.gather(self._begin(kube), self._begin(traces))
        await self._begin(plane)
        await stand_in(kube, control)
        self._parts += [kube, traces, plane]
        deployments, scheduler = Deployments(kube), Scheduler(kube)
        kubelet = Kubelet(kube, network, apps, plane.bootstrap, self._directory / "logs")
        for obj in (*objects, *self._addons(api, traces, control)):
            await kube.apply(obj)
        kube.serve_pod_logs(kubelet.log)
        kubelet.start()
        self._stack.push_async_callback(kubelet.stop)
        scheduler.start()
        self._stack.push_async_callback(scheduler.stop)
        deployments.start()
        self._stack.push_async_callback(deployments.stop)
        desk = Desk(control, self._options.name, kubelet, plane, self._parts)
        await self._begin(desk)
        wanted = pods_of(objects)
        progress(f"{wanted} workloads, each with an Envoy of its own")
        self.env = {"KUBECONFIG": str(self._directory / "kubeconfig"), "JAEGER_URL": traces.url}
        starting = [asyncio.create_task(kubelet.all_ready(wanted, self._options.timeout))]
        if self._options.prometheus:
            starting.append(asyncio.create_task(self._measure(control)))
        try:
            await self._while_alive(asyncio.gather(*starting))
            await self._while_alive(self._answering(kubelet, plane))
        finally:
            for task in starting:
                task.cancel()
        if problems := await plane.problems():
            raise InvalidInput("; ".join(problems))
        state = LabState(
            name=self._options.name,
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            block=network.block,
            env={**self.env, "APP_URL": self._app_url(kubelet)},
            status_url=desk.url,
            ready_s=round(time.time() - self._options.started, 3),
        )
        save(self._directory, state, kube.kubeconfig())
        return state

    async def stop(self) -> None:
        """Stop every part, the last started first."""
        await self._stack.aclose()

    async def _begin(self, part: Any) -> None:
        self._stack.push_async_callback(part.stop)
        await part.start()

    def _addons(self, api: Any, traces: Traces, control: str) -> list[Obj]:
        """What leads to the parts that are no Pods, where API takes it."""
        if not getattr(api, "LOOPBACK_ENDPOINTS", False):
            return []
        measured = addon(PROMETHEUS, f"http://{control}:{PROMETHEUS_PORT}") if self._options.prometheus else []
        return [*addon(TRACING, traces.url), *measured]

    async def _measure(self, control: str) -> None:
        prometheus = Prometheus(
            Path(self._options.prometheus),
            control,
            PROMETHEUS_PORT,
            self._directory / "prometheus",
            targets_url(control),
        )
        await self._begin(prometheus)
        self._parts.append(prometheus)
        self.env["PROMETHEUS_URL"] = prometheus.url

    async def _while_alive(self, work: Awaitable[Any]) -> None:
        """Wait for WORK; raises LabError with the last words of a part that dies meanwhile."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=0.2)
                if words := next((words for one in self._parts if (words := one.dead())), ""):
                    raise LabError(words)
            task.result()
        finally:
            task.cancel()

    async def _answering(self, kubelet: Kubelet, plane: ControlPlane) -> None:
        """Wait until every Envoy has acknowledged what it was sent last: only then are all routes in force."""
        wanted = {pod.key[1] for pod in kubelet.pods if pod.sidecar is not None}
        deadline = time.monotonic() + self._options.timeout
        while late := wanted - {proxy.name.split(".")[0] for proxy in await plane.proxies() if proxy.synced}:
            if problems := await plane.problems():
                more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
                raise LabError(f"{problems[0]}{more}")
            if time.monotonic() > deadline:
                raise LabError(f"these sidecars asked for no configuration: {', '.join(sorted(late))}")
            await asyncio.sleep(0.005)

    @staticmethod
    def _app_url(kubelet: Kubelet) -> str:
        for pod in kubelet.pods:
            if pod.pod["metadata"].get("annotations", {}).get("inject.istio.io/templates") == "gateway":
                port = pod.pod["spec"]["containers"][0]["ports"][0]["containerPort"]
                return f"http://{pod.addresses.inbound}:{port}"
        return ""


def _require(names: Iterable[str]) -> None:
    """See that the programs NAMES are there, all at once; raises LabError with the command that gets them."""
    if names:
        from chaosmesh_ext.lab.tools import require

        require(names)


def _tell(**line: Any) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def _leave_standard_output() -> None:
    """The command that started us must be able to end while we go on."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)


async def main(options: Options) -> int:
    """Run a lab until SIGTERM or SIGINT; returns the exit status."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    lab = Lab(options)
    try:
        starting = asyncio.create_task(lab.start(lambda text: _tell(progress=text)))
        stopping = asyncio.create_task(ended.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return 4
        state = starting.result()
        if not options.bound:
            outlive_parent()
        if ended.is_set():
            return 4
        gc.collect()
        gc.freeze()  # what is here now stays: later collections need not look at it
        gc.enable()
        _tell(ready=msgspec.to_builtins(state))
        _leave_standard_output()
        await stopping
    except ChaosMeshError as error:
        _tell(error=str(error), exit_code=error.exit_code)
        return error.exit_code
    except OSError as error:  # a full disk, say, on which the log has no room either
        where = error.filename or options.directory
        _tell(error=f"{where}: {error.strerror or error}", exit_code=LabError.exit_code)
        return LabError.exit_code
    finally:
        await lab.stop()
    return 0


if __name__ == "__main__":
    gc.disable()  # until it is ready: what a start makes, stays
    _options = msgspec.json.decode(sys.stdin.buffer.read(), type=Options)
    die_with_parent(signal.SIGTERM)
    _status = asyncio.run(main(_options)) if os.getppid() == _options.command else 4
    if os.getppid() != _options.command and (_options.bound or _status):
        remove(Path(_options.directory))  # nobody else will
    sys.exit(_status)
