"""What a real API server fills in where an object does not say it: enough for kubectl and clients to read it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection
from typing import Any

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded import gateway_defaults
from chaosmesh_ext.lab.kube.embedded.kinds import Kind

__all__ = ["cluster_ip", "fill", "first_status"]


def fill(kind: Kind, obj: Obj, old: Obj | None, taken: Callable[[], Collection[str]]) -> None:
    """Complete OBJ in place; OLD is what it replaces, TAKEN tells the cluster IPs in use.

    Allocated fields (a Service's addresses, a Pod's node) are carried over from OLD where OBJ leaves them out.
    """
    if kind.name in ("ConfigMap", "Secret"):
        _settle_data(obj)
    if not kind.custom:
        _drop_nulls(obj)
    filler = _FILLERS.get((kind.group, kind.name))
    if filler:
        filler(obj)
    if kind.name == "Service":
        _service_addresses(obj, old, taken)


def first_status(kind: Kind) -> Obj | None:
    """The status of a new object; None where a real cluster shows none."""
    match kind.name:
        case "Pod":
            return {"phase": "Pending", "qosClass": "BestEffort"}
        case "Namespace":
            return {"phase": "Active"}
        case "Service":
            return {"loadBalancer": {}}
        case "ReplicaSet":
            return {"replicas": 0}
    return None if kind.custom or not kind.status else {}


def _settle_data(obj: Obj) -> None:
    """In a map of texts null is the empty one, and the empty map is none."""
    for field in ("data", "binaryData", "stringData"):
        if obj.get(field):
            obj[field] = {key: value or "" for key, value in obj[field].items()}
        else:
            obj.pop(field, None)


def _drop_nulls(value: Any) -> None:
    """Built-in kinds are decoded into Go structs, where null is absence."""
    if isinstance(value, dict):
        for key in [key for key, item in value.items() if item is None]:
            del value[key]
        for item in value.values():
            _drop_nulls(item)
    elif isinstance(value, list):
        for item in value:
            _drop_nulls(item)


def _defaults(target: Any, **values: Any) -> None:
    for key, value in values.items():
        target.setdefault(key, value)


def _pod_spec(spec: Any) -> None:
    if not isinstance(spec, dict):
        return
    _defaults(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        terminationGracePeriodSeconds=30,
        schedulerName="default-scheduler",
        securityContext={},
    )
    if "serviceAccountName" in spec:
        _defaults(spec, serviceAccount=spec["serviceAccountName"])
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        if not isinstance(container, dict):
            continue
        _defaults(
            container,
            imagePullPolicy="Always" if _floats(str(container.get("image", ""))) else "IfNotPresent",
            resources={},
            terminationMessagePath="/dev/termination-log",
            terminationMessagePolicy="File",
        )
        for port in container.get("ports") or []:
            _defaults(port, protocol="TCP")


def _floats(image: str) -> bool:
    """Whether an image is `latest`, said or unsaid."""
    if "@" in image:
        return False
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return not colon or tag == "latest"


def _pod(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    _defaults(spec, enableServiceLinks=True)
    spec["tolerations"] = [*(spec.get("tolerations") or []), *(one for one in _TOLERATED if not _tolerated(spec, one))]
    _pod_spec(spec)


_TOLERATED = tuple(
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for what in ("not-ready", "unreachable")
)
"""What every Pod gets, unless it says otherwise of the same taint."""


def _tolerated(spec: Obj, wanted: Obj) -> bool:
    return any(
        one.get("key", wanted["key"]) == wanted["key"] and one.get("effect", "NoExecute") == "NoExecute"
        for one in spec.get("tolerations") or []
    )


def _templated(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    _defaults(spec, replicas=1)
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))


def _deployment(obj: Obj) -> None:
    _templated(obj)
    spec = obj["spec"]
    _defaults(spec, strategy={}, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec["strategy"]
    _defaults(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        _defaults(rolling, maxUnavailable="25%", maxSurge="25%")


def _service(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    _defaults(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports") or []:
        _defaults(port, protocol="TCP")
        if "port" in port:
            _defaults(port, targetPort=port["port"])
    if spec["type"] != "ExternalName":
        _defaults(spec, internalTrafficPolicy="Cluster")


def _service_addresses(obj: Obj, old: Obj | None, taken: Callable[[], Collection[str]]) -> None:
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        return
    before = (old or {}).get("spec", {})
    if not spec.get("clusterIP"):
        metadata = obj["metadata"]
        spec["clusterIP"] = before.get("clusterIP") or cluster_ip(
            metadata.get("namespace", ""), metadata.get("name", ""), taken()
        )
    _defaults(spec, clusterIPs=[spec["clusterIP"]], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")


def cluster_ip(namespace: str, name: str, taken: Collection[str]) -> str:
    """A Service's address in 10.96.0.0/16: the same in every lab, nobody else's in this one; never contacted."""
    start = int.from_bytes(hashlib.sha256(f"{namespace}/{name}".encode()).digest()[:4]) % 65_280
    for offset in range(65_280):
        number = 128 + (start + offset) % 65_280
        address = f"10.96.{number >> 8}.{number & 255}"
        if address not in taken:
            return address
    raise RuntimeError("all 65,280 cluster IPs are taken")  # pragma: no cover - needs that many Services


def _namespace(obj: Obj) -> None:
    metadata = obj["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata.get("name", "")}
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def _secret(obj: Obj) -> None:
    _defaults(obj, type="Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _event(obj: Obj) -> None:
    _defaults(obj, source={}, reportingComponent="", reportingInstance="")


def _endpoint_slice(obj: Obj) -> None:
    obj["ports"] = obj.get("ports") or None
    for endpoint in obj.get("endpoints") or []:
        _defaults(endpoint, conditions={})


def _role_binding(obj: Obj) -> None:
    for subject in obj.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            _defaults(subject, apiGroup="rbac.authorization.k8s.io")
    if obj.get("roleRef"):
        _defaults(obj["roleRef"], apiGroup="rbac.authorization.k8s.io")


def _node(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if isinstance(spec, dict) and spec.get("unschedulable") is False:
        del spec["unschedulable"]


_RBAC = "rbac.authorization.k8s.io"
_FILLERS: dict[tuple[str, str], Callable[[Obj], None]] = {
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("", "Node"): _node,
    ("", "Service"): _service,
    ("", "Secret"): _secret,
    ("", "Event"): _event,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _templated,
    (_RBAC, "RoleBinding"): _role_binding,
    (_RBAC, "ClusterRoleBinding"): _role_binding,
    ("gateway.networking.k8s.io", "HTTPRoute"): gateway_defaults.http_route,
    ("gateway.networking.k8s.io", "Gateway"): gateway_defaults.gateway,
}
