"""A mesh of small echo applications behind real Envoys, configured by the lab's own control plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import get
from echo_mesh import Mesh
from fault_words import abort, fixed_delay, http_abort, http_delay, http_fault, marked, marker
from waiting import until


@pytest.fixture(scope="session")
def mesh_of_four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """sleep and other call reviews, of which there are v1 and v2."""
    mesh = Mesh(tmp_path_factory.mktemp("mesh"))
    mesh.start()
    try:
        mesh.service("reviews")
        mesh.service("details")
        for app, version in (("reviews", "v1"), ("reviews", "v2"), ("sleep", "v1"), ("other", "v1")):
            mesh.pod(app, version)
        mesh.synced()
        yield mesh
    finally:
        mesh.stop()


@pytest.fixture
def mesh(mesh_of_four: Mesh) -> Iterator[Mesh]:
    """The mesh without any Istio object, before and after."""
    mesh_of_four.clean()
    yield mesh_of_four
    mesh_of_four.clean()


@pytest.fixture
def fresh_mesh(tmp_path: Path) -> Iterator[Callable[..., Mesh]]:
    """Makes meshes of the test's own."""
    made: list[Mesh] = []

    def make(**options: Any) -> Mesh:
        made.append(Mesh(tmp_path, **options))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def helpers() -> Any:
    """What tests of this folder share."""

    class Helpers:
        pass

    helpers = Helpers()
    for one in (get, until, abort, fixed_delay, http_fault, http_abort, http_delay, marker, marked):
        setattr(helpers, one.__name__, one)
    return helpers
