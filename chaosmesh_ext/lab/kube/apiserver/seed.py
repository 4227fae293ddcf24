"""What is there before anybody writes: the namespaces and the nodes."""

from __future__ import annotations

import asyncio

from chaosmesh_ext.errors import ApiError
from chaosmesh_ext.lab.kube.api import ISTIO_NAMESPACE, Obj
from chaosmesh_ext.lab.kube.apiserver.client import Client
from chaosmesh_ext.lab.network import KUBELET_PORT
from chaosmesh_ext.lab.nodes import NODES, node

__all__ = ["seed"]

_NAMESPACES = ("default", "kube-system", "kube-public", ISTIO_NAMESPACE)


async def seed(client: Client, host: str) -> None:
    """Create it; every node's kubelet is at HOST."""
    await asyncio.gather(
        *(_namespace(client, name) for name in _NAMESPACES),
        *(_create(client, "/api/v1/nodes", _node(name, host)) for name in NODES),
    )


async def _namespace(client: Client, name: str) -> None:
    await _create(client, "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def _create(client: Client, path: str, body: Obj) -> None:
    try:
        await client.ask("POST", path, body)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise


def _node(name: str, host: str) -> Obj:
    return {
        **node(name),
        "status": {
            "addresses": [{"type": "InternalIP", "address": host}, {"type": "Hostname", "address": name}],
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the lab is running"}
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        },
    }
