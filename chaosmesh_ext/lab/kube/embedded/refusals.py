"""What the API refuses, in Kubernetes' own words: each refusal is the Status that a real API server answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import Kind

__all__ = [
    "Cause",
    "NoSuchPage",
    "Refused",
    "Undecodable",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "invalid",
    "method_not_allowed",
    "no_number",
    "no_such_path",
    "not_found",
    "not_implemented",
    "not_specified_on_update",
    "service_unavailable",
    "success",
    "too_large_body",
    "too_large_object",
    "too_large_version",
    "unprocessable",
    "unprocessable_patch",
    "unsupported_media_type",
]

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class Cause(msgspec.Struct, frozen=True):
    """One field at fault: `field` is its path, `reason` and `message` Kubernetes' own (`FieldValueInvalid`, …)."""

    reason: str
    message: str
    field: str

    @classmethod
    def invalid(cls, field: str, value: object, why: str) -> Cause:
        """FIELD holds VALUE, which may not be, because WHY."""
        shown = msgspec.json.encode(value).decode()
        return cls("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)

    @classmethod
    def required(cls, field: str, why: str = "") -> Cause:
        """FIELD is missing."""
        return cls("FieldValueRequired", f"Required value: {why}" if why else "Required value", field)

    @classmethod
    def forbidden(cls, field: str, why: str) -> Cause:
        """FIELD may not be set, or not be changed."""
        return cls("FieldValueForbidden", f"Forbidden: {why}", field)

    @classmethod
    def unsupported(cls, field: str, value: object, supported: Sequence[str]) -> Cause:
        """FIELD holds VALUE, which is none of SUPPORTED."""
        words = ", ".join(f'"{word}"' for word in supported)
        shown = msgspec.json.encode(value).decode()
        return cls("FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {words}", field)

    @classmethod
    def mistyped(cls, field: str, found: str, wanted: str) -> Cause:
        """FIELD, of a custom kind, holds a value of type FOUND."""
        why = f'Invalid value: "{found}": {field} in body must be of type {wanted}: "{found}"'
        return cls("FieldValueTypeInvalid", why, field)

    @classmethod
    def too_long(cls, field: str, limit: int) -> Cause:
        """FIELD has more than LIMIT bytes."""
        return cls("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", field)


class Refused(Exception):
    """The request is refused; `code` is the HTTP status, `reason` Kubernetes' word for it."""

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details

    def status(self) -> Obj:
        """The Status object to answer."""
        status: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        return {**status, "code": self.code}


class NoSuchPage(Refused):
    """404 in plain text: no API is served there."""

    def __init__(self) -> None:
        super().__init__(404, "", "404 page not found\n")


class Undecodable(Refused):
    """400: a body of KIND in VERSION does not decode as the Kind WANTED, because WHY."""

    def __init__(self, kind: str, version: str, wanted: str, why: str) -> None:
        super().__init__(400, "BadRequest", f'{kind} in version "{version}" cannot be handled as a {wanted}: {why}')
        self.why = why


def success(kind: Kind, name: str, uid: str) -> Obj:
    """The Status that answers a DELETE."""
    details = _about(kind.plural, kind.group, name)
    if uid:
        details["uid"] = uid
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _about(kind: str, group: str, name: str) -> Obj:
    details = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in details.items() if value}


def not_found(kind: Kind, name: str) -> Refused:
    """404: no object of this name."""
    return Refused(404, "NotFound", f'{kind.resource} "{name}" not found', _about(kind.plural, kind.group, name))


def service_unavailable(message: str) -> Refused:
    """503: nothing is behind a Service, or nothing that answers."""
    return Refused(503, "ServiceUnavailable", message)


