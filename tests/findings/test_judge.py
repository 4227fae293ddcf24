import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosmesh_ext.findings import RULES, WHOLE_RULES, judge
from chaosmesh_ext.findings.calls import calls
from chaosmesh_ext.findings.operations import normalise
from chaosmesh_ext.model import Cell, Injected, Trace, fingerprint


def demo(world, noise=lambda: 0.0):
    """A 7 s delay, a 2 s delay and an abort on productpage → details, as the shipped experiment injects them."""
    whole = ("Book Details", "Book Reviews")
    control = world.cell("0", None, [world.healthy(noise()) for _ in range(5)])
    long = world.cell("1", world.delay(), [world.gives_up(3.004 + noise() / 4, noise=noise()) for _ in range(5)])
    short = [world.attempts([(0.004, 2.003 + noise(), "DI", 200)], sections=whole) for _ in range(5)]
    failed = [world.attempts([(0.004, 0.0005, "FI", 503)], after=0.02 + noise()) for _ in range(10)]
    return control, [long, world.cell("2", world.delay(2.0), short), world.cell("3", world.abort(), failed)]


def facts(judgement):
    return [(f.id, f.rule, f.value and round(f.value, 1), f.kind, f.severity) for f in judgement.findings]


def test_the_demos_cells_say_what_the_demo_promises(world):
    judgement = judge(*demo(world))
    assert [(f.rule, f.condition, f.source, f.destination) for f in judgement.findings] == [
        ("missing-fallback", "slow", "productpage", "details"),
        ("missing-fallback", "status", "productpage", "details"),
        ("retry", "status", "productpage", "details"),
        ("timeout", "slow", "productpage", "details"),
    ]
    assert judgement.coverage.edges == 3
    assert judgement.coverage.tested == 1
    assert {s.edge: s.reason for s in judgement.coverage.skipped} == {
        "gateway-latest → productpage": "no fault was injected on it",
        "productpage-v1 → reviews": "no fault was injected on it",
    }


def test_a_findings_id_is_the_fingerprint_of_what_it_says(world):
    for finding in judge(*demo(world)).findings:
        key = (finding.rule, finding.source, finding.destination, finding.operation, finding.condition)
        assert finding.id == fingerprint(*key)


def two_versions(world, times, versions=("v2", "v3")):
    """reviews-v2 and -v3 call ratings and give up after TIMES; -v1 does not call it."""

    def made(version, duration, flags, status, sections):
        r = world.request()
        page = r.server("productpage-v1", 0, duration + 0.1)
        c = r.call("productpage-v1", "reviews", 0.01, duration + 0.05, page)
        reviews = r.server(f"reviews-{version}", 0.012, duration + 0.04, c)
        if version != "v1":
            r.call(f"reviews-{version}", "ratings", 0.015, duration, reviews, flags=flags, status=status)
        return r, world.answer(r, duration + 0.1, sections=sections)

    whole = ("Book Reviews", "Stars")
    control = [made(v, 0.005, "", 200, whole) for v in ("v1", "v2", "v3") for _ in range(3)]
    slow = [
        made(v, t + i / 1000, "DI,DC", 0, ("Book Reviews",))
        for v, t in zip(versions, times, strict=True)
        for i in range(3)
    ]
    fault = Injected("delay", "ratings", delay=12.0)
    return judge(world.cell("0", None, control), [world.cell("1", fault, slow)])


def test_versions_that_agree_are_one_finding_under_the_services_name(world, found):
    [finding] = found(two_versions(world, (2.5, 2.51)), "timeout")
    assert finding.source == "reviews"
    assert finding.value == pytest.approx(2.506, abs=0.002)
    assert "6 calls" in finding.summary


def test_versions_that_differ_keep_their_names(world, found):
    judgement = two_versions(world, (10.0, 2.5))
    timeouts = found(judgement, "timeout")
    assert [(f.source, round(f.value or 0, 1)) for f in timeouts] == [("reviews-v2", 10.0), ("reviews-v3", 2.5)]
    assert len({f.id for f in timeouts}) == 2
    assert [f.source for f in found(judgement, "missing-fallback")] == ["reviews"]


def test_a_version_that_was_not_seen_faulted_does_not_lend_its_name(world, found):
    """What v2 does is not said of v3."""
    assert [f.source for f in found(two_versions(world, (10.0,), ("v2",)), "timeout")] == ["reviews-v2"]


