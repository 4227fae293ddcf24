"""Mended: what must have been seen before a pool, an ejection or a sidecar's retries are said to be gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from spans import span, trace

from chaosmesh_ext.explore.fix.mended import Seen, mended
from chaosmesh_ext.explore.fix.mending import Weak, patience
from chaosmesh_ext.explore.fix.remedies import Room, remedy
from chaosmesh_ext.faults import Connections, Outliers, Retries
from chaosmesh_ext.findings.fixes.manifests import destination_rule, virtual_service
from chaosmesh_ext.model import Answer, Cell, Coverage, Edge, Finding, Injected, Judgement, Skipped, Trace, Workload

EDGE = Edge(Workload("web", "v1"), "orders")
POOL = {"tcp": {"maxConnections": 6}, "http": {"http1MaxPendingRequests": 3, "http2MaxRequests": 6}}
EJECTION = {"consecutive5xxErrors": 18, "baseEjectionTime": "30s", "maxEjectionPercent": 100}
NO_RETRY = [{"match": [{"method": {"exact": "POST"}}], "retries": {"attempts": 0}}, {}]


def weak(rule: str, condition: str | None = "slow", value: float = 2.0) -> Weak:
    return Weak("1" * 12, rule, "warning", "web", "orders", "GET /orders", "…", value, condition)


def finding(rule: str, condition: str | None = "slow", severity: Any = "warning", summary: str = "") -> Finding:
    said = summary or f"{rule}."
    return Finding("2" * 12, rule, condition, severity, "web", "orders", "GET /orders", 1.0, "", said, "", 0.8, ())


def judged(*findings: Finding, skipped: tuple[Skipped, ...] = ()) -> Judgement:
    return Judgement(findings, Coverage(1, 1, skipped))


def request(number: int, *arrivals: str, flags: str = "", child: str = "", length: float = 0.1) -> Trace:
    """One call from web to orders, which arrives as often as told, each time with such flags, and calls stock."""
    own = {"trace": f"{number:032x}", "url": "http://orders/orders"}
    spans = [
        span(1, 0, "SERVER", "web-v1", number, 1.0, **own),
        span(2, 1, "CLIENT", "web-v1 → orders", number, length, flags=flags, **own),
    ]
    for at, flag in enumerate(arrivals):
        spans.append(span(10 + at, 2, "SERVER", "orders-v1", number, 0.1, flags=flag, **own))
        if child:
            spans.append(span(20 + at, 10 + at, "CLIENT", "orders-v1 → stock", number, 0.1, flags=child, **own))
    return trace(*spans)


def seen(judgement: Judgement, traces: Sequence[Trace] = (), healthy: Sequence[Trace] | None = None) -> Seen:
    def cell(number: str, those: Sequence[Trace]) -> Cell:
        answers = tuple(Answer(one.trace_id, "/", float(int(one.trace_id, 16)), 0.1, 200) for one in those)
        return Cell(number, Injected("abort", "orders"), answers, {one.trace_id: one for one in those})

    control = [request(90, "")] if healthy is None else healthy
    return Seen(judgement, cell("0", control), (cell("1", traces),))


def outcome(rule: str, after: Seen, *, condition: str | None = "slow", value: float = 2.0) -> tuple[str, str, str]:
    before = seen(judged(finding(rule, condition)))
    found = mended(weak(rule, condition, value), before, after, [EDGE])
    return found.outcome, found.after, found.why


REACHED = [request(number, *(["FI"] * 9)) for number in (1, 2)]
REFUSED = [request(number, flags="UH") for number in (3, 4, 5)]


def test_an_ejection_is_seen_in_three_requests_that_do_not_reach_the_callee():
    found, shown, _ = outcome("retry-amplification", seen(judged(), [*REACHED, *REFUSED]), condition="status")
    assert found == "gone"
    assert "web-v1 reaches orders 18 times in 2 requests that fail, and in none of the next 3" in shown
    # the rule still finds what came before the ejection
    amplified = judged(finding("retry-amplification", "status"))
    assert outcome("retry-amplification", seen(amplified, [*REACHED, *REFUSED]), condition="status")[0] == "gone"


@pytest.mark.parametrize(
    ("traces", "result"),
    [
        ([*REACHED, *REFUSED[:2]], "inconclusive"),
        ([*REACHED, request(3, *(["FI"] * 9))], "still there"),
        ([*REACHED, *REFUSED, request(6, *(["FI"] * 9))], "still there"),
        ([], "inconclusive"),
    ],
)
def test_while_the_callee_is_still_reached_it_is_not_gone(traces, result):
    assert outcome("retry-amplification", seen(judged(), traces), condition="status")[0] == result


def test_a_retry_is_gone_when_slow_requests_are_served_once():
    once = [request(number, "", child="DI") for number in (1, 2, 3)]
    assert outcome("unsafe-retry", seen(judged(), once))[0] == "gone"
    assert outcome("unsafe-retry", seen(judged(finding("unsafe-retry")), once))[0] == "still there"
    for doubtful in (once[:2], [*once, request(4, "", "", child="DI")], [request(n, "") for n in (1, 2, 3)]):
        assert outcome("unsafe-retry", seen(judged(), doubtful))[0] == "inconclusive"


def test_a_bulkhead_is_mended_when_its_limit_was_met_and_nobody_beside_suffers():
    hang = [request(number, "DI") for number in (1, 2, 3)]
    limit = finding("connection-limit", "slow", "info", "refuses.")
    calm = Skipped(str(EDGE), "nobody suffered", "bulkhead")
    found, shown, _ = outcome("bulkhead", seen(judged(limit, skipped=(calm,)), hang))
    assert (found, shown) == ("gone", "nobody suffered. refuses.")
    isolated = finding("bulkhead", severity="info", summary="isolated.")
    assert outcome("bulkhead", seen(judged(isolated, limit), hang))[:2] == ("gone", "isolated. refuses.")
    assert outcome("bulkhead", seen(judged(finding("bulkhead"), limit), hang))[0] == "still there"
    few = Skipped(str(EDGE), "too few calls: 3", "bulkhead", "calls")
    for judgement, traces in (
        (judged(isolated), hang),
        (judged(limit, skipped=(few,)), hang),
        (judged(limit), hang[:2]),
    ):
        assert outcome("bulkhead", seen(judgement, traces))[0] == "inconclusive"


def test_a_limit_is_higher_when_more_calls_are_on_their_way_and_none_is_refused():
    together = [msgspec.structs.replace(one) for one in (request(n, "", length=9.0) for n in (1, 2, 3))]
    assert outcome("connection-limit", seen(judged(), healthy=together), condition=None)[0] == "gone"
    _, _, why = outcome("connection-limit", seen(judged(), healthy=together[:2]), condition=None)
    assert "2 calls were on their way at once, and it takes more than 2" in why
    refused = judged(finding("connection-limit", None))
    assert outcome("connection-limit", seen(refused, healthy=together), condition=None)[0] == "still there"


def test_what_was_not_found_without_the_fix_cannot_have_been_mended():
    calm = seen(judged(skipped=(Skipped(str(EDGE), "nobody suffered", "bulkhead"),)))
    strength = seen(judged(finding("bulkhead", severity="info")))
    for before, why in ((calm, "web-v1 → orders: nobody suffered"), (strength, "nothing shows it")):
        found = mended(weak("bulkhead"), before, before, [EDGE])
        assert (found.outcome, found.why) == ("inconclusive", f"without the fix it was not found again: {why}")


def test_manifests_are_read_as_what_a_run_can_put_in():
    pool = destination_rule("orders", "default", "pool", {"connectionPool": POOL})
    assert remedy("bulkhead", pool).fault == Connections(6, 3, 6)
    assert remedy("connection-limit", pool).fault == Room(6, 3, 6)
    away = remedy("retry-amplification", destination_rule("o", "default", "ejection", {"outlierDetection": EJECTION}))
    assert away.fault == Outliers(18, base_ejection_time=30.0, max_ejection_percent=100)
    once = remedy("unsafe-retry", virtual_service("orders", "default", "no-retry", NO_RETRY))
    assert (once.fault, once.requests, once.match) == (Retries(0), "run", {"method": {"exact": "POST"}})


@pytest.mark.parametrize(
    ("rule", "manifest"),
    [
        ("bulkhead", {}),
        ("bulkhead", destination_rule("o", "n", "p", {"connectionPool": {**POOL, "tcp": {"maxConnections": 0}}})),
        ("bulkhead", destination_rule("o", "n", "p", {"connectionPool": {**POOL, "more": 1}})),
        ("retry-amplification", destination_rule("o", "n", "p", {"outlierDetection": {**EJECTION, "interval": "1s"}})),
        ("unsafe-retry", virtual_service("o", "n", "r", [{"match": [], "retries": {"attempts": 0}}])),
        ("unsafe-retry", virtual_service("o", "n", "r", [{**NO_RETRY[0], "retries": {"attempts": 1}}])),
        ("missing-fallback", {}),
    ],
)
def test_an_edited_fix_is_not_taken_for_ours(rule, manifest):
    assert remedy(rule, manifest) is None


def test_the_callees_callee_is_as_slow_as_it_is_sure_to_be_waited_for():
    known = [weak("missing-timeout", value=3.0), weak("timeout", value=2.5)]
    assert patience(EDGE, known) == 2.0
    assert patience(EDGE, known[:1]) == 3.0
    assert patience(EDGE, [weak("retry")]) == 12.0
