"""What must hold of an object before it is stored: Kubernetes' rules for names, labels and a few kinds' own fields."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded import metadata
from chaosmesh_ext.lab.kube.embedded.decoding import go_type
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.names import config_key
from chaosmesh_ext.lab.kube.embedded.refusals import Cause, invalid, too_large_object

__all__ = ["check_new", "check_update"]

_TEMPLATED = ("Deployment", "ReplicaSet")
_POD_MAY_CHANGE = ("activeDeadlineSeconds", "tolerations")
_SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_DATA_LIMIT = 1024 * 1024
"""Bytes of a ConfigMap's or Secret's data."""
_OBJECT_LIMIT = 1536 * 1024
"""Bytes of a whole object (etcd's limit of a request)."""
_IMMUTABLE = "field is immutable"
_BLOCKING = ("FieldValueRequired", "FieldValueTypeInvalid")
_UNCHECKED = Cause.invalid(
    "<nil>",
    None,
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation",
)


def check_new(kind: Kind, obj: Obj, taken: Callable[[], Collection[str]]) -> None:
    """Raise Refused (422) unless OBJ may be stored; TAKEN tells the cluster IPs in use."""
    causes = [*metadata.new(kind, obj["metadata"]), *_own_fields(kind, obj)]
    address = obj["spec"].get("clusterIP") if kind.name == "Service" and not causes else None
    if address not in (None, "None") and address in taken():
        why = f"failed to allocate IP {address}: provided IP is already allocated"
        causes.append(Cause.invalid("spec.clusterIPs", [address], why))
    _raise(kind, obj, causes)


def check_update(kind: Kind, old: Obj, new: Obj) -> None:
    """Raise Refused (422) unless OLD may become NEW."""
    causes = metadata.update(kind, old["metadata"], new["metadata"]) + _own_fields(kind, new)
    if kind.name in _TEMPLATED and old["spec"].get("selector") != new["spec"].get("selector"):
        causes.append(Cause.invalid("spec.selector", new["spec"].get("selector"), _IMMUTABLE))
    if kind.name == "Pod":
        causes += _pod_update(old.get("spec") or {}, new.get("spec") or {})
    if kind.name in ("ConfigMap", "Secret"):
        causes += _data_update(kind, old, new)
    if kind.name == "Service" and not causes:
        causes += _service_update(old["spec"], new["spec"])
    if kind.name.endswith("RoleBinding") and old.get("roleRef") != new.get("roleRef"):
        ref = {key: (new.get("roleRef") or {}).get(key[:1].lower() + key[1:], "") for key in ("Kind", "Name")}
        group = (new.get("roleRef") or {}).get("apiGroup", "")
        causes.append(Cause.invalid("roleRef", {"APIGroup": group, **ref}, "cannot change roleRef"))
    _raise(kind, new, causes)


def _data_update(kind: Kind, old: Obj, new: Obj) -> list[Cause]:
    causes = []
    if old.get("immutable"):
        changed = [field for field in ("data", "binaryData") if old.get(field) != new.get(field)]
        changed += [] if new.get("immutable") else ["immutable"]
        causes = [Cause.forbidden(field, "field is immutable when `immutable` is set") for field in changed]
    if kind.name == "Secret" and old.get("type") != new.get("type"):
        causes.append(Cause.invalid("type", new.get("type"), _IMMUTABLE))
    return causes


def _service_update(old: Obj, new: Obj) -> list[Cause]:
    before = old.get("clusterIP")
    if not before or new["type"] == "ExternalName" or new.get("clusterIP") == before:
        return []
    return [Cause.invalid("spec.clusterIPs[0]", [new["clusterIP"]], "may not change once set")]


def _raise(kind: Kind, obj: Obj, causes: list[Cause]) -> None:
    if not causes:
        if len(msgspec.json.encode(obj)) > _OBJECT_LIMIT:
            raise too_large_object()
        return
    if kind.custom and any(cause.reason in _BLOCKING for cause in causes):
        causes = [*causes, _UNCHECKED]
    raise invalid(kind.name, kind.group, obj["metadata"].get("name", ""), causes)


def _own_fields(kind: Kind, obj: Obj) -> list[Cause]:
    if not isinstance(obj.get("spec", {}), dict):
        if kind.custom:
            return [Cause.mistyped("spec", _SCHEMA_TYPES.get(go_type(obj["spec"]), go_type(obj["spec"])), "object")]
        return [Cause.invalid("spec", obj["spec"], "must be of type object")]
    spec = obj.get("spec") or {}
    if kind.name == "Pod":
        return _pod("spec", spec)
    if kind.name == "Node":
        return _node(spec)
    if kind.name in _TEMPLATED:
        return _templated(spec)
    if kind.name == "Service":
        return _service(spec)
    if kind.name in ("ConfigMap", "Secret"):
        return _data(obj)
    if kind.name == "Lease" and spec.get("leaseDurationSeconds", 1) <= 0:
        why = "must be greater than 0"
        return [Cause.invalid("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], why)]
    return []


_SCHEMA_TYPES = {"bool": "boolean", "number": "integer"}


def _data(obj: Obj) -> list[Cause]:
    causes, size = [], 0
    for field in ("data", "binaryData"):
        for key, value in (obj.get(field) or {}).items():
            causes += [Cause.invalid(f"{field}[{key}]", key, why) for why in config_key(key)]
            size += len(value)
    return causes + ([Cause.too_long("", _DATA_LIMIT)] if size > _DATA_LIMIT else [])


def _node(spec: Obj) -> list[Cause]:
    causes = []
    for index, taint in enumerate(spec.get("taints") or []):
        field = f"metadata.taints[{index}].effect"  # a real server's word for it
        if not taint.get("effect"):
            causes.append(Cause.required(field))
        elif taint["effect"] not in _EFFECTS:
            causes.append(Cause.unsupported(field, taint["effect"], _EFFECTS))
    return causes


_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def _service(spec: Obj) -> list[Cause]:
    causes: list[Cause] = []
    if not spec.get("ports") and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        causes.append(Cause.required("spec.ports"))
    for index, port in enumerate(spec.get("ports") or []):
        for field in ("port", "targetPort"):
            number = port.get(field)
            if isinstance(number, int) and not 1 <= number <= 65535:
                why = "must be between 1 and 65535, inclusive"
                causes.append(Cause.invalid(f"spec.ports[{index}].{field}", number, why))
    if spec.get("type") not in _SERVICE_TYPES:
        causes.append(Cause.unsupported("spec.type", spec.get("type"), _SERVICE_TYPES))
    return causes


def _templated(spec: Obj) -> list[Cause]:
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    causes: list[Cause] = []
    chosen = bool(wanted or (spec.get("selector") or {}).get("matchExpressions"))
    if not chosen:
        causes.append(Cause.required("spec.selector"))
    if not chosen or any((labels or {}).get(key) != value for key, value in wanted.items()):
        why = "`selector` does not match template `labels`"
        causes.append(Cause.invalid("spec.template.metadata.labels", labels, why))
    replicas = spec.get("replicas", 1)
    if not isinstance(replicas, int) or replicas < 0:
        causes.append(Cause.invalid("spec.replicas", replicas, "must be greater than or equal to 0"))
    return causes + _pod("spec.template.spec", template.get("spec") or {})


def _pod(field: str, spec: Obj) -> list[Cause]:
    containers: Any = spec.get("containers")
    if not containers:
        return [Cause.required(f"{field}.containers")]
    if not isinstance(containers, list) or not all(isinstance(container, dict) for container in containers):
        return [Cause.invalid(f"{field}.containers", containers, "must be a list of objects")]
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, container in enumerate(containers):
        path, name = f"{field}.containers[{index}]", container.get("name")
        if not name:
            causes.append(Cause.required(f"{path}.name"))
        elif name in seen:
            causes.append(Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{path}.name"))
        seen.add(name or "")
        if not container.get("image"):
            causes.append(Cause.required(f"{path}.image"))
        for number, port in enumerate(container.get("ports") or []):
            if not port.get("containerPort"):
                causes.append(Cause.required(f"{path}.ports[{number}].containerPort"))
    return causes


def _pod_update(old: Obj, new: Obj) -> list[Cause]:
    if _fixed(old) == _fixed(new):
        return []
    why = (
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    return [Cause.forbidden("spec", why)]


def _fixed(spec: Obj) -> Obj:
    """What of a Pod's spec cannot change once it is there."""
    fixed = {key: value for key, value in spec.items() if key not in _POD_MAY_CHANGE}
    for field in ("containers", "initContainers"):
        if field in fixed:
            fixed[field] = [{key: value for key, value in one.items() if key != "image"} for one in fixed[field]]
    return fixed
