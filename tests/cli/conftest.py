"""A Kubernetes API for the commands, and the commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from api_server import ApiServer
from click.testing import CliRunner

from chaosmesh_ext.cli import mesh
from chaosmesh_ext.mesh import Client, connect


@pytest.fixture
def api(tmp_path, monkeypatch) -> Iterator[ApiServer]:
    """A Kubernetes API of the test's own, whose kubeconfig is in the environment."""
    server = ApiServer()
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(server.kube.kubeconfig()))
    monkeypatch.setenv("KUBECONFIG", str(file))
    yield server
    server.stop()


@pytest.fixture
def client(api) -> Client:
    return connect()


@pytest.fixture
def said() -> Callable[..., str]:
    """Run `chaos mesh …`: what it prints, or complains of; it must exit as expected."""

    def run(*words: str, exits: int = 0) -> str:
        done = CliRunner().invoke(mesh, words)
        assert done.exit_code == exits, done.output
        return done.stderr if exits else done.stdout

    return run


@pytest.fixture
def told(said) -> Callable[..., Any]:
    """Run `chaos mesh … --json`: what it prints, read."""
    return lambda *words: json.loads(said(*words, "--json"))


@pytest.fixture
def no_mesh(monkeypatch) -> None:
    """Neither a cluster nor a trace store is there."""
    monkeypatch.setenv("KUBECONFIG", "/nowhere/kubeconfig")
    for variable in ("JAEGER_URL", "APP_URL", "PROMETHEUS_URL"):
        monkeypatch.delenv(variable, raising=False)
