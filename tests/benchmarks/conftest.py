"""Small topologies, said in few words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from chaosmesh_ext.model.topology import Topology, parse_topology


@pytest.fixture
def graph() -> Callable[..., Topology]:
    """Makes a topology of services by name: the words of their one version, or of several. The first is the entry."""

    def make(**services: dict | list | None) -> Topology:
        said = []
        for name, words in services.items():
            versions = words if isinstance(words, list) else [words or {}]
            named = [{"name": f"v{turn}", **version} for turn, version in enumerate(versions, 1)]
            said.append({"name": name, "versions": named})
        spec = {"entry": next(iter(services)), "services": said}
        return parse_topology(
            yaml.safe_dump({"apiVersion": "chaosmesh-ext/v1alpha1", "kind": "Topology", "spec": spec})
        )

    return make
