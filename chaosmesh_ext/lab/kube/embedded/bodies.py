"""What comes in: a request's body as an object, a patch, or options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import yaml

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.deletion import DeleteOptions
from chaosmesh_ext.lab.kube.embedded.json_patch import json_patch, merge_patch
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.protobuf import MEDIA_TYPE, from_protobuf
from chaosmesh_ext.lab.kube.embedded.refusals import Cause, bad_request, invalid, unsupported_media_type
from chaosmesh_ext.lab.kube.embedded.strategic_patch import strategic_merge_patch

__all__ = ["as_kind", "decoded", "delete_options", "dry_run", "flag", "patcher"]

_OBJECTS = ("application/json", "application/yaml")
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"


def decoded(body: bytes, content_type: str) -> Any:
    """The value that BODY holds, in JSON, YAML or Kubernetes' protobuf; without a content type JSON is assumed.

    Raises Refused: 400 when it does not hold one, 415 for other content types, 501 for unknown protobuf messages.
    """
    media = content_type.partition(";")[0].strip().lower() or _OBJECTS[0]
    if media == MEDIA_TYPE:
        return from_protobuf(body)
    if media not in _OBJECTS:
        raise unsupported_media_type(_OBJECTS)
    if media == _OBJECTS[1]:
        try:
            return yaml.safe_load(body)
        except yaml.YAMLError as error:
            raise bad_request(f"error decoding YAML: {' '.join(str(error).split())}") from None
    return _json(body)


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None


def as_kind(kind: Kind, version: str, body: Any) -> Obj:
    """BODY as an object of KIND in VERSION.

    Built-in kinds may leave out apiVersion and kind, as a real server lets them; custom ones may not. Raises Refused
    (400) when BODY is something else.
    """
    if not isinstance(body, dict):
        raise bad_request(f"{kind.name} in version {version!r} cannot be handled: the body is not an object")
    wanted = kind.api_version_of(version)
    said, name = body.get("apiVersion"), body.get("kind")
    if kind.custom and not name:
        raise bad_request(f"Object 'Kind' is missing in '{msgspec.json.encode(body)[:200].decode(errors='replace')}'")
    if (said or wanted) != wanted:
        raise bad_request(f"the API version in the data ({said}) does not match the expected API version ({wanted})")
    if (name or kind.name) != kind.name:
        raise bad_request(f"the kind in the data ({name}) does not match the expected kind ({kind.name})")
    return {**body, "metadata": body.get("metadata") or {}}


def patcher(kind: Kind, body: bytes, content_type: str) -> Callable[[Obj], Any]:
    """What BODY makes of an object, by the kind of patch that CONTENT_TYPE names.

    Raises Refused: 415 for a kind of patch that KIND has not, 400 for a body that is no patch.
    """
    media = content_type.partition(";")[0].strip().lower()
    accepted = (_JSON_PATCH, _MERGE_PATCH) if kind.custom else (_JSON_PATCH, _MERGE_PATCH, _STRATEGIC)
    if media not in accepted:
        raise unsupported_media_type(accepted)
    patch = _json(body)
    if media == _JSON_PATCH:
        return partial(json_patch, operations=patch)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}")
    if media == _MERGE_PATCH:
        return partial(merge_patch, patch=patch)
    return lambda obj: strategic_merge_patch(kind.name, obj, patch)


def flag(query: Mapping[str, str], name: str) -> bool:
    """A parameter that is true or false, read as Kubernetes reads it: present, and neither false nor 0.

    The Python client writes `True`.
    """
    return name in query and query[name].lower() not in ("false", "0")


def dry_run(query: Mapping[str, str]) -> bool:
    """Whether the write is only to be tried; raises Refused (422) for a word other than All."""
    word = query.get("dryRun", "")
    if word not in ("", "All"):
        causes = [Cause.unsupported("dryRun", word, ["All"])]
        raise invalid("Options", "meta.k8s.io", "", causes)
    return word == "All"


def delete_options(query: Mapping[str, str], body: bytes, content_type: str) -> DeleteOptions:
    """The DeleteOptions of a DELETE's body and query; where both speak, the body does.

    A grace period is accepted and makes no difference: the lab's programs are killed at once.
    """
    said = decoded(body, content_type) if body.strip() else {}
    if not isinstance(said, dict):
        raise bad_request("DeleteOptions is not an object")
    preconditions = said.get("preconditions") or {}
    policy = said.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if policy not in ("", "Background", "Foreground", "Orphan"):
        causes = [Cause.unsupported("propagationPolicy", str(policy), ["Background", "Foreground", "Orphan"])]
        raise invalid("DeleteOptions", "meta.k8s.io", "", causes)
    orphans = said.get("orphanDependents", flag(query, "orphanDependents"))
    tried = said.get("dryRun")
    return DeleteOptions(
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        orphan=policy == "Orphan" or bool(orphans),
        dry_run=dry_run({"dryRun": str(tried[0])} if isinstance(tried, list) and tried else query),
    )
