"""What healthy requests that came at once say of the pools of sidecars, and nothing else."""

from __future__ import annotations

import msgspec
from spans import span, trace

from chaosmesh_ext.explore.crowded import with_limits
from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Answer, Cell, Trace


def request(number: int, flags: str = "", status: int = 200) -> Trace:
    """A call from web to orders that lasts a second, or is refused half a second later."""
    own = {"trace": f"{number:032x}", "url": "http://orders/orders"}
    start, length = (0.5, 0.001) if flags else (0.0, 1.0)
    return trace(
        span(1, 0, "SERVER", "web-v1", start, 1.1, **own),
        span(2, 1, "CLIENT", "web-v1 → orders", start, length, flags=flags, status=status, **own),
    )


def cell(*traces: Trace) -> Cell:
    answers = tuple(Answer(one.trace_id, "http://web/", 0.0, 1.1, 200, {}, 1) for one in traces)
    return Cell("0", None, answers, {one.trace_id: one for one in traces})


HEALTHY = [request(number) for number in range(1, 5)]
CROWDED = cell(*HEALTHY, *(request(number, "UO", 503) for number in range(5, 9)))


def test_a_pool_that_refuses_them_is_a_weakness_with_a_fix():
    (limit,) = with_limits([], CROWDED)
    assert (limit.rule, limit.severity, limit.value) == ("connection-limit", "warning", 4.0)
    assert limit.fix is not None
    strength = msgspec.structs.replace(limit, severity="info", fix=None)
    grave = msgspec.structs.replace(limit, id="other", rule="missing-fallback", severity="critical")
    assert with_limits([strength, grave], CROWDED) == (grave, limit)


def test_whatever_else_fails_in_a_crowd_is_no_finding():
    gives_up = cell(*HEALTHY, *(request(number, "DC", 0) for number in range(5, 9)))
    assert with_limits([], gives_up) == with_limits([], cell()) == ()
    known = judge(CROWDED, []).findings
    assert with_limits(known, cell()) == known
