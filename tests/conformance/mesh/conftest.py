"""A mesh of echo applications for each side, made once: sleep and other call reviews (v1, v2) and details."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from echo_mesh import PORT, Mesh
from victim import Victim
from waiting import until

_PLANE = {"embedded": "embedded", "real": "istiod"}


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
def guest(standing_mesh: Mesh) -> str:
    """A caller in another namespace, far."""
    name = standing_mesh.pod("guest", namespace="far")
    standing_mesh.synced()
    return name


@pytest.fixture(scope="package")
def gateway(standing_mesh: Mesh) -> str:
    """The pod of an ingress gateway; it listens nowhere until a test's Gateway selects istio: ingressgateway."""
    name = standing_mesh.pod("istio-ingressgateway", namespace="istio-system", gateway=True, istio="ingressgateway")
    standing_mesh.synced()
    return name


@pytest.fixture(scope="package")
def victims(standing_mesh: Mesh) -> dict[str, Victim]:
    """Two pods that may be harmed, victim-v1 and victim-v2; the service victim is the first, the service pair both."""
    found = {name: Victim(standing_mesh, standing_mesh.pod("victim", name)) for name in ("v1", "v2")}
    for service, selector in (("victim", {"app": "victim", "version": "v1"}), ("pair", {"app": "victim"})):
        ports = [{"name": "http", "port": PORT, "targetPort": PORT}]
        standing_mesh.apply("Service", service, {"selector": selector, "ports": ports})
    return found


@pytest.fixture
def victim(mesh: Mesh, victims: dict[str, Victim]) -> Iterator[Victim]:
    """The only pod of the service victim, well before and after."""
    one = victims["v1"]
    until(lambda: mesh.call("sleep-v1", f"victim:{PORT}").status == 200, "the victim answers")
    one.app.reset()
    yield one
    one.mend()
