"""The OpenAPI documents: which paths can be patched and how; the lab has no schemas and claims none.

kubectl asks them whether the server takes `dryRun` and `fieldValidation` (the lab has nothing to validate fields
against, so it does not say so), and for merge keys, which it then takes from its own tables. Version 2 is asked for in
protobuf (gnostic's openapi.v2.Document); what kubectl reads of it is small.
"""

from __future__ import annotations

from collections.abc import Iterable

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import Kind, group_versions
from chaosmesh_ext.lab.varint import varint

__all__ = ["PROTOBUF_V2", "PROTOBUF_V2_ANSWER", "v2", "v2_protobuf", "v3", "v3_index"]

PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""The content type that kubectl asks version 2 in."""
PROTOBUF_V2_ANSWER = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""What it is answered in: the same without the "@", which Go's own parser of content types refuses."""

_INFO = {"title": "Kubernetes", "version": "v1.36.0"}
_PATCHES = ("application/json-patch+json", "application/merge-patch+json")
_PARAMETERS = ("dryRun", "fieldManager")


def _prefix(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _path(kind: Kind, version: str) -> str:
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    return f"/{_prefix(kind.group, version)}{scope}/{kind.plural}/{{name}}"


def _meant(kind: Kind, version: str) -> Obj:
    return {"group": kind.group, "version": version, "kind": kind.name}


def v3_index() -> Obj:
    """The document at /openapi/v3: where each group and version's is."""
    found = [_prefix(group, version) for group, version, _ in group_versions()]
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash=chaosmesh-lab"} for path in found}}


def v3(path: str) -> Obj | None:
    """The document at /openapi/v3/PATH, or None when that group and version is not served."""
    for group, version, kinds in group_versions():
        if _prefix(group, version) == path:
            paths = {_path(kind, version): {"patch": _v3_operation(kind, version)} for kind in kinds}
            return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": {}}}
    return None


def _v3_operation(kind: Kind, version: str) -> Obj:
    return {
        "operationId": f"patch{kind.name}{version}",
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in _PARAMETERS
        ],
        "requestBody": {"content": {kind_of_patch: {"schema": {"type": "object"}} for kind_of_patch in _PATCHES}},
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": _meant(kind, version),
    }


def v2() -> Obj:
    """The document at /openapi/v2, for who asks in JSON."""
    paths = {
        _path(kind, version): {
            "patch": {
                "parameters": [{"name": name, "in": "query", "type": "string"} for name in _PARAMETERS],
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-group-version-kind": _meant(kind, version),
            }
        }
        for _, version, kinds in group_versions()
        for kind in kinds
    }
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": {}}


def v2_protobuf() -> bytes:
    """The same in protobuf; field numbers are those of gnostic's openapiv2/OpenAPIv2.proto."""
    paths = [
        _message(2, _text(1, _path(kind, version)) + _message(2, _message(8, _operation(kind, version))))
        for _, version, kinds in group_versions()
        for kind in kinds
    ]
    info = _text(1, _INFO["title"]) + _text(2, _INFO["version"])
    return _text(1, "2.0") + _message(2, info) + _message(8, b"".join(paths)) + _message(9, b"")


def _operation(kind: Kind, version: str) -> bytes:
    """An Operation: parameters (8), responses (9), and the vendor extension (13) that says which kind it patches."""
    extension = "".join(f"{key}: {value!r}\n" for key, value in _meant(kind, version).items())
    named = _text(1, "x-kubernetes-group-version-kind") + _message(2, _text(2, extension))
    responses = _message(1, _text(1, "200") + _message(2, _message(1, _text(1, "OK"))))
    return (
        _joined(_message(8, _query_parameter(name)) for name in _PARAMETERS)
        + _message(9, responses)
        + _message(13, named)
    )


def _query_parameter(name: str) -> bytes:
    """ParametersItem.parameter (1) → Parameter.non_body_parameter (2) → query_parameter_sub_schema (3)."""
    schema = _text(2, "query") + _text(4, name) + _text(6, "string")
    return _message(1, _message(2, _message(3, schema)))


def _joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(parts)


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content