def test_a_gateways_upstream_span_without_method_and_url_is_the_operation_of_its_request(world):
    """So it leaves Envoy at a gateway; its name holds the cluster's."""
    r, answer = world.healthy()
    bare = {"method": "", "url": "", "operation": "router outbound|9080||productpage.default egress"}
    r.spans = [
        msgspec.structs.replace(s, **bare) if s.kind == "CLIENT" and s.workload.service == "gateway" else s
        for s in r.spans
    ]
    [call] = [c for c in calls(world.cell("0", None, [(r, answer)])) if c.edge.destination == "productpage"]
    assert call.operation == "GET /productpage"


def test_a_missing_trace_is_coverage(world):
    pairs = [world.gives_up() for _ in range(3)]
    pairs[0][0].spans.clear()
    judgement = judge(world.control(), [world.cell("1", world.delay(), pairs)])
    reason = "the trace missing: the store lacks those of 1 of 3 requests in cell 1"
    assert reason in {s.reason for s in judgement.coverage.skipped}


def test_an_edge_that_was_injected_but_never_met_the_fault_is_told_from_one_that_was_not_injected(world):
    healthy = [world.healthy() for _ in range(3)]
    judgement = judge(world.control(), [world.cell("1", world.delay(), healthy)])
    assert judgement.coverage.tested == 0
    said = {s.edge: s.reason for s in judgement.coverage.skipped}
    assert said["productpage-v1 → details"] == "no call met the fault that was injected on it"


def test_nothing_at_all_gives_nothing(world):
    judgement = judge(Cell("0", None, (), {}), [])
    assert judgement.findings == ()
    assert judgement.coverage.edges == 0


def test_a_trace_whose_parents_go_round_in_a_circle_ends(world):
    """A store is not trusted to give a tree."""
    r, answer = world.gives_up()
    r.spans = [msgspec.structs.replace(s, parent_id=s.span_id) for s in r.spans]
    judge(world.control(), [world.cell("1", world.delay(), [(r, answer)])])


def test_every_rule_is_registered_once():
    rules = [*RULES, *WHOLE_RULES]
    assert len(rules) == len(set(rules))


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/details/0", "/details/{id}"),
        ("/api/v1/products", "/api/v1/products"),
        ("/users/3f0e1f5c-7a8b-4c6d-9e0f-112233445566/cart", "/users/{id}/cart"),
        ("/o/deadbeef01", "/o/{id}"),
        ("/deadbeefcafe", "/deadbeefcafe"),
        ("/by/me@example.com?x=1", "/by/{id}"),
        ("/on/2026-11-21", "/on/{id}"),
        ("/pkg.Service/Method", "/pkg.Service/Method"),
        ("/", "/"),
    ],
)
def test_identifiers_leave_the_operation(path, normal):
    assert normalise(path) == normal
    assert normalise(normal) == normal


relaxed = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def changed(cells, change):
    return [
        msgspec.structs.replace(
            cell, traces={key: Trace(key, tuple(change(list(trace.spans)))) for key, trace in cell.traces.items()}
        )
        for cell in cells
    ]


@relaxed
@given(seed=st.integers(0, 2**32))
def test_the_order_of_spans_and_requests_changes_nothing(new_world, seed):
    control, cells = demo(new_world())
    rng = random.Random(seed)
    shuffled = changed([control, *cells], lambda spans: rng.sample(spans, len(spans)))
    shuffled = [
        msgspec.structs.replace(cell, answers=tuple(rng.sample(cell.answers, len(cell.answers)))) for cell in shuffled
    ]
    assert judge(shuffled[0], rng.sample(shuffled[1:], 3)) == judge(control, cells)


@relaxed
@given(shift=st.integers(-10_000, 10_000_000))
def test_shifting_all_clocks_changes_nothing(new_world, shift):
    control, cells = demo(new_world())
    shifted = changed(
        [control, *cells], lambda spans: [msgspec.structs.replace(s, start=s.start + shift) for s in spans]
    )
    moved = judge(shifted[0], shifted[1:])
    assert facts(moved) == facts(judge(control, cells))
    assert moved.coverage == judge(control, cells).coverage


@relaxed
@given(scale=st.floats(0, 0.045), seed=st.integers(0, 2**32))
def test_noise_below_eps_changes_nothing(new_world, scale, seed):
    """A loaded machine stretches every healthy time a little."""
    rng = random.Random(seed)
    noisy = judge(*demo(new_world(), noise=lambda: scale * rng.random()))
    assert facts(noisy) == facts(judge(*demo(new_world())))
