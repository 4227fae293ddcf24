"""One Pod's processes, and what is told of them: its status, and their logs."""

from __future__ import annotations

import asyncio
import datetime
import os
from pathlib import Path

from chaosmesh_ext.lab.envoy import Sidecar
from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.network import PodAddresses

__all__ = ["PodProcesses", "environment", "farewell", "listening", "log", "now", "status_of"]

_LOG_BYTES = 1024 * 1024


class PodProcesses:
    """The processes of one Pod."""

    def __init__(self, pod: Obj, index: int, addresses: PodAddresses) -> None:
        self.pod = pod
        self.index = index
        self.addresses = addresses
        self.sidecar: Sidecar | None = None
        self.app_pid = 0
        self.restarts = {"istio-proxy": 0, "app": 0}
        self.up = {"istio-proxy": False, "app": False}
        self.last_words = ""
        self.deleted = False
        self.gone = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.pod["metadata"]["namespace"], self.pod["metadata"]["name"]

    @property
    def ready(self) -> bool:
        """Whether every container of it runs."""
        return all(self.up.values())


def now() -> str:
    """The time, as Kubernetes writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def environment(container: Obj) -> dict[str, str]:
    """The variables of CONTAINER that have a value."""
    return {entry["name"]: str(entry["value"]) for entry in container.get("env", []) if "value" in entry}


def farewell(pod: Obj) -> float:
    """The seconds that a deleted POD goes on answering, for callers who have not heard yet: the `sleep` of its preStop
    hooks, within the grace of its deletion.
    """
    sleeps = [
        (((container.get("lifecycle") or {}).get("preStop") or {}).get("sleep") or {}).get("seconds", 0)
        for container in pod["spec"].get("containers") or []
    ]
    return float(min(max(sleeps, default=0), pod["metadata"].get("deletionGracePeriodSeconds", 0)))


def log(directory: Path, pod: Obj, container: str) -> str:
    """What CONTAINER of POD wrote below DIRECTORY, at most its last MiB; its first one's where CONTAINER is empty."""
    name = container or (pod["spec"].get("containers") or [{"name": ""}])[0]["name"]
    suffix = "log" if name == "istio-proxy" else "app.log"
    try:
        with (directory / f"{pod['metadata']['name']}.{suffix}").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def status_of(running: PodProcesses) -> Obj:
    """The status of RUNNING, as a kubelet writes it."""
    ready = "True" if running.ready else "False"
    containers = running.pod["spec"].get("containers") or [{"name": "app"}]
    names = {"app": containers[0].get("name", "app"), "istio-proxy": "istio-proxy"}
    states = []
    for container, up in running.up.items():
        state: Obj = {"running": {"startedAt": now()}} if up else {"waiting": {"reason": "CrashLoopBackOff"}}
        states.append(
            {
                "name": names[container],
                "ready": up,
                "started": up,
                "restartCount": running.restarts[container],
                "image": containers[0].get("image", "") if container == "app" else "envoy",
                "imageID": "",  # required, by Kubernetes' Python client too
                "state": state,
            }
        )
    return {
        "phase": "Running",
        "podIP": running.addresses.inbound,
        "conditions": [
            {"type": "Initialized", "status": "True"},
            {"type": "PodScheduled", "status": "True"},
            {"type": "ContainersReady", "status": ready},
            {"type": "Ready", "status": ready},
        ],
        "containerStatuses": states,
    }


async def listening(host: str, port: int, ended: asyncio.Future[int]) -> None:
    """Return once somebody listens on HOST:PORT, or the application has ENDED."""
    while not ended.done():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.005)
            continue
        writer.close()
        return
