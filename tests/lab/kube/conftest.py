"""A real API server on a port of its own, its loop in a thread, so that tests may use blocking clients."""

import asyncio
import json
import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import loops
import pytest
import yaml

from chaosmesh_ext.lab.kube.embedded import EmbeddedKube
from chaosmesh_ext.lab.kube.embedded.kinds import by_kind
from chaosmesh_ext.lab.kube.embedded.objects import Objects
from chaosmesh_ext.lab.kube.embedded.refusals import Refused
from chaosmesh_ext.lab.kube.embedded.seed import seed
from chaosmesh_ext.lab.kube.embedded.store import Store


class Api:
    """The server under test: `call` runs one of its coroutines, `ask` sends one HTTP request."""

    def __init__(self, directory):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.kube = EmbeddedKube("127.0.0.1", 0)
        self.call(self.kube.start())
        self.url = self.kube.url
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self.kube.kubeconfig()))

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def ask(self, method, path, body=None, content_type="application/json", **headers):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": content_type, **headers}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                code, raw = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                code, raw = error.code, error.read()
        return SimpleNamespace(code=code, raw=raw, json=json.loads(raw) if raw[:1] in b"{[" else None)

    def close(self):
        self.call(self.kube.stop())
        loops.stop(self.loop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture
def api(tmp_path, monkeypatch):
    server = Api(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    yield server
    server.close()


@pytest.fixture
def kubectl(api, tmp_path):
    """Run the real kubectl against the server; fails the test when kubectl does, unless `fails` is given."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl on PATH: install Debian's kubernetes-client to run this")

    def run(*arguments, stdin=None, fails=False):
        env = {**os.environ, "KUBECONFIG": str(api.kubeconfig), "HOME": str(tmp_path)}
        done = subprocess.run(
            [program, *arguments], input=stdin, env=env, capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return run


@pytest.fixture
def objects():
    """The rules for writing over a fresh store, no sockets."""
    made = Objects(Store())
    seed(made)
    return made


@pytest.fixture
def refusal():
    """The Status of what a call is refused with."""

    def status(call, *arguments, **named):
        with pytest.raises(Refused) as caught:
            call(*arguments, **named)
        return caught.value.status()

    return status


@pytest.fixture
def kind():
    return by_kind


@pytest.fixture
def virtual_service():
    def make(name="details", **metadata):
        route = {"route": [{"destination": {"host": "details"}}]}
        return {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": name, **metadata},
            "spec": {"hosts": ["details"], "http": [route]},
        }

    return make


@pytest.fixture
def deployment():
    def make(name="details-v1", replicas=1):
        labels = {"app": "details", "version": "v1"}
        container = {"name": "details", "image": "docker.io/istio/examples-bookinfo-details-v1:1.20.3"}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": {"app": "details"}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }

    return make


@pytest.fixture
def pod():
    def make(name="details-v1-abc", namespace="default", **labels):
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"containers": [{"name": "details", "image": "details:1"}]},
        }

    return make
