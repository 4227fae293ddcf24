"""What comes in: a request's body as an object, a patch, or options."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import yaml

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.decoding import go_type
from chaosmesh_ext.lab.kube.embedded.deletion import DeleteOptions
from chaosmesh_ext.lab.kube.embedded.json_patch import json_patch, merge_patch
from chaosmesh_ext.lab.kube.embedded.kinds import Kind, by_kind
from chaosmesh_ext.lab.kube.embedded.protobuf import MEDIA_TYPE, from_protobuf
from chaosmesh_ext.lab.kube.embedded.refusals import (
    Cause,
    Refused,
    Undecodable,
    bad_request,
    invalid,
    no_number,
    not_implemented,
    unsupported_media_type,
)
from chaosmesh_ext.lab.kube.embedded.strategic_patch import strategic_merge_patch

__all__ = ["as_kind", "as_object", "decoded", "delete_options", "dry_run", "flag", "number", "patcher"]

_OBJECTS = ("application/json", "application/yaml", MEDIA_TYPE)
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_META = "meta.k8s.io"
_POLICIES = ("Foreground", "Background", "Orphan")
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
_NO_KIND = "couldn't get version/kind; json parse error: "
_SCHEME = "pkg/runtime/scheme.go:111"
"""Where a real server's complaints of unknown kinds come from."""
_TYPE_META = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


def decoded(body: bytes, content_type: str) -> Any:
    """The value that BODY holds, in JSON, YAML or Kubernetes' protobuf; without a content type JSON is assumed.

    Raises Refused: 400 when it does not hold one, 415 for other content types, 501 for unknown protobuf messages.
    """
    media = content_type.partition(";")[0].strip().lower() or _OBJECTS[0]
    if media == MEDIA_TYPE:
        return from_protobuf(body)
    if media not in _OBJECTS:
        raise unsupported_media_type(_OBJECTS)
    if media == "application/yaml":
        try:
            return yaml.safe_load(body)
        except yaml.YAMLError as error:
            raise bad_request(f"yaml: {' '.join(str(error).split())}") from None
    try:
        return _json(body)
    except ValueError as error:
        raise bad_request(f"{_NO_KIND}{error}") from None


