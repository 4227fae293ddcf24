"""Gateways, Istio's and Gateway API's: the proxies by which requests come into the mesh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chaosmesh_ext.errors import Forbidden, InvalidInput, NotFound
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.place import Source
from chaosmesh_ext.model import Workload

__all__ = ["gateway", "gateway_pods", "is_gateway", "routed_beside"]

_KIND = "Gateway.networking.istio.io"
_API = "Gateway"
_DEPLOYED = "gateway.networking.k8s.io/gateway-name"
"""The label of the pods that istiod deploys for a Gateway of Gateway API without addresses."""
_NAME = "service.istio.io/canonical-name"


def gateway(client: Client, name: str, namespace: str) -> Source:
    """The proxies of the Gateway NAME (with its namespace before a slash, or NAMESPACE's) as a source.

    Istio's goes before Gateway API's of the same name. Raises NotFound where there is no such Gateway, and InvalidInput
    where no pod serves it.
    """
    space, _, short = name.rpartition("/")
    space = space or namespace
    if (obj := client.find(_KIND, space, short)) is not None:
        labels = obj.get("spec", {}).get("selector") or {}
        pods = _pods(client, labels, space) if labels else []
    elif (obj := client.find(_API, space, short)) is not None:
        home, labels = _served(client, obj)
        pods = client.list("Pod", home, labels=_selector(labels)) if labels else []
    else:
        known = sorted(one["metadata"]["name"] for kind in (_KIND, _API) for one in client.list(kind, space))
        raise NotFound(f"no Gateway {short} in namespace {space}: there are {', '.join(known) or 'none'}")
    if not pods:
        raise InvalidInput(f"no pod serves the Gateway {space}/{short} (selector {labels}): see `kubectl get pods -A`")
    workloads = tuple(sorted({_workload(pod) for pod in pods}))
    of_api = not obj.get("apiVersion", "").startswith("networking.istio.io/")
    named = f"{space}/{short}"
    home = pods[0]["metadata"]["namespace"]
    return Source(short, home, labels, workloads, named, of_api, () if of_api else (named,))


def is_gateway(meta: Obj) -> bool:
    """Whether META, of a pod or of a template of pods, is a gateway's: its routes are bound to hosts of its own."""
    labels = meta.get("labels") or {}
    template = (meta.get("annotations") or {}).get("inject.istio.io/templates")
    return template == "gateway" or "istio" in labels or _DEPLOYED in labels


def gateway_pods(client: Client, name: str, namespace: str) -> Source | None:
    """The gateway whose pods' spans are NAME's, as a source: what comes in by any Gateway of Istio's that they serve.

    NAME may have its namespace before a slash; without, those in NAMESPACE go before others. None where there is no
    such gateway. Raises InvalidInput where pods of several namespaces are called so, or serve no Gateway of Istio's.
    """
    space, _, short = name.rpartition("/")
    try:
        every = client.list("Pod", space)
    except Forbidden:
        every = client.list("Pod", space or namespace)
    pods = [pod for pod in every if is_gateway(pod["metadata"]) and _workload(pod).service == short]
    pods = [pod for pod in pods if pod["metadata"]["namespace"] == namespace] or pods
    homes = sorted({pod["metadata"]["namespace"] for pod in pods})
    if not homes:
        return None
    if len(homes) > 1:
        raise InvalidInput(f"gateways of {' and of '.join(homes)} are called {short}: write e.g. {homes[0]}/{short}")
    bearing = [pod["metadata"].get("labels") or {} for pod in pods]
    names = [
        f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        for one in _everywhere(client, _KIND, sorted({homes[0], namespace}))
        if any(selects(one["spec"].get("selector") or {}, its) for its in bearing)
    ]
    if not names:
        raise InvalidInput(
            f"{short} in {homes[0]} serves no Gateway of Istio's, and HTTPRoutes of Gateway API's know no delay and no "
            "abort: name a workload with a sidecar as source"
        )
    common = {key: value for key, value in bearing[0].items() if all(its.get(key) == value for its in bearing)}
    workloads = tuple(sorted({_workload(pod) for pod in pods}))
    return Source(short, homes[0], common, workloads, names[0], gateways=tuple(sorted(names)))


def _everywhere(client: Client, kind: str, namespaces: Iterable[str]) -> list[Obj]:
    try:
        return client.list(kind)
    except Forbidden:
        return [one for namespace in namespaces for one in client.list(kind, namespace)]


def _served(client: Client, obj: Obj) -> tuple[str, Mapping[str, str]]:
    """The namespace and the labels of the pods that serve OBJ, a Gateway of Gateway API: those of the Service that its
    address names, or those that istiod deployed for it.
    """
    meta = obj["metadata"]
    named = [
        one.get("value", "") for one in obj.get("spec", {}).get("addresses") or () if one.get("type") == "Hostname"
    ]
    if not named:
        return meta["namespace"], {_DEPLOYED: meta["name"]}
    name, _, rest = named[0].partition(".")
    home = rest.partition(".")[0] or meta["namespace"]
    service = client.find("Service", home, name) or {}
    return home, service.get("spec", {}).get("selector") or {}


def routed_beside(client: Client, source: Source, gateways: Iterable[Obj], services: Iterable[Obj]) -> list[Obj]:
    """Of Istio's GATEWAYS those that the pods of SOURCE serve, and of SERVICES the VirtualServices bound to them."""
    pods = client.list("Pod", source.namespace, labels=_selector(source.labels))
    bearing = [pod["metadata"].get("labels") or {} for pod in pods]
    found = [one for one in gateways if any(selects(one["spec"].get("selector") or {}, its) for its in bearing)]
    names = {f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in found}
    for one in services:
        own = one["metadata"]["namespace"]
        bound = one.get("spec", {}).get("gateways") or ()
        if names & {name if "/" in name else f"{own}/{name}" for name in bound}:
            found.append(one)
    return found


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _pods(client: Client, labels: Obj, namespace: str) -> list[Obj]:
    selector = _selector(labels)
    try:
        return client.list("Pod", labels=selector)
    except Forbidden:
        return client.list("Pod", namespace, labels=selector)


def _workload(pod: Obj) -> Workload:
    """As its spans name it."""
    labels = pod["metadata"].get("labels", {})
    name = next((labels[key] for key in (_NAME, "app.kubernetes.io/name", "app") if key in labels), "")
    return Workload(name, "", pod["metadata"]["namespace"])
