"""Bodies in Kubernetes' protobuf, which kubectl 1.32 and later send where they create built-in kinds (`kubectl create
namespace`, `kubectl auth can-i`); `kubectl apply` and everything on custom kinds is JSON.

Only the messages that kubectl's own commands make are known, from k8s.io/api's generated.proto; a field beyond them is
refused, not dropped. Go writes every field, so that an empty one says nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.refusals import bad_request, not_implemented

__all__ = ["MEDIA_TYPE", "from_protobuf"]

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"


class _Field(msgspec.Struct, frozen=True):
    """A field's name in JSON and what it holds: text, bytes, int, bool, map, or a message named by `kind`."""

    name: str
    kind: str = "text"
    many: bool = False


def _message(*fields: tuple[int, str, str] | tuple[int, str]) -> dict[int, _Field]:
    """Fields as number, name, and kind; ``[kind]`` is a list of them."""
    made = {}
    for number, name, *kinds in fields:
        kind = kinds[0] if kinds else "text"
        made[number] = _Field(name, kind.strip("[]"), many=kind.startswith("["))
    return made


_META = (1, "metadata", "ObjectMeta")
_MESSAGES: dict[str, dict[int, _Field]] = {
    "Unknown": _message((1, "typeMeta", "TypeMeta"), (2, "raw", "bytes"), (3, "contentEncoding"), (4, "contentType")),
    "TypeMeta": _message((1, "apiVersion"), (2, "kind")),
    "Nothing": {},
    "ObjectMeta": _message(
        (1, "name"), (2, "generateName"), (3, "namespace"), (4, "selfLink"), (5, "uid"), (6, "resourceVersion"),
        (7, "generation", "int"), (8, "creationTimestamp", "Nothing"), (11, "labels", "map"),
        (12, "annotations", "map"), (14, "finalizers", "[text]"),
    ),
    "DeleteOptions": _message(
        (1, "gracePeriodSeconds", "int"), (2, "preconditions", "Preconditions"), (3, "orphanDependents", "bool"),
        (4, "propagationPolicy"), (5, "dryRun", "[text]"),
    ),
    "Preconditions": _message((1, "uid"), (2, "resourceVersion")),
    "Eviction": _message(_META, (2, "deleteOptions", "DeleteOptions")),
    "Namespace": _message(_META, (2, "spec", "NamespaceSpec"), (3, "status", "NamespaceStatus")),
    "NamespaceSpec": _message((1, "finalizers", "[text]")),
    "NamespaceStatus": _message((1, "phase")),
    "ServiceAccount": _message(_META),
    "ConfigMap": _message(_META, (2, "data", "map"), (3, "binaryData", "bytesmap"), (4, "immutable", "bool")),
    "Secret": _message(_META, (2, "data", "bytesmap"), (3, "type"), (4, "stringData", "map"), (5, "immutable", "bool")),
    "Service": _message(_META, (2, "spec", "ServiceSpec"), (3, "status", "ServiceStatus")),
    "ServiceSpec": _message(
        (1, "ports", "[ServicePort]"), (2, "selector", "map"), (3, "clusterIP"), (4, "type"), (7, "sessionAffinity"),
        (8, "loadBalancerIP"), (10, "externalName"), (11, "externalTrafficPolicy"), (12, "healthCheckNodePort", "int"),
        (13, "publishNotReadyAddresses", "bool"),
    ),
    "ServicePort": _message(
        (1, "name"), (2, "protocol"), (3, "port", "int"), (4, "targetPort", "IntOrString"), (5, "nodePort", "int"),
    ),
    "IntOrString": _message((1, "type", "int"), (2, "intVal", "int"), (3, "strVal")),
    "ServiceStatus": _message((1, "loadBalancer", "Nothing")),
    "SelfSubjectAccessReview": _message(_META, (2, "spec", "AccessSpec"), (3, "status", "AccessStatus")),
    "AccessSpec": _message((1, "resourceAttributes", "ResourceAttributes"), (2, "nonResourceAttributes", "PathVerb")),
    "ResourceAttributes": _message(
        (1, "namespace"), (2, "verb"), (3, "group"), (4, "version"), (5, "resource"), (6, "subresource"), (7, "name"),
    ),
    "PathVerb": _message((1, "path"), (2, "verb")),
    "AccessStatus": _message((1, "allowed", "bool"), (2, "reason"), (3, "evaluationError"), (4, "denied", "bool")),
    "SelfSubjectRulesReview": _message(_META, (2, "spec", "RulesSpec"), (3, "status", "RulesStatus")),
    "RulesSpec": _message((1, "namespace")),
    "RulesStatus": _message((3, "incomplete", "bool"), (4, "evaluationError")),
    "SelfSubjectReview": _message(_META, (2, "status", "WhoStatus")),
    "WhoStatus": _message((1, "userInfo", "Nothing")),
    "Role": _message(_META, (2, "rules", "[PolicyRule]")),
    "ClusterRole": _message(_META, (2, "rules", "[PolicyRule]")),
    "PolicyRule": _message(
        (1, "verbs", "[text]"), (2, "apiGroups", "[text]"), (3, "resources", "[text]"), (4, "resourceNames", "[text]"),
        (5, "nonResourceURLs", "[text]"),
    ),
    "RoleBinding": _message(_META, (2, "subjects", "[Subject]"), (3, "roleRef", "RoleRef")),
    "ClusterRoleBinding": _message(_META, (2, "subjects", "[Subject]"), (3, "roleRef", "RoleRef")),
    "Subject": _message((1, "kind"), (2, "apiGroup"), (3, "name"), (4, "namespace")),
    "RoleRef": _message((1, "apiGroup"), (2, "kind"), (3, "name")),
    "Deployment": _message(_META, (2, "spec", "DeploymentSpec"), (3, "status", "DeploymentStatus")),
    "DeploymentStatus": _message(
        (1, "observedGeneration", "int"), (2, "replicas", "int"), (3, "updatedReplicas", "int"),
        (4, "availableReplicas", "int"), (5, "unavailableReplicas", "int"), (7, "readyReplicas", "int"),
    ),
    "DeploymentSpec": _message(
        (1, "replicas", "int"), (2, "selector", "LabelSelector"), (3, "template", "PodTemplate"),
        (4, "strategy", "Strategy"), (5, "minReadySeconds", "int"), (6, "revisionHistoryLimit", "int"),
        (7, "paused", "bool"), (9, "progressDeadlineSeconds", "int"),
    ),
    "Strategy": _message((1, "type")),
    "LabelSelector": _message((1, "matchLabels", "map")),
    "PodTemplate": _message(_META, (2, "spec", "PodSpec")),
    "PodSpec": _message(
        (2, "containers", "[Container]"), (3, "restartPolicy"), (6, "dnsPolicy"), (8, "serviceAccountName"),
        (9, "serviceAccount"), (10, "nodeName"), (11, "hostNetwork", "bool"), (12, "hostPID", "bool"),
        (13, "hostIPC", "bool"), (16, "hostname"), (17, "subdomain"), (19, "schedulerName"),
        (24, "priorityClassName"),
    ),
    "Container": _message(
        (1, "name"), (2, "image"), (3, "command", "[text]"), (4, "args", "[text]"), (5, "workingDir"),
        (6, "ports", "[ContainerPort]"), (7, "env", "[EnvVar]"), (8, "resources", "Nothing"),
        (13, "terminationMessagePath"), (14, "imagePullPolicy"), (16, "stdin", "bool"), (17, "stdinOnce", "bool"),
        (18, "tty", "bool"), (20, "terminationMessagePolicy"),
    ),
    "ContainerPort": _message(
        (1, "name"), (2, "hostPort", "int"), (3, "containerPort", "int"), (4, "protocol"), (5, "hostIP"),
    ),
    "EnvVar": _message((1, "name"), (2, "value")),
}  # fmt: skip


