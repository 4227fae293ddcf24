"""What `kubectl get` shows of each kind: a real server's columns, where the lab's objects have something to show."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import Kind

__all__ = ["Column", "age", "columns"]

_NONE = "<none>"


class Column(msgspec.Struct, frozen=True):
    """One column: its head, and the cell of an object. wide: only `-o wide` shows it."""

    name: str
    cell: Callable[[Obj], Any]
    wide: bool = False
    type: str = "string"


def age(since: str, at: datetime.datetime | None = None) -> str:
    """How long ago SINCE was, as kubectl writes durations: two units below ten of the greater, else one."""
    if not since:
        return "<unknown>"
    then = datetime.datetime.fromisoformat(since)
    seconds = int(((at or datetime.datetime.now(datetime.UTC)) - then).total_seconds())
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return f"{minutes}m" + (f"{seconds % 60}s" if seconds % 60 else "")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d" + (f"{hours % 24}h" if hours % 24 else "")
    return f"{days}d" if days < 730 else f"{days // 365}y"


def columns(kind: Kind) -> list[Column]:
    """The columns of KIND, NAME first and AGE where it belongs."""
    own = _COLUMNS.get((kind.group, kind.name), [_AGE])
    return [_NAME if kind.name != "Event" else _LAST_SEEN, *own]


def _at(path: str, default: Any = "") -> Callable[[Obj], Any]:
    """The value at a dotted path; a list is joined, or shown as JSON where a custom kind's column does so."""
    keys = path.split(".")

    def cell(obj: Obj) -> Any:
        found: Any = obj
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, list):
            return msgspec.json.encode(found).decode()
        return default if found is None else found

    return cell


def _age(obj: Obj) -> str:
    return age(obj["metadata"].get("creationTimestamp", ""))


def _count(path: str) -> Callable[[Obj], int]:
    def cell(obj: Obj) -> int:
        return len(obj.get(path) or {})

    return cell


def _statuses(pod: Obj) -> list[Obj]:
    return (pod.get("status") or {}).get("containerStatuses") or []


def _ready(pod: Obj) -> str:
    """Ready of all containers; a sidecar that only the status knows counts as one."""
    statuses = _statuses(pod)
    total = max(len(pod["spec"].get("containers") or []), len(statuses))
    return f"{sum(bool(one.get('ready')) for one in statuses)}/{total}"


def _pod_status(pod: Obj) -> str:
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    for one in _statuses(pod):
        state = one.get("state") or {}
        for word in ("waiting", "terminated"):
            if (state.get(word) or {}).get("reason"):
                return str(state[word]["reason"])
    status = pod.get("status") or {}
    return str(status.get("reason") or status.get("phase", "Unknown"))


def _restarts(pod: Obj) -> str:
    return str(sum(one.get("restartCount", 0) for one in _statuses(pod)))


def _containers(obj: Obj) -> list[Obj]:
    return ((obj["spec"].get("template") or {}).get("spec") or {}).get("containers") or []


def _each_container(field: str) -> Callable[[Obj], str]:
    return lambda obj: ",".join(str(one.get(field, "")) for one in _containers(obj))


def _labels(path: str) -> Callable[[Obj], str]:
    found = _at(path, {})
    return lambda obj: ",".join(f"{key}={value}" for key, value in found(obj).items()) or _NONE


def _deployment_ready(obj: Obj) -> str:
    return f"{(obj.get('status') or {}).get('readyReplicas', 0)}/{obj['spec'].get('replicas', 1)}"


def _ports(service: Obj) -> str:
    def text(port: Obj) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"

    return ",".join(text(port) for port in service["spec"].get("ports") or []) or _NONE


def _external(service: Obj) -> str:
    if service["spec"].get("type") == "LoadBalancer":
        found = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        return ",".join(one.get("ip") or one.get("hostname", "") for one in found) or "<pending>"
    return ",".join(service["spec"].get("externalIPs") or []) or str(service["spec"].get("externalName") or _NONE)


def _node_status(node: Obj) -> str:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
    return "Ready" if ready else "NotReady"


def _about(event: Obj) -> str:
    about = event.get("involvedObject") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _last_seen(event: Obj) -> str:
    return age(event.get("lastTimestamp") or event.get("firstTimestamp") or event["metadata"]["creationTimestamp"])


def _role(binding: Obj) -> str:
    ref = binding.get("roleRef") or {}
    return f"{ref.get('kind', '')}/{ref.get('name', '')}"


def _programmed(gateway: Obj) -> str:
    conditions = (gateway.get("status") or {}).get("conditions") or []
    return next((one.get("status", "") for one in conditions if one.get("type") == "Programmed"), "")


