"""Pods without an Envoy: an address of the mesh at which a test listens as it likes, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from echo_mesh import PORT, Mesh

from chaosmesh_ext.lab.kube.api import NODE

__all__ = ["address_of", "bare_pod"]


def address_of(mesh: Mesh, index: int) -> str:
    """The address of the bare pod INDEX, high numbers: the mesh's own pods have the low ones."""
    return mesh.network.pod(index).inbound


@contextlib.contextmanager
def bare_pod(mesh: Mesh, name: str, index: int, *, namespace: str = "default") -> Iterator[str]:
    """A service NAME and its only pod, ready and without an Envoy, at the address yielded; both go at the end."""
    address = address_of(mesh, index)
    mesh.service(name, namespace)
    mesh.do(_create(mesh, name, namespace, address))
    mesh.synced()
    try:
        yield address
    finally:
        mesh.do(mesh.kube.delete("Pod", namespace, name, grace=0))
        mesh.delete("Service", name, namespace)


async def _create(mesh: Mesh, name: str, namespace: str, address: str) -> None:
    labels = {"app": name, "sidecar.istio.io/inject": "false"}
    containers: list[dict[str, Any]] = [{"name": "app", "image": "none", "ports": [{"containerPort": PORT}]}]
    pod = await mesh.kube.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"nodeName": NODE, "containers": containers},
        }
    )
    pod = await mesh.kube.patch_status(pod, {"podIP": address})
    await mesh.kube.patch_status(pod, {"conditions": [{"type": "Ready", "status": "True"}]})
