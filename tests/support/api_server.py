"""A Kubernetes API on a loop of its own, so that tests may block."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import loops

from chaosmesh_ext.lab.kube.embedded import EmbeddedKube

__all__ = ["ApiServer"]


class ApiServer:
    """A real server, the embedded one on a free port if no other KUBE is given; `stop` it."""

    def __init__(self, kube: Any = None) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="api-server")
        self._thread.start()
        self.kube = kube or EmbeddedKube("127.0.0.1", 0)
        try:
            self.call(self.kube.start(), 90)
        except BaseException:
            self.stop()
            raise

    def call(self, coroutine: Any, seconds: float = 10) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    def apply(self, *objs: dict) -> None:
        for obj in objs:
            self.call(self.kube.apply(obj))

    def get(self, kind: str, namespace: str, name: str) -> dict | None:
        return self.call(self.kube.get(kind, namespace, name))

    def stop(self) -> None:
        try:
            self.call(self.kube.stop(), 30)
        finally:
            loops.stop(self.loop)
            self._thread.join()
            self.loop.close()