_NAME = Column("Name", lambda obj: obj["metadata"]["name"])
_AGE = Column("Age", _age)
_LAST_SEEN = Column("Last Seen", _last_seen)
_ISTIO = "networking.istio.io"
_GATEWAY_API = "gateway.networking.k8s.io"
_CREATED = Column("Created At", _at("metadata.creationTimestamp"))
_BINDING = [Column("Role", _role), _AGE]
_COLUMNS: dict[tuple[str, str], list[Column]] = {
    ("", "Namespace"): [Column("Status", _at("status.phase")), _AGE],
    ("", "Node"): [
        Column("Status", _node_status),
        Column("Roles", lambda _: _NONE),
        _AGE,
        Column("Version", _at("status.nodeInfo.kubeletVersion")),
    ],
    ("", "Pod"): [
        Column("Ready", _ready),
        Column("Status", _pod_status),
        Column("Restarts", _restarts),
        _AGE,
        Column("IP", _at("status.podIP", _NONE), wide=True),
        Column("Node", _at("spec.nodeName", _NONE), wide=True),
        Column("Nominated Node", _at("status.nominatedNodeName", _NONE), wide=True),
        Column("Readiness Gates", lambda _: _NONE, wide=True),
    ],
    ("", "Service"): [
        Column("Type", _at("spec.type")),
        Column("Cluster-IP", _at("spec.clusterIP", _NONE)),
        Column("External-IP", _external),
        Column("Port(s)", _ports),
        _AGE,
        Column("Selector", _labels("spec.selector"), wide=True),
    ],
    ("", "ServiceAccount"): [Column("Secrets", _count("secrets"), type="integer"), _AGE],
    ("", "ConfigMap"): [Column("Data", _count("data"), type="integer"), _AGE],
    ("", "Secret"): [Column("Type", _at("type")), Column("Data", _count("data"), type="integer"), _AGE],
    ("", "Event"): [
        Column("Type", _at("type")),
        Column("Reason", _at("reason")),
        Column("Object", _about),
        Column("Message", lambda event: str(event.get("message", "")).strip()),
        Column("Source", _at("source.component"), wide=True),
        Column("Count", _at("count", 1), wide=True, type="integer"),
        Column("Name", lambda event: event["metadata"]["name"], wide=True),
    ],
    ("apps", "Deployment"): [
        Column("Ready", _deployment_ready),
        Column("Up-to-date", _at("status.updatedReplicas", 0), type="integer"),
        Column("Available", _at("status.availableReplicas", 0), type="integer"),
        _AGE,
        Column("Containers", _each_container("name"), wide=True),
        Column("Images", _each_container("image"), wide=True),
        Column("Selector", _labels("spec.selector.matchLabels"), wide=True),
    ],
    ("apps", "ReplicaSet"): [
        Column("Desired", _at("spec.replicas", 0), type="integer"),
        Column("Current", _at("status.replicas", 0), type="integer"),
        Column("Ready", _at("status.readyReplicas", 0), type="integer"),
        _AGE,
        Column("Containers", _each_container("name"), wide=True),
        Column("Images", _each_container("image"), wide=True),
        Column("Selector", _labels("spec.selector.matchLabels"), wide=True),
    ],
    ("coordination.k8s.io", "Lease"): [Column("Holder", _at("spec.holderIdentity")), _AGE],
    ("rbac.authorization.k8s.io", "Role"): [_CREATED],
    ("rbac.authorization.k8s.io", "ClusterRole"): [_CREATED],
    ("rbac.authorization.k8s.io", "RoleBinding"): _BINDING,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _BINDING,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): [_CREATED],
    (_ISTIO, "VirtualService"): [Column("Gateways", _at("spec.gateways")), Column("Hosts", _at("spec.hosts")), _AGE],
    (_ISTIO, "DestinationRule"): [Column("Host", _at("spec.host")), _AGE],
    (_ISTIO, "ServiceEntry"): [
        Column("Hosts", _at("spec.hosts")),
        Column("Location", _at("spec.location")),
        Column("Resolution", _at("spec.resolution")),
        _AGE,
    ],
    (_ISTIO, "WorkloadEntry"): [_AGE, Column("Address", _at("spec.address"))],
    ("security.istio.io", "AuthorizationPolicy"): [Column("Action", _at("spec.action")), _AGE],
    ("security.istio.io", "PeerAuthentication"): [Column("Mode", _at("spec.mtls.mode")), _AGE],
    (_GATEWAY_API, "HTTPRoute"): [Column("Hostnames", _at("spec.hostnames")), _AGE],
    (_GATEWAY_API, "Gateway"): [
        Column("Class", _at("spec.gatewayClassName")),
        Column("Address", lambda gateway: ",".join(_addresses(gateway))),
        Column("Programmed", _programmed),
        _AGE,
    ],
}


def _addresses(gateway: Obj) -> list[str]:
    return [str(one.get("value", "")) for one in (gateway.get("status") or {}).get("addresses") or []]
