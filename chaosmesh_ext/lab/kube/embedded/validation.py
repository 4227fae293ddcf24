"""What must hold of an object before it is stored: Kubernetes' rules for names, labels and a few kinds' own fields."""

from __future__ import annotations

from typing import Any

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded import metadata
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.refusals import Cause, invalid

__all__ = ["check_new", "check_update"]

_TEMPLATED = ("Deployment", "ReplicaSet")
_POD_MAY_CHANGE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")


def check_new(kind: Kind, obj: Obj) -> None:
    """Raise Refused (422) unless OBJ may be stored."""
    _raise(kind, obj, [*metadata.new(kind, obj["metadata"]), *_own_fields(kind, obj)])


def check_update(kind: Kind, old: Obj, new: Obj) -> None:
    """Raise Refused (422) unless OLD may become NEW."""
    causes = [*metadata.update(kind, old["metadata"], new["metadata"]), *_own_fields(kind, new)]
    if kind.name in _TEMPLATED and old["spec"].get("selector") != new["spec"].get("selector"):
        causes.append(Cause.invalid("spec.selector", new["spec"].get("selector"), "field is immutable"))
    if kind.name == "Pod":
        causes += _pod_update(old.get("spec") or {}, new.get("spec") or {})
    if kind.name in ("ConfigMap", "Secret") and old.get("immutable") and _content(old) != _content(new):
        causes.append(Cause.forbidden("data", "field is immutable when `immutable` is set"))
    _raise(kind, new, causes)


def _content(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key != "metadata"}


def _raise(kind: Kind, obj: Obj, causes: list[Cause]) -> None:
    if causes:
        raise invalid(kind.name, kind.group, obj["metadata"].get("name", ""), causes)


def _own_fields(kind: Kind, obj: Obj) -> list[Cause]:
    if not isinstance(obj.get("spec", {}), dict):
        return [Cause.invalid("spec", obj["spec"], "must be of type object")]
    spec = obj.get("spec") or {}
    if kind.name == "Pod":
        return _pod("spec", spec)
    if kind.name in _TEMPLATED:
        return _templated(spec)
    if kind.name == "Service" and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        return [] if spec.get("ports") else [Cause.required("spec.ports")]
    return []


def _templated(spec: Obj) -> list[Cause]:
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    if not wanted and not (spec.get("selector") or {}).get("matchExpressions"):
        return [Cause.required("spec.selector")]
    causes: list[Cause] = []
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
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