def no_such_path() -> Refused:
    """404: nothing is served below this path."""
    return Refused(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(kind: Kind, name: str, *, ending: bool) -> Refused:
    """409: an object of this name is there; ending: it is being deleted."""
    message = f'{"object is being deleted: " if ending else ""}{kind.resource} "{name}" already exists'
    return Refused(409, "AlreadyExists", message, _about(kind.plural, kind.group, name))


def conflict(kind: Kind, name: str, why: str = MODIFIED, *, by_kind: bool = False) -> Refused:
    """409: the object is not the one that the request was made for.

    by_kind: the server names the Kind in place of the resource where a DELETE's precondition fails.
    """
    what, word = (kind.qualified, kind.name) if by_kind else (kind.resource, kind.plural)
    message = f'Operation cannot be fulfilled on {what} "{name}": {why}'
    return Refused(409, "Conflict", message, _about(word, kind.group, name))


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Refused:
    """422: the object does not pass validation; KIND and GROUP as the message names them."""
    said = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    qualified = f"{kind}.{group}" if group else kind
    details: Obj = {**_about(kind, group, name), "causes": [msgspec.to_builtins(cause) for cause in causes]}
    return Refused(422, "Invalid", f'{qualified} "{name}" is invalid: {text}', details)


def not_specified_on_update(kind: Kind, name: str) -> Refused:
    """422: a PUT of this kind must carry the resourceVersion that it was read at."""
    why = "Invalid value: 0: must be specified for an update"
    return invalid(kind.plural, kind.group, name, [Cause("FieldValueInvalid", why, "metadata.resourceVersion")])


def unprocessable(patched: object, why: str) -> Refused:
    """422: what a patch makes of an object does not decode."""
    return invalid("", "", "", [Cause.invalid("patch", msgspec.json.encode(patched).decode(), why)])


def unprocessable_patch(why: str) -> Refused:
    """422: a JSON patch that cannot be applied; a failed `test` operation is one."""
    details: Obj = {"causes": [{"reason": "UnexpectedServerResponse", "message": why}]}
    return Refused(422, "Invalid", "the server rejected our request due to an error in our request", details)


def bad_request(why: str) -> Refused:
    """400: the request makes no sense."""
    return Refused(400, "BadRequest", why)


def no_number(text: str, parser: str = "ParseInt", *, code: int = 400) -> Refused:
    """400: TEXT is not the number that a parameter or a resourceVersion is (there: 500, as a real server has it)."""
    return Refused(code, "BadRequest" if code == 400 else "", f'strconv.{parser}: parsing "{text}": invalid syntax')


def forbidden(kind: Kind, name: str, why: str, causes: Sequence[Cause] = ()) -> Refused:
    """403: not allowed, to anybody."""
    message = f'{kind.resource} "{name}" is forbidden: {why}'
    details = _about(kind.plural, kind.group, name)
    if causes:
        details["causes"] = [msgspec.to_builtins(cause) for cause in causes]
    return Refused(403, "Forbidden", message, details)


def method_not_allowed(kind: Kind | None = None) -> Refused:
    """405: the path is served, the verb is not; KIND is the custom one of the path."""
    if kind is not None:
        message = f' is not supported on resources of kind "{kind.resource}"'
        return Refused(405, "MethodNotAllowed", message, _about(kind.plural, kind.group, ""))
    return Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def expired(asked: int, oldest: int) -> Refused:
    """410: the changes since ASKED are no longer remembered; OLDEST is the first that is."""
    return Refused(410, "Expired", f"too old resource version: {asked} ({oldest})")


def too_large_body(why: str) -> Refused:
    """413: more than is taken."""
    return Refused(413, "RequestEntityTooLarge", f"Request entity too large: {why}")


def too_large_object() -> Refused:
    """500: more than etcd would take."""
    return Refused(500, "", "etcdserver: request is too large")


def unsupported_media_type(accepted: Sequence[str]) -> Refused:
    """415: the body's content type is none of ACCEPTED; none for patches of built-in kinds, where nothing is named."""
    if not accepted:
        return Refused(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    known = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {known}"
    return Refused(415, "UnsupportedMediaType", message)


def not_implemented(what: str) -> Refused:
    """501: a real API server has it, the lab's has not."""
    return Refused(501, "NotImplemented", f"the lab's Kubernetes API does not implement {what}")


def too_large_version(asked: int, current: int) -> Refused:
    """504: a resourceVersion that is still to come."""
    why = "Too large resource version"
    details: dict[str, Any] = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": why}],
        "retryAfterSeconds": 1,
    }
    return Refused(504, "Timeout", f"Timeout: {why}: {asked}, current: {current}", details)
