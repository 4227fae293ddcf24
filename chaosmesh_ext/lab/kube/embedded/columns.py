"""What `kubectl get` shows of each kind: a real server's columns, where the lab's objects have something to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded import cells
from chaosmesh_ext.lab.kube.embedded.cells import NONE, at
from chaosmesh_ext.lab.kube.embedded.kinds import Kind

__all__ = ["Column", "columns"]


class Column(msgspec.Struct, frozen=True):
    """One column: its head, and the cell of an object. wide: only `-o wide` shows it."""

    name: str
    cell: Callable[[Obj], Any]
    wide: bool = False
    type: str = "string"


def columns(kind: Kind) -> list[Column]:
    """The columns of KIND, NAME first and AGE where it belongs."""
    own = _COLUMNS.get((kind.group, kind.name), [_AGE])
    if kind.custom:
        own = [_BORN if column is _AGE else column for column in own]
    return [_NAME if kind.name != "Event" else _LAST_SEEN, *own]


def _spec(name: str, path: str) -> Column:
    """A custom kind's column: what is not there is null."""
    return Column(name, at(f"spec.{path}", None))


_NAME = Column("Name", lambda obj: obj["metadata"]["name"])
_AGE = Column("Age", cells.shown_age)
_BORN = Column("Age", cells.shown_age, type="date")
"""Age as custom kinds have it."""
_LAST_SEEN = Column("Last Seen", cells.last_seen)
_ISTIO = "networking.istio.io"
_GATEWAY_API = "gateway.networking.k8s.io"
_CREATED = Column("Created At", at("metadata.creationTimestamp"))
_WEBHOOKS = [Column("Webhooks", cells.count("webhooks"), type="integer"), _AGE]
_BINDING = [
    Column("Role", cells.role),
    _AGE,
    *(Column(f"{kind}s", cells.subjects(kind), wide=True) for kind in ("User", "Group", "ServiceAccount")),
]
_COLUMNS: dict[tuple[str, str], list[Column]] = {
    ("", "Namespace"): [Column("Status", at("status.phase")), _AGE],
    ("", "Node"): [
        Column("Status", cells.node_status),
        Column("Roles", cells.node_roles),
        _AGE,
        Column("Version", at("status.nodeInfo.kubeletVersion")),
    ],
    ("", "Pod"): [
        Column("Ready", cells.ready),
        Column("Status", cells.pod_status),
        Column("Restarts", cells.restarts),
        _AGE,
        Column("IP", at("status.podIP", NONE), wide=True),
        Column("Node", at("spec.nodeName", NONE), wide=True),
        Column("Nominated Node", at("status.nominatedNodeName", NONE), wide=True),
        Column("Readiness Gates", lambda _: NONE, wide=True),
    ],
    ("", "Service"): [
        Column("Type", at("spec.type")),
        Column("Cluster-IP", at("spec.clusterIP", NONE)),
        Column("External-IP", cells.external),
        Column("Port(s)", cells.ports),
        _AGE,
        Column("Selector", cells.labels("spec.selector"), wide=True),
    ],
    ("", "Endpoints"): [Column("Endpoints", cells.endpoints), _AGE],
    ("", "ConfigMap"): [Column("Data", cells.count("data"), type="integer"), _AGE],
    ("", "Secret"): [Column("Type", at("type")), Column("Data", cells.count("data"), type="integer"), _AGE],
    ("", "Event"): [
        Column("Type", at("type")),
        Column("Reason", at("reason")),
        Column("Object", cells.about),
        Column("Subobject", at("involvedObject.fieldPath"), wide=True),
        Column("Source", cells.source, wide=True),
        Column("Message", lambda event: str(event.get("message", "")).strip()),
        Column("First Seen", cells.first_seen, wide=True),
        Column("Count", at("count", 1), wide=True, type="integer"),
        Column("Name", lambda event: event["metadata"]["name"], wide=True),
    ],
    ("apps", "Deployment"): [
        Column("Ready", cells.deployment_ready),
        Column("Up-to-date", at("status.updatedReplicas", 0), type="integer"),
        Column("Available", at("status.availableReplicas", 0), type="integer"),
        _AGE,
        Column("Containers", cells.each_container("name"), wide=True),
        Column("Images", cells.each_container("image"), wide=True),
        Column("Selector", cells.labels("spec.selector.matchLabels"), wide=True),
    ],
    ("apps", "ReplicaSet"): [
        Column("Desired", at("spec.replicas", 0), type="integer"),
        Column("Current", at("status.replicas", 0), type="integer"),
        Column("Ready", at("status.readyReplicas", 0), type="integer"),
        _AGE,
        Column("Containers", cells.each_container("name"), wide=True),
        Column("Images", cells.each_container("image"), wide=True),
        Column("Selector", cells.labels("spec.selector.matchLabels"), wide=True),
    ],
    ("coordination.k8s.io", "Lease"): [Column("Holder", at("spec.holderIdentity")), _AGE],
    ("discovery.k8s.io", "EndpointSlice"): [
        Column("AddressType", at("addressType")),
        Column("Ports", cells.slice_ports),
        Column("Endpoints", cells.slice_endpoints),
        _AGE,
    ],
    ("rbac.authorization.k8s.io", "Role"): [_CREATED],
    ("rbac.authorization.k8s.io", "ClusterRole"): [_CREATED],
    ("rbac.authorization.k8s.io", "RoleBinding"): _BINDING,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _BINDING,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): [_CREATED],
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): _WEBHOOKS,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): _WEBHOOKS,
    (_ISTIO, "VirtualService"): [_spec("Gateways", "gateways"), _spec("Hosts", "hosts"), _AGE],
    (_ISTIO, "DestinationRule"): [_spec("Host", "host"), _AGE],
    (_ISTIO, "ServiceEntry"): [
        _spec("Hosts", "hosts"),
        _spec("Location", "location"),
        _spec("Resolution", "resolution"),
        _AGE,
    ],
    (_ISTIO, "WorkloadEntry"): [_AGE, _spec("Address", "address")],
    ("security.istio.io", "AuthorizationPolicy"): [_spec("Action", "action"), _AGE],
    ("security.istio.io", "PeerAuthentication"): [_spec("Mode", "mtls.mode"), _AGE],
    (_GATEWAY_API, "HTTPRoute"): [_spec("Hostnames", "hostnames"), _AGE],
    (_GATEWAY_API, "Gateway"): [
        _spec("Class", "gatewayClassName"),
        Column("Address", lambda gateway: ",".join(cells.addresses(gateway))),
        Column("Programmed", cells.programmed),
        _AGE,
    ],
}
