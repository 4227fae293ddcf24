"""Request headers that an application passes on to the services it calls."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["BOOKINFO", "b3", "passed_on"]

_B3 = ("x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags")

BOOKINFO = (
    "x-request-id",
    "x-ot-span-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "traceparent",
    "tracestate",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    *_B3,
    "sw8",
    "end-user",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
)
"""What Bookinfo's applications pass on, from their published sources; no baggage, nothing else."""

_TRACE_ID = re.compile(r"[0-9a-fA-F]{16}|[0-9a-fA-F]{32}")
_SPAN_ID = re.compile(r"[0-9a-fA-F]{16}")


def passed_on(incoming: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Those of the INCOMING headers that NAMES list, as they came; INCOMING must not care for case."""
    return {name: incoming[name] for name in names if name in incoming}


def b3(incoming: Mapping[str, str]) -> dict[str, str]:
    """The B3 headers that OpenTelemetry's propagator makes of INCOMING ones, as productpage does.

    It keeps the incoming trace and span (64-bit trace ids become 128-bit ones), loses parent and flags, and turns the
    debug flag into "sampled"; without a whole B3 context it makes none, so that a mesh that traces by W3C's
    `traceparent` sees no second, contradicting context.
    """
    trace_id, span_id = incoming.get("x-b3-traceid", ""), incoming.get("x-b3-spanid", "")
    if not _TRACE_ID.fullmatch(trace_id) or not _SPAN_ID.fullmatch(span_id):
        return {}
    if int(trace_id, 16) == 0 or int(span_id, 16) == 0:
        return {}
    sampled = incoming.get("x-b3-sampled", "").lower() in {"1", "true", "d"} or incoming.get("x-b3-flags") == "1"
    return {
        "x-b3-traceid": trace_id.lower().rjust(32, "0"),
        "x-b3-spanid": span_id.lower(),
        "x-b3-sampled": "1" if sampled else "0",
    }
