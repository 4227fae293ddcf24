"""What must hold of an object before it is stored: Kubernetes' rules for names, labels and a few kinds' own fields."""

from __future__ import annotations

import re
from typing import Any

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.refusals import Cause, bad_request, invalid

__all__ = ["LABEL_VALUE", "QUALIFIED_NAME", "check_new", "check_update", "decoded_metadata"]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
QUALIFIED_NAME = re.compile(rf"(?=.{{1,317}}$)({_SUBDOMAIN}/)?(?=[^/]{{1,63}}$){_NAME_PART}")
"""A label's or annotation's key."""
LABEL_VALUE = re.compile(rf"(?=.{{0,63}}$){_VALUE}")
"""A label's value."""
ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes of all keys and values of an object's annotations (Kubernetes' TotalAnnotationSizeLimitB)."""

_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_LABEL_1035_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    f"and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    f"'{_LABEL_1035}')"
)
_NAMES = {
    "subdomain": (re.compile(_SUBDOMAIN), 253, _SUBDOMAIN_RULE),
    "label": (re.compile(_LABEL), 63, _LABEL_RULE),
    "label1035": (re.compile(_LABEL_1035), 63, _LABEL_1035_RULE),
    "path": (re.compile(r"(?!\.{1,2}$)[^/%]+"), 253, "may not contain '/' or '%', nor be '.' or '..'"),
}
_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_VALUE}')"
)
_TEMPLATED = ("Deployment", "ReplicaSet")
_POD_MAY_CHANGE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")


def decoded_metadata(kind: Kind, obj: Obj) -> None:
    """Raise Refused (400) where the metadata would not decode: labels and annotations are maps of text."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise bad_request(f"{kind.name} in version {kind.version!r} cannot be handled: metadata is not an object")
    for field in ("labels", "annotations"):
        entries = metadata.get(field) or {}
        if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
            raise _cannot_unmarshal(kind, field, "map[string]string")
    for field in ("name", "generateName", "namespace", "resourceVersion", "uid"):
        if not isinstance(metadata.get(field) or "", str):
            raise _cannot_unmarshal(kind, field, "string")
    for field in ("finalizers", "ownerReferences"):
        if not isinstance(metadata.get(field) or [], list):
            raise _cannot_unmarshal(kind, field, "list")


def _cannot_unmarshal(kind: Kind, field: str, wanted: str) -> Exception:
    return bad_request(
        f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: json: cannot unmarshal '
        f"value into Go struct field ObjectMeta.metadata.{field} of type {wanted}"
    )


def check_new(kind: Kind, obj: Obj) -> None:
    """Raise Refused (422) unless OBJ may be stored."""
    _raise(kind, obj, [*_metadata(kind, obj["metadata"]), *_own_fields(kind, obj)])


def check_update(kind: Kind, old: Obj, new: Obj) -> None:
    """Raise Refused (422) unless OLD may become NEW."""
    causes = [*_metadata(kind, new["metadata"]), *_own_fields(kind, new)]
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


def _metadata(kind: Kind, metadata: Obj) -> list[Cause]:
    causes: list[Cause] = []
    name = metadata.get("name", "")
    pattern, length, rule = _NAMES[kind.names]
    if not name:
        causes.append(Cause.required("metadata.name", "name or generateName is required"))
    elif len(name) > length:
        causes.append(Cause.invalid("metadata.name", name, f"must be no more than {length} characters"))
    elif not pattern.fullmatch(name):
        causes.append(Cause.invalid("metadata.name", name, rule))
    causes += _labels("metadata.labels", metadata.get("labels") or {})
    annotations = metadata.get("annotations") or {}
    causes += [
        Cause.invalid("metadata.annotations", key, _KEY_RULE)
        for key in annotations
        if not QUALIFIED_NAME.fullmatch(key.lower())
    ]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        why = f"Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"
        causes.append(Cause("FieldValueTooLong", why, "metadata.annotations"))
    return causes


def _labels(field: str, labels: dict[str, str]) -> list[Cause]:
    causes: list[Cause] = []
    for key, value in labels.items():
        if not QUALIFIED_NAME.fullmatch(key):
            causes.append(Cause.invalid(field, key, _KEY_RULE))
        if not LABEL_VALUE.fullmatch(value):
            causes.append(Cause.invalid(field, value, _VALUE_RULE))
    return causes


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
