"""Sources: the workloads that call, by the name of a Deployment, of what their spans say, or of a gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.gateways import gateway_pods, is_gateway
from chaosmesh_ext.mesh.place import Source
from chaosmesh_ext.model import Workload

__all__ = ["service_of", "source", "version_of"]

_NAMES: Final = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_REVISIONS: Final = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")


def source(client: Client, name: str, namespace: str) -> Source:
    """The workload NAME of NAMESPACE as a caller, or the gateway of that name.

    Raises NotFound where there is none, and InvalidInput where no labels select its pods and no others, or where no pod
    of the gateway runs.
    """
    deployments = {obj["metadata"]["name"]: obj for obj in client.list("Deployment", namespace)}
    if name in deployments:
        template = deployments[name]["spec"]["template"].get("metadata", {})
        labels = template.get("labels", {})
        if is_gateway(template):
            return _gateway(client, name, namespace)
        _refuse_shared(name, labels, deployments)
        return Source(name, namespace, labels, (_workload(labels, name, namespace),))
    pods = client.list("Pod", namespace)
    for pod in pods:
        meta = pod["metadata"]
        app, revision = _first(meta, _NAMES), _first(meta, _REVISIONS)
        if name == f"{app[1]}-{revision[1]}":
            chosen = dict((app, revision))
        elif name == app[1]:
            chosen = dict((app,))
        else:
            continue
        if is_gateway(meta):
            return _gateway(client, name, namespace)
        same = [other["metadata"].get("labels", {}) for other in pods]
        workloads = {_workload(labels, name, namespace) for labels in same if selects(chosen, labels)}
        return Source(name, namespace, chosen, tuple(sorted(workloads)))
    if (found := gateway_pods(client, name, namespace)) is not None:
        return found
    known = sorted({*deployments, *(str(_workload(pod["metadata"].get("labels", {}), "", namespace)) for pod in pods)})
    raise NotFound(f"no workload {name} in namespace {namespace}: there are {', '.join(filter(None, known)) or 'none'}")


def _refuse_shared(name: str, labels: Mapping[str, str], deployments: Mapping[str, Obj]) -> None:
    """The labels of a Deployment's pods select them; another one's pods that bear them all would be hit as well."""
    if not labels:
        raise InvalidInput(f"the pods of {name} have no labels by which a fault could select them")
    for other, obj in deployments.items():
        theirs = obj["spec"]["template"].get("metadata", {}).get("labels", {})
        if other != name and selects(labels, theirs):
            raise InvalidInput(f"the labels of {name} also select the pods of {other}: give {name} a version label")


def _gateway(client: Client, name: str, namespace: str) -> Source:
    found = gateway_pods(client, name, namespace)
    if found is None:
        raise InvalidInput(
            f"{name} is a gateway, and no pod of {namespace} whose spans are called so runs: scale it up"
        )
    return found


def _first(meta: Mapping[str, Any], keys: Iterable[str]) -> tuple[str, str]:
    labels = meta.get("labels", {})
    return next(((key, str(labels[key])) for key in keys if key in labels), ("", ""))


def _workload(labels: Mapping[str, str], name: str, namespace: str) -> Workload:
    """As `observe.spans` names it: canonical service and revision; ``latest``, Istio's word for none, is none."""
    return Workload(service_of(labels) or name, version_of(labels), namespace)


def service_of(labels: Mapping[str, str]) -> str:
    """The service of a pod with LABELS as `observe.spans` names it; empty where they do not say it."""
    return _first({"labels": labels}, _NAMES)[1]


def version_of(labels: Mapping[str, str]) -> str:
    """The version of a pod with LABELS as `observe.spans` names it; empty for none."""
    revision = _first({"labels": labels}, _REVISIONS)[1]
    return "" if revision == "latest" else revision