def from_protobuf(body: bytes) -> Obj:
    """The object that BODY holds, as its JSON would read.

    Raises Refused: 400 when it is no protobuf of Kubernetes, 501 for a message or field that is not known here.
    """
    if not body.startswith(_MAGIC):
        raise bad_request("the body is not in Kubernetes' protobuf: its first bytes are not k8s\\0")
    try:
        envelope = _decoded("Unknown", body[len(_MAGIC) :])
        said = envelope.get("typeMeta", {})
        kind = said.get("kind", "")
        if kind not in _MESSAGES:
            raise not_implemented(f"{kind} in protobuf: send JSON, as kubectl apply does")
        return {**said, **_decoded(kind, base64.b64decode(envelope.get("raw", "")))}
    except (IndexError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is not in Kubernetes' protobuf: {error}") from None


def _decoded(message: str, data: bytes) -> Obj:
    fields, made = _MESSAGES[message], Obj()
    for number, raw in _wire(data):
        field = fields.get(number)
        if field is None:
            if raw:
                raise not_implemented(f"field {number} of {message} in protobuf: send JSON, as kubectl apply does")
            continue
        if field.kind in ("map", "bytesmap"):
            made.setdefault(field.name, {}).update(_entry(field.kind, _raw_bytes(raw)))
            continue
        value = _value(field.kind, raw)
        if field.many:
            made.setdefault(field.name, []).append(value)
        elif value not in ("", 0, False, {}) or field.name == "replicas":
            # a pointer in Go: where it is written at all, 0 means 0
            made[field.name] = value
    return made


def _value(kind: str, raw: int | bytes) -> Any:
    if kind in ("int", "bool"):
        number = int(raw) if isinstance(raw, int) else 0
        return bool(number) if kind == "bool" else number - (1 << 64 if number >> 63 else 0)
    data = _raw_bytes(raw)
    match kind:
        case "text":
            return data.decode()
        case "bytes":
            return base64.b64encode(data).decode()
    made = _decoded(kind, data)
    return made.get("strVal", made.get("intVal", 0)) if kind == "IntOrString" else made


def _entry(kind: str, data: bytes) -> dict[str, str]:
    parts = {number: _raw_bytes(raw) for number, raw in _wire(data)}
    value = parts.get(2, b"")
    return {parts.get(1, b"").decode(): value.decode() if kind == "map" else base64.b64encode(value).decode()}


def _raw_bytes(raw: int | bytes) -> bytes:
    return raw if isinstance(raw, bytes) else b""


def _wire(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field's number and its varint or bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            number, at = _varint(data, at)
            yield tag >> 3, number
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise IndexError("it ends within a field")
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            raise IndexError(f"wire type {tag & 7} is not used by Kubernetes")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return number, at + 1
        at, shift = at + 1, shift + 7
