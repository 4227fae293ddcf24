"""One API server a side, started once: the lab's own, and kube-apiserver over etcd; and a client that sends anything."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import loops
import pytest
from free_place import free_place
from kube_client import Answer, KubeClient
from kube_samples import path, sample

from chaosmesh_ext.lab import parts, tools

_PART = {"embedded": "embedded", "real": "apiserver"}


class Server:
    """A started `Kube`, its event loop in a thread so that tests may block."""

    def __init__(self, side: str, directory: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.kube = parts.part("kube", _PART[side]).create(free_place(directory))
        try:
            self.call(self.kube.start())
        except BaseException:
            self.stop()
            raise

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(90)

    def stop(self) -> None:
        self.call(self.kube.stop())
        loops.stop(self._loop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="package")
def server(side: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(side, tmp_path_factory.mktemp(f"kube-{side}"))
    yield started
    started.stop()


@pytest.fixture(scope="package")
def api(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeClient]:
    """Sends any verb to the side's server."""
    with KubeClient(server.kube.kubeconfig(), tmp_path_factory.mktemp("client")) as client:
        yield client


@pytest.fixture
def ns(api: KubeClient, request: pytest.FixtureRequest) -> str:
    """A namespace of this test's own, of the same name on both sides."""
    case = request.node.nodeid.replace("embedded", "side").replace("real", "side")
    name = f"case-{hashlib.sha256(case.encode()).hexdigest()[:8]}"
    made = api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    assert made.code == 201, made.raw
    api.hidden[name] = "NS"
    return name


@pytest.fixture
def make(api: KubeClient, ns: str):
    """Create an object of a kind; it must be accepted."""

    def made(kind: str, name: str = "one", **metadata: object) -> Answer:
        answer = api.post(path(kind, ns), sample(kind, name, namespace=ns, **metadata))
        assert answer.code == 201, str(answer)
        return answer

    return made


@pytest.fixture
def kubectl(api: KubeClient, ns: str, tmp_path: Path):
    """Run kubectl in the test's namespace: what it prints, and its exit status where that is not 0."""
    program = tools.find("kubectl")
    if program is None:
        pytest.skip("kubectl is not built: chaos mesh lab tools --only kubectl")
    config = tmp_path / "kubeconfig"
    config.write_text(json.dumps(api.kubeconfig))

    def run(*words: str, stdin: object = None) -> str:
        done = subprocess.run(
            [program, "--namespace", ns, *words],
            input=None if stdin is None else json.dumps(stdin),
            env={**os.environ, "KUBECONFIG": str(config), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        status = f" (exit {done.returncode})" if done.returncode else ""
        return api.steady((done.stdout + done.stderr).strip()) + status

    return run
