"""A mesh of echo applications for each side, made once: sleep and other call reviews (v1, v2) and details."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from echo_mesh import Mesh

_PLANE = {"embedded": "embedded", "real": "istiod"}


@pytest.fixture(scope="session")
def standing_mesh(side: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    mesh = Mesh(tmp_path_factory.mktemp(f"mesh-{side}"), control_plane=_PLANE[side])
    mesh.start()
    try:
        for service in ("reviews", "details", "sleep"):
            mesh.service(service)
        for app, version in (("reviews", "v1"), ("reviews", "v2"), ("details", "v1"), ("sleep", "v1"), ("other", "v1")):
            mesh.pod(app, version)
        mesh.synced()
        yield mesh
    finally:
        mesh.stop()


@pytest.fixture
def mesh(standing_mesh: Mesh) -> Iterator[Mesh]:
    """The mesh without any Istio object of a test, before and after."""
    standing_mesh.clean()
    yield standing_mesh
    standing_mesh.clean()
