"""Istio's timeouts, retries, faults and header operations as Envoy's."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from chaosmesh_ext.istio.durations import duration, seconds

__all__ = [
    "FAULT_FILTER",
    "GRPC_CODES",
    "fault",
    "header_operations",
    "is_status",
    "percentage",
    "retry_policy",
    "timeouts",
]

FAULT_FILTER = "envoy.filters.http.fault"
_FAULT_TYPE = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
_PREVIOUS_HOSTS = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    },
}
_PREVIOUS_PRIORITIES = {
    "name": "envoy.retry_priorities.previous_priorities",
    "typed_config": {
        "@type": (
            "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
        ),
        "update_frequency": 2,
    },
}
_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
"""Istio's default; it names no status code, so that an application's own 503 is not retried."""

GRPC_CODES: Mapping[str, int] = {
    name: code
    for code, name in enumerate(
        (
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        )
    )
}


def timeouts(route: Mapping[str, Any]) -> dict[str, str]:
    """`timeout` and `max_grpc_timeout` of an Istio HTTPRoute; absent means none, never Envoy's 15 s."""
    length = duration(seconds(route["timeout"])) if "timeout" in route else "0s"
    return {"timeout": length, "max_grpc_timeout": length}


def retry_policy(retries: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Envoy's RetryPolicy of Istio's `retries`; None in means Istio's default, None out means no retries."""
    policy: dict[str, Any] = {
        "retry_on": _RETRY_ON,
        "num_retries": 2,
        "retry_host_predicate": [_PREVIOUS_HOSTS],
        "host_selection_retry_max_attempts": "5",
    }
    if retries is None:
        return policy
    if retries.get("attempts", 0) <= 0:
        return None
    policy["num_retries"] = retries["attempts"]
    if on := retries.get("retryOn"):
        policy["retry_on"], codes = _retry_on(on)
        if codes:
            policy["retriable_status_codes"] = codes
    if "perTryTimeout" in retries:
        policy["per_try_timeout"] = duration(seconds(retries["perTryTimeout"]))
    if retries.get("retryIgnorePreviousHosts") is False:
        del policy["retry_host_predicate"]
    if retries.get("retryRemoteLocalities"):
        policy["retry_priority"] = _PREVIOUS_PRIORITIES
    if "backoff" in retries:
        policy["retry_back_off"] = {"base_interval": duration(seconds(retries["backoff"]))}
    return policy


def is_status(word: str) -> bool:
    """Whether WORD is the number of an HTTP status that has a name."""
    return word in {str(int(status)) for status in HTTPStatus}


def _retry_on(text: str) -> tuple[str, list[int]]:
    """Istio allows statuses among the conditions; Envoy wants them apart."""
    words: list[str] = []
    codes: list[int] = []
    for part in (part.strip() for part in text.split(",")):
        if is_status(part):
            codes.append(int(part))
        elif part:
            words.append(part)
    if codes and "retriable-status-codes" not in words:
        words.append("retriable-status-codes")
    return ",".join(words), codes


def fault(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The per-route settings of Envoy's fault filter.

    A percentage that is absent affects nobody; a delay without a length and an abort without a status are none.
    """
    out: dict[str, Any] = {"@type": _FAULT_TYPE}
    delay, abort = spec.get("delay") or {}, spec.get("abort") or {}
    if "fixedDelay" in delay:
        out["delay"] = {
            "fixed_delay": duration(seconds(delay["fixedDelay"])),
            "percentage": percentage(delay.get("percentage"), delay.get("percent", 0)),
        }
    share = percentage(abort.get("percentage"), 0)
    if "grpcStatus" in abort:
        out["abort"] = {"percentage": share, "grpc_status": GRPC_CODES[abort["grpcStatus"]]}
    elif "httpStatus" in abort:
        out["abort"] = {"percentage": share, "http_status": abort["httpStatus"]}
    return out


def percentage(value: Mapping[str, Any] | None, whole: int) -> dict[str, Any]:
    """Envoy's FractionalPercent of Istio's Percent, cut off after four decimals; WHOLE percent where it is absent."""
    if value is None:
        return {"numerator": whole, "denominator": "HUNDRED"}
    return {"numerator": int(value.get("value", 0.0) * 10_000), "denominator": "MILLION"}


def header_operations(headers: Mapping[str, Any] | None) -> tuple[dict[str, list[Any]], str]:
    """Envoy's header operations of Istio's `headers`, and the authority that they set, or an empty string."""
    out: dict[str, list[Any]] = {}
    authority = ""
    for side in ("request", "response"):
        operations = (headers or {}).get(side) or {}
        changes: list[Any] = []
        for verb, action in (("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")):
            for key, value in sorted(operations.get(verb, {}).items()):
                if key.lower() in (":authority", "host") and side == "request":
                    authority = authority or value
                elif not _internal(key):
                    changes.append({"header": {"key": key, "value": value}, "append_action": action})
        if changes:
            out[f"{side}_headers_to_add"] = changes
        if removed := [key for key in operations.get("remove", []) if not _internal(key)]:
            out[f"{side}_headers_to_remove"] = removed
    return out, authority


def _internal(key: str) -> bool:
    return key.startswith(":") or key.lower() == "host"
