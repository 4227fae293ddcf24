"""What Istio's validation says of what an HTTPRoute does with a request, in its words."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.answers import REDIRECT_CODES
from chaosmesh_ext.lab.controlplane.embedded.policies import GRPC_CODES, is_status
from chaosmesh_ext.lab.controlplane.embedded.regex_check import wrong_regex
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Check,
    Refusal,
    boolean,
    duration,
    fields,
    integer,
    invalid,
    not_implemented,
    one_of,
    percent,
    text,
)

__all__ = [
    "conflicts",
    "direct_response",
    "fault",
    "mirror_percentage",
    "redirect",
    "redirect_match",
    "retries",
    "rewrite",
]

_LARGEST = 2**32 - 1
_MEGABYTE = 1024 * 1024
_RETRY_ON = frozenset(
    {
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    }
)
"""What Istio's validation lets through; Envoy itself ignores a word that it does not know."""


def conflicts(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    """What an HTTPRoute cannot do at once; it must do something."""
    routes = bool(value.get("route"))
    if value.get("redirect") is not None:
        if routes:
            yield invalid(field, "HTTP route cannot contain both route and redirect")
        if value.get("fault") is not None:
            yield invalid(field, "HTTP route cannot contain both fault and redirect")
        if value.get("rewrite") is not None:
            yield invalid(field, "HTTP route rule cannot contain both rewrite and redirect")
        if value.get("directResponse") is not None:
            yield invalid(field, "HTTP route rule cannot contain both direct_response and redirect")
    elif value.get("directResponse") is not None:
        if routes:
            yield invalid(field, "HTTP route cannot contain both route and direct_response")
        if value.get("fault") is not None:
            yield invalid(field, "HTTP route cannot contain both fault and direct_response")
        if value.get("rewrite") is not None:
            yield invalid(field, "HTTP route rule cannot contain both rewrite and direct_response")
    elif not routes and value.get("delegate") is None:
        yield invalid(field, "HTTP route, redirect or direct_response is required")
    if value.get("mirror") is not None and value.get("mirrors"):
        yield invalid(field, "HTTP route cannot contain both mirror and mirrors")


def _redirect_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if value.get("uri") and value.get("prefixRewrite"):
        yield invalid(field, "redirect may only specify one of uri or prefix_rewrite")
    if "port" in value and "derivePort" in value:
        yield invalid(field, "only one of derivePort, port may be given")
    if not any(value.get(name) for name in ("uri", "prefixRewrite", "authority", "scheme")) and not (
        {"port", "derivePort"} & value.keys()
    ):
        yield invalid(field, "redirect must specify URI, authority, scheme, or port")
    code = value.get("redirectCode")
    if not isinstance(code, int) or not code:
        return
    if not 300 <= code <= 399:
        yield invalid(f"{field}.redirectCode", f"{code} is not a valid redirect code, must be 3xx")
    elif code not in REDIRECT_CODES:
        words = f"{code} is none that istiod gives to Envoy, which then refuses all routes"
        yield not_implemented(f"{field}.redirectCode", f"{words}: {', '.join(map(str, REDIRECT_CODES))} are")


def _scheme(field: str, value: Any) -> Iterator[Refusal]:
    yield from text(field, value)
    if isinstance(value, str) and value not in ("", "http", "https"):
        yield invalid(field, 'invalid redirect scheme, must be "http" or "https"')


redirect = fields(
    {
        "uri": text,
        "prefixRewrite": text,
        "authority": text,
        "port": integer(0, 65535),
        "derivePort": one_of("FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"),
        "scheme": _scheme,
        "redirectCode": integer(0, _LARGEST),
    },
    also=_redirect_kind,
)
"""`redirect`."""


def redirect_match(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    """A redirect that rewrites a prefix needs matches that have one."""
    wanted = value.get("redirect")
    if not isinstance(wanted, dict) or not wanted.get("prefixRewrite"):
        return
    matches = value.get("match")
    uris = [match.get("uri") for match in matches if isinstance(match, dict)] if isinstance(matches, list) else []
    if any(isinstance(uri, dict) and "prefix" not in uri for uri in uris):
        yield invalid(f"{field}.redirect", "redirect prefix_rewrite requires all URI matches to use prefix match type")


def _status(field: str, value: Any) -> Iterator[Refusal]:
    if not isinstance(value, int) or isinstance(value, bool):
        yield invalid(field, f"a whole number is wanted, not {value!r}")
    elif not 200 <= value <= 600:
        yield invalid(field, f"HTTP status {value} is not in range 200-599")


def _body_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if len(value) > 1:
        yield invalid(field, "only one of bytes, string may be given")
    given = value.get("string", value.get("bytes"))
    if not isinstance(given, str):
        return
    try:
        size = len(base64.b64decode(given, validate=True)) if "bytes" in value else len(given.encode())
    except binascii.Error:
        yield invalid(f"{field}.bytes", "base64 is wanted")
        return
    if size > _MEGABYTE:
        words = "large direct_responses may impact control plane performance, must be less than 1MB"
        yield invalid(field, words)


direct_response = fields(
    {"status": _status, "body": fields({"string": text, "bytes": text}, also=_body_kind)}, required=["status"]
)
"""`directResponse`."""


def _rewrite_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    regex = value.get("uriRegexRewrite")
    if value.get("uri") and regex is not None:
        yield invalid(field, "rewrite may only contain one of URI or UriRegexRewrite")
    elif not value.get("uri") and regex is None and not value.get("authority"):
        words = "rewrite must specify at least one of URI, UriRegexRewrite, or authority."
        yield invalid(field, f"{words} Only one of URI or UriRegexRewrite may be specified")
    if not isinstance(regex, dict):
        return
    if not regex.get("match") or not regex.get("rewrite"):
        words = "UriRegexRewrite requires both Rewrite and Match fields to be specified"
        yield invalid(f"{field}.uriRegexRewrite", f"UriRegexRewrite has errors {words}")
    elif wrong := wrong_regex(str(regex["match"]), "HTTPRewrite.UriRegexRewrite.Match"):
        yield invalid(f"{field}.uriRegexRewrite.match", f"UriRegexRewrite has errors {wrong}")


rewrite = fields(
    {"uri": text, "authority": text, "uriRegexRewrite": fields({"match": text, "rewrite": text})}, also=_rewrite_kind
)
"""`rewrite`."""


def mirror_percentage(called: str) -> Check:
    """How much is mirrored; Istio's words call it CALLED."""

    def check(field: str, value: Any) -> Iterator[Refusal]:
        number = value.get("value", 0.0) if isinstance(value, dict) else None
        if not isinstance(number, int | float) or isinstance(number, bool) or set(value) - {"value"}:
            yield invalid(field, f"an object with a number `value` is wanted, not {value!r}")
        elif number > 100:
            yield invalid(field, f"{called} must have a max value of 100 (it has {number:f})")
        elif number < 0:
            yield invalid(field, f"{called} must have a min value of 0 (it has {number:f})")

    return check


def _retry_on(field: str, value: Any) -> Iterator[Refusal]:
    if not isinstance(value, str):
        yield from text(field, value)
        return
    for word in value.split(",") if value else ():
        if word not in _RETRY_ON and not is_status(word):
            yield invalid(field, f'"{word}" is not a valid retryOn policy')


def _retries_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    attempts = value.get("attempts", 0)
    if isinstance(attempts, int) and attempts < 0:
        yield invalid(f"{field}.attempts", "attempts cannot be negative")
    if not attempts and (value.get("retryOn") or {"perTryTimeout", "retryRemoteLocalities"} & value.keys()):
        yield invalid(field, "http retry policy configured when attempts are set to 0 (disabled)")


retries = fields(
    {
        "attempts": integer(-(2**31), 2**31 - 1),
        "perTryTimeout": duration(),
        "retryOn": _retry_on,
        "retryRemoteLocalities": boolean,
        "retryIgnorePreviousHosts": boolean,
        "backoff": duration(),
    },
    also=_retries_kind,
)
"""`retries`."""


def _abort_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    given = sorted({"httpStatus", "grpcStatus", "http2Error"} & value.keys())
    if len(given) > 1:
        yield invalid(field, f"only one of {', '.join(given)} may be given")


def _grpc_status(field: str, value: Any) -> Iterator[Refusal]:
    if value not in GRPC_CODES:
        words = f'gRPC status "{value}" is not supported. See'
        where = "https://github.com/grpc/grpc/blob/master/doc/statuscodes.md"
        yield invalid(field, f"{words} {where} for a list of supported codes, for example 'NOT_FOUND'")


def _never(words: str) -> Check:
    def check(field: str, value: Any) -> Iterator[Refusal]:  # noqa: ARG001 whatever stands there
        yield invalid(field, words)

    return check


def _fault_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if value.get("delay") is None and value.get("abort") is None:
        yield invalid(field, "HTTP fault injection must have an abort and/or a delay")


fault = fields(
    {
        "delay": fields(
            {
                "fixedDelay": duration(),
                "exponentialDelay": _never("exponentialDelay not supported yet"),
                "percentage": percent,
                "percent": integer(0, 2**31 - 1),
            }
        ),
        "abort": fields(
            {
                "httpStatus": _status,
                "grpcStatus": _grpc_status,
                "http2Error": _never("HTTP/2 abort fault injection not supported yet"),
                "percentage": percent,
            },
            also=_abort_kind,
        ),
    },
    also=_fault_kind,
)
"""`fault`; a delay or an abort that does not say what to do is taken by Istio, and does nothing."""
