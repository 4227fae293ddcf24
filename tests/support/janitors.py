"""Janitors that watch a Kubernetes API which can fail, and what they do there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from api_server import ApiServer
from leftovers import held
from numbered_api import NumberedApi
from waiting import PATIENCE_S

from chaosmesh_ext import mesh
from chaosmesh_ext.mesh import Client, RunLease, connect
from chaosmesh_ext.run.janitor import Janitor, Swept

__all__ = ["DURATION", "SYSTEM", "Cluster", "janitor", "leads", "remains", "renewed"]

SYSTEM = "chaosmesh-system"
"""Where janitors have their Lease."""
DURATION = 1.0
"""Seconds of a Lease, where a test does not say."""


class Cluster:
    """A Kubernetes API behind a proxy that can fail. client: goes past the proxy."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api = ApiServer()
        self.proxy = NumberedApi(self.api.kube.kubeconfig()["clusters"][0]["cluster"]["server"])
        self.api.call(self.proxy.start())
        self.client = self._client(folder / "direct", self.proxy.upstream, monkeypatch)
        self._client(folder / "proxied", self.proxy.url, monkeypatch)

    def _client(self, file: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Client:
        config = self.api.kube.kubeconfig()
        config["clusters"][0]["cluster"]["server"] = url
        file.write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(file))
        return connect()

    def close(self) -> None:
        self.api.call(self.proxy.stop())
        self.api.stop()


@contextmanager
def janitor(told: list[Swept] | None = None, *, duration: float = DURATION) -> Iterator[Callable[[], None]]:
    """One that watches, with a Lease of DURATION; what it yields lets it end."""
    stop = threading.Event()
    one = Janitor(connect, system=SYSTEM, duration=duration, tell=(told if told is not None else []).append)
    thread = threading.Thread(target=one.watch, args=(stop,))
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()

    try:
        yield end
    finally:
        end()


@contextmanager
def renewed(client: Client, kept: RunLease) -> Iterator[None]:
    """A runner that renews its Lease."""
    stop = threading.Event()

    def renew() -> None:
        lease = kept
        while not stop.wait(DURATION / 3):
            lease = mesh.renew(client, lease)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def leads(client: Client) -> str:
    """The identity of the janitor that leads; empty when none does."""
    obj = client.find("Lease", SYSTEM, mesh.JANITOR)
    return obj["spec"]["holderIdentity"] if obj else ""


def remains(client: Client) -> Callable[[], bool]:
    """Whether nothing of any run remains."""
    return lambda: not held(client)
