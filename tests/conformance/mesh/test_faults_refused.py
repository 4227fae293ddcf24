"""VirtualService faults that are refused, and in which words.

The lab's own control plane says it in a condition and an Event, where istiod's webhook or the resource definition
answers the writer.
"""

from __future__ import annotations

import pytest
from refused import refused

ALWAYS = {"percentage": {"value": 100}}
SHARE = "is neither 0.0, nor in range [0.0001, 100.0]"
SHORT = "must be a valid duration greater than 1ms"


def abort(**fields):
    return {"abort": {**ALWAYS, **fields}}


def delay(**fields):
    return {"delay": {**ALWAYS, **fields}}


CASES = [
    ("fault, empty", {}, "HTTP fault injection must have an abort and/or a delay"),
    ("abort.percentage 101", abort(httpStatus=503, percentage={"value": 101}), f"percentage 101 {SHARE}"),
    ("abort.percentage -1", abort(httpStatus=503, percentage={"value": -1}), f"percentage -1 {SHARE}"),
    ("abort.percentage 0.00001", abort(httpStatus=503, percentage={"value": 1e-5}), f"percentage 1e-05 {SHARE}"),
    ("abort.httpStatus 99", abort(httpStatus=99), "HTTP status 99 is not in range 200-599"),
    ("abort.httpStatus 199", abort(httpStatus=199), "HTTP status 199 is not in range 200-599"),
    ("abort.httpStatus 601", abort(httpStatus=601), "HTTP status 601 is not in range 200-599"),
    ("abort.grpcStatus NOPE", abort(grpcStatus="NOPE"), 'gRPC status "NOPE" is not supported.'),
    ("abort.grpcStatus 14", abort(grpcStatus="14"), 'gRPC status "14" is not supported.'),
    ("abort.http2Error", abort(http2Error="CANCEL"), "HTTP/2 abort fault injection not supported yet"),
    ("delay.percentage 150", delay(fixedDelay="1s", percentage={"value": 150}), f"percentage 150 {SHARE}"),
    ("delay.fixedDelay 0s", delay(fixedDelay="0s"), SHORT),
    ("delay.fixedDelay 500us", delay(fixedDelay="500us"), SHORT),
    ("delay.fixedDelay -1s", delay(fixedDelay="-1s"), SHORT),
    ("delay.fixedDelay 1.0005s", delay(fixedDelay="1.0005s"), "only durations to ms precision are supported"),
    ("delay.exponentialDelay", delay(exponentialDelay="1s"), "exponentialDelay not supported yet"),
    (
        "a good delay and a bad abort",
        {**delay(fixedDelay="1s"), **abort(httpStatus=700)},
        "HTTP status 700 is not in range 200-599",
    ),
]


@pytest.mark.parametrize(("case", "fault", "words"), CASES, ids=[one[0] for one in CASES])
def test_it_is_refused(mesh, seen, case, fault, words):
    """{case}"""
    route = {"route": [{"destination": {"host": "reviews"}}], "fault": fault}
    text = refused(mesh, "VirtualService", "refused", {"hosts": ["reviews"], "http": [route]})
    assert text.startswith(words)
    assert mesh.flags("sleep-v1", "reviews:9080") == (200, "-")
    seen(f"refused: {text}; calls are not affected")
