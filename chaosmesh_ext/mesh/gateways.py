"""Istio's Gateways: the proxies by which requests come into the mesh."""

from __future__ import annotations

from chaosmesh_ext.errors import Forbidden, InvalidInput, NotFound
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.place import Source
from chaosmesh_ext.model import Workload

__all__ = ["gateway"]

_KIND = "Gateway.networking.istio.io"
_NAME = "service.istio.io/canonical-name"


def gateway(client: Client, name: str, namespace: str) -> Source:
    """The proxies of the Gateway NAME (with its namespace before a slash, or NAMESPACE's) as a source.

    Raises NotFound where there is no such Gateway, and InvalidInput where no pod serves it.
    """
    space, _, short = name.rpartition("/")
    space = space or namespace
    obj = client.find(_KIND, space, short)
    if obj is None:
        known = sorted(one["metadata"]["name"] for one in client.list(_KIND, space))
        raise NotFound(f"no Gateway {short} in namespace {space}: there are {', '.join(known) or 'none'}")
    labels = obj.get("spec", {}).get("selector") or {}
    pods = _pods(client, labels, space)
    if not labels or not pods:
        raise InvalidInput(f"no pod serves the Gateway {space}/{short} (selector {labels}): see `kubectl get pods -A`")
    workloads = tuple(sorted({_workload(pod) for pod in pods}))
    return Source(short, pods[0]["metadata"]["namespace"], labels, workloads, f"{space}/{short}")


def _pods(client: Client, labels: Obj, namespace: str) -> list[Obj]:
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    try:
        return client.list("Pod", labels=selector)
    except Forbidden:
        return client.list("Pod", namespace, labels=selector)


def _workload(pod: Obj) -> Workload:
    """As its spans name it."""
    labels = pod["metadata"].get("labels", {})
    name = next((labels[key] for key in (_NAME, "app.kubernetes.io/name", "app") if key in labels), "")
    return Workload(name, "", pod["metadata"]["namespace"])
