"""Faults and markers in Istio's and Envoy's words, as tests write them by hand."""

from __future__ import annotations

import random
from typing import Any

__all__ = ["FAULT", "abort", "fixed_delay", "http_abort", "http_delay", "http_fault", "marked", "marker"]

FAULT = "envoy.filters.http.fault"


def http_fault(**settings: Any) -> dict[str, Any]:
    """The fault filter's settings in Envoy's words, for an EnvoyFilter."""
    return {FAULT: {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault", **settings}}


def http_abort(status: int) -> dict[str, Any]:
    return {"abort": {"http_status": status, "percentage": {"numerator": 100}}}


def http_delay(length: str) -> dict[str, Any]:
    return {"delay": {"fixed_delay": length, "percentage": {"numerator": 100}}}


def marker(value: str) -> dict[str, Any]:
    """A header condition that finds a marker anywhere in tracestate."""
    return {"name": "tracestate", "string_match": {"safe_regex": {"regex": f"(.*,)?[ ]*chaosmesh={value}([,; ].*)?"}}}


def marked(value: str) -> dict[str, str]:
    """The headers of a request that carries a marker among other vendors' entries."""
    parent = f"00-{random.randbytes(16).hex()}-{random.randbytes(8).hex()}-01"
    return {"traceparent": parent, "tracestate": f"foo=1,chaosmesh={value}", "x-client-trace-id": value}


def fixed_delay(text: str, percent: float = 100) -> dict[str, Any]:
    return {"delay": {"fixedDelay": text, "percentage": {"value": percent}}}


def abort(status: int, percent: float = 100) -> dict[str, Any]:
    return {"abort": {"httpStatus": status, "percentage": {"value": percent}}}