def _json(body: bytes) -> Any:
    """The value of a JSON document; raises ValueError in the words of Go's decoder where it ends too early."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        ended = "truncated" in str(error)
        raise ValueError("unexpected end of JSON input" if ended else str(error)) from None


def as_object(body: bytes, content_type: str) -> Obj:
    """The object that BODY holds; raises Refused as `decoded` does, and 400 for any other value."""
    value = decoded(body, content_type)
    if isinstance(value, dict):
        return value
    raise bad_request(f"{_NO_KIND}json: cannot unmarshal {go_type(value)} into Go value of type {_TYPE_META}")


def as_kind(kind: Kind, version: str, body: bytes, content_type: str) -> Obj:
    """BODY as an object of KIND in VERSION.

    Built-in kinds may leave out apiVersion and kind, as a real server lets them; custom ones may not. Raises Refused
    (400, 422) when BODY is something else, and as `decoded` does.
    """
    try:
        value = as_object(body, content_type)
        name = value.get("kind")
        if kind.custom and not name:
            raise bad_request(f"Object 'Kind' is missing in '{body.decode(errors='replace')}'")
    except Refused as refusal:
        if refusal.code != 400:
            raise
        why = f"the object provided is unrecognized (must be of type {kind.name}): {refusal} ({_shown(body)})"
        raise bad_request(why) from None
    _check_type(kind, version, value)
    return {**value, "metadata": value.get("metadata") or {}}


def _check_type(kind: Kind, version: str, value: Obj) -> None:
    wanted = kind.api_version_of(version)
    said, name = value.get("apiVersion", ""), value.get("kind") or kind.name
    if kind.custom and said == wanted and name != kind.name:
        causes = [Cause.invalid("kind", name, f"must be {kind.name}")]
        raise invalid(name, kind.group, (value.get("metadata") or {}).get("name", ""), causes)
    if not kind.custom and (said or wanted, name) != (wanted, kind.name):
        other = by_kind(name, said or wanted)
        if other is None:
            why = f'no kind "{name}" is registered for version "{said or wanted}" in scheme "{_SCHEME}"'
        else:
            into = kind.group.partition(".")[0] or "core"
            why = f"converting ({other.version}.{name}) to ({into}.{kind.name}): unknown conversion"
        raise Undecodable(name, (said or wanted).rpartition("/")[2], kind.name, why)
    if (said or ("" if kind.custom else wanted)) != wanted:
        raise bad_request(f"the API version in the data ({said}) does not match the expected API version ({wanted})")


def _shown(body: bytes, limit: int = 30) -> str:
    """The beginning of BODY, as a real server quotes it."""
    more = " ..." if len(body) > limit else ""
    if not body.startswith(b"{"):
        return f"{body[:limit].hex()}{more}" or "<empty>"
    return body[:limit].decode(errors="replace") + more


def patcher(kind: Kind, body: bytes, content_type: str) -> Callable[[Obj], Any]:
    """What BODY makes of an object, by the kind of patch that CONTENT_TYPE names.

    Raises Refused: 415 for a kind of patch that KIND has not, 400 for a body that is no patch.
    """
    media = content_type.partition(";")[0].strip().lower()
    accepted = (_JSON_PATCH, _MERGE_PATCH) if kind.custom else (_JSON_PATCH, _MERGE_PATCH, _STRATEGIC)
    if media == _APPLY:
        raise not_implemented(
            "server-side apply, which hangs on managedFields: use kubectl apply without --server-side"
        )
    if media not in accepted:
        raise unsupported_media_type((*accepted, _APPLY) if kind.custom else ())
    try:
        patch = _json(body)
    except ValueError as error:
        raise bad_request(f"{'' if media == _STRATEGIC else 'error decoding patch: '}{error}") from None
    if media == _JSON_PATCH:
        return partial(json_patch, operations=patch)
    if not isinstance(patch, dict):
        what = f"cannot unmarshal {go_type(patch)} into Go value of type map[string]interface {{}}"
        raise bad_request(f"error decoding patch: json: {what}")
    if media == _MERGE_PATCH:
        return partial(merge_patch, patch=patch)
    return lambda obj: strategic_merge_patch(kind.name, obj, patch)


def flag(query: Mapping[str, str], name: str) -> bool:
    """A parameter that is true or false, read as Kubernetes reads it: present, and neither false nor 0.

    The Python client writes `True`.
    """
    return name in query and query[name].lower() not in ("false", "0")


def dry_run(query: Mapping[str, str], options: str) -> bool:
    """Whether the write is only to be tried; raises Refused (422) for words that OPTIONS, a Kind, does not know."""
    causes = _dry_run_causes([query["dryRun"]] if query.get("dryRun") else [])
    if query.get("fieldValidation", "") not in _VALIDATIONS:
        causes.append(Cause.unsupported("fieldValidation", query["fieldValidation"], _VALIDATIONS))
    if causes:
        raise invalid(options, _META, "", causes)
    return bool(query.get("dryRun"))


def _dry_run_causes(words: list[str]) -> list[Cause]:
    return [] if words in ([], ["All"]) else [Cause.unsupported("dryRun", words, ["All"])]


def delete_options(query: Mapping[str, str], body: bytes, content_type: str) -> DeleteOptions:
    """The DeleteOptions of a DELETE's body or, where it has none, of its query."""
    said = _options_said(body, content_type) if body.strip() else _options_asked(query)
    policy, orphans = said.get("propagationPolicy"), said.get("orphanDependents")
    causes: list[Cause] = []
    if policy is not None and orphans is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(Cause.invalid("propagationPolicy", policy, why))
    if policy not in (None, *_POLICIES):
        causes.append(Cause.unsupported("propagationPolicy", policy, (*_POLICIES, "nil")))
    tried = said.get("dryRun") or []
    causes += _dry_run_causes(tried)
    if causes:
        raise invalid("DeleteOptions", _META, "", causes)
    preconditions = said.get("preconditions") or {}
    return DeleteOptions(
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        grace=said.get("gracePeriodSeconds"),
        orphan=policy == "Orphan" or bool(orphans),
        dry_run=bool(tried),
    )


def _options_said(body: bytes, content_type: str) -> Obj:
    said = as_object(body, content_type)
    name, version = said.get("kind") or "DeleteOptions", said.get("apiVersion") or "v1"
    if name != "DeleteOptions":
        raise bad_request(f'no kind "{name}" is registered for version "{version}" in scheme "{_SCHEME}"')
    return said


def _options_asked(query: Mapping[str, str]) -> Obj:
    asked: Obj = {"propagationPolicy": query.get("propagationPolicy")}
    if "orphanDependents" in query:
        asked["orphanDependents"] = flag(query, "orphanDependents")
    if query.get("dryRun"):
        asked["dryRun"] = [query["dryRun"]]
    if "gracePeriodSeconds" in query:
        asked["gracePeriodSeconds"] = number(query, "gracePeriodSeconds")
    return asked


def number(query: Mapping[str, str], name: str) -> int | None:
    """A parameter that is a number, None without; raises Refused (400) for any other text."""
    text = query.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"[+-]?\d+", text):
        raise no_number(text)
    return int(text)
