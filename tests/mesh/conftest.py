"""Places, owners and a real API server for the tests of the mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from api_server import ApiServer
from watched import Ground

from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import Client, Destination, Place, Source, connect
from chaosmesh_ext.model import Marker, Workload

RUN = "0badcafe"


def make_place(**changes: Any) -> Place:
    values: dict[str, Any] = {
        "run": RUN,
        "cell": "1",
        "namespace": "default",
        "source": Source(
            "productpage-v1",
            "default",
            {"app": "productpage", "version": "v1"},
            (Workload("productpage", "v1"),),
        ),
        "destination": Destination("details.default.svc.cluster.local", "details", "default", 9080, (9080,)),
        "marker": Marker(RUN, "1"),
    }
    return Place(**{**values, **changes})


@pytest.fixture
def place_of() -> Callable[..., Place]:
    """A place on productpage-v1 → details, with changes."""
    return make_place


@pytest.fixture
def fault() -> Abort:
    return Abort(507)


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A Kubernetes API of the test's own."""
    server = ApiServer()
    yield server
    server.stop()


@pytest.fixture
def kubeconfig(api: ApiServer, tmp_path, monkeypatch) -> str:
    """Its kubeconfig, in the environment."""
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(api.kube.kubeconfig()))
    monkeypatch.setenv("KUBECONFIG", str(file))
    return str(file)


@pytest.fixture
def ground(tmp_path) -> Iterator[Ground]:
    """A mesh for runners with watchdogs."""
    there = Ground(tmp_path)
    yield there
    there.close()


@pytest.fixture
def client(kubeconfig: str) -> Client:
    return connect()


def virtual_service(name: str = "details", namespace: str = "default", **spec: Any) -> dict:
    base = {"hosts": ["details"], "http": [{"route": [{"destination": {"host": "details"}}]}]}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**base, **spec},
    }


def service(name: str, namespace: str = "default", *ports: dict) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": list(ports) or [{"name": "http", "port": 9080}]},
    }


def deployment(name: str, labels: dict, namespace: str = "default", annotations: dict | None = None) -> dict:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations or {}},
                "spec": {"containers": [{"name": "app", "image": "app:1"}]},
            },
        },
    }


@pytest.fixture
def make() -> SimpleNamespace:
    """Makers of objects."""
    return SimpleNamespace(virtual_service=virtual_service, service=service, deployment=deployment)
