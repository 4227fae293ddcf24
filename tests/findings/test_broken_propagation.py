import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Edge, Injected, Propagated, Workload

RULE = "broken-propagation"
PAGE = Workload("productpage", "v1")
REVIEWS = Workload("reviews", "v1")


def orphaned(source=REVIEWS, destination="ratings", counted=5):
    return Propagated(Edge(source, destination), counted=counted)


def edges(world):
    """What the control's traces hold, all with the marker."""
    gateway = Workload("gateway", "latest")
    return [
        Propagated(Edge(source, destination), counted=5, traced=5, marked=5)
        for source, destination in ((gateway, "productpage"), (PAGE, "details"), (PAGE, "reviews"))
    ]


def test_calls_that_the_mesh_counts_and_no_trace_holds_are_orphaned(world, found):
    judgement = judge(world.control(), [], [*edges(world), orphaned()])
    [finding] = found(judgement, RULE)
    assert (finding.source, finding.destination, finding.operation, finding.condition) == (
        "reviews",
        "ratings",
        "",
        None,
    )
    assert (finding.kind, finding.severity, finding.value) == ("orphaned", "warning", None)
    assert finding.summary == (
        "reviews does not pass our trace on to ratings: the mesh counted 5 calls, and our traces hold none."
    )
    assert {proof.cell for proof in finding.evidence} == {"0"}
    assert len(finding.evidence) == 3
    assert judgement.coverage.edges == 4


def test_calls_that_arrive_without_the_marker_are_unmarked(world, found):
    lost = Propagated(Edge(PAGE, "details"), counted=5, traced=5, marked=0)
    [finding] = found(judge(world.control(), [], [lost]), RULE)
    assert (finding.kind, finding.severity) == ("unmarked", "warning")
    assert finding.summary == "productpage does not pass our marker on to details: 5 calls arrived without it."


def test_some_calls_that_arrive_without_it_are_said_with_their_share(world, found):
    lost = Propagated(Edge(PAGE, "details"), counted=5, traced=5, marked=3)
    [finding] = found(judge(world.control(), [], [lost]), RULE)
    assert "2 of 5 calls arrived without it" in finding.summary


def test_another_header_that_arrives_keeps_the_edge_testable(world, found):
    """A tracer may drop tracestate and keep baggage: faults can be matched by that."""
    lost = Propagated(Edge(PAGE, "details"), counted=5, traced=5, marked=0, survives=("baggage",))
    cell = world.cell("1", world.delay(), [world.gives_up() for _ in range(3)])
    judgement = judge(world.control(), [cell], [lost])
    [finding] = found(judgement, RULE)
    assert finding.severity == "info"
    assert finding.summary.endswith("though `baggage` did arrive.")
    assert found(judgement, "timeout")


@pytest.mark.parametrize("kept", [Propagated(Edge(PAGE, "details"), 5, 5, 5), Propagated(Edge(PAGE, "details"), 9, 5)])
def test_what_arrives_or_was_not_measured_is_no_finding(world, found, kept):
    """Others' calls may be among those that the mesh counts."""
    assert not found(judge(world.control(), [], [kept]), RULE)


def test_two_calls_are_too_few(world, found, reasons):
    judgement = judge(world.control(), [], [orphaned(counted=2)])
    assert not found(judgement, RULE)
    assert reasons(judgement, RULE) == ["too few calls: 2, 3 are needed"]


def test_only_the_first_call_on_a_way_is_where_it_broke(world, found, reasons):
    below = [orphaned(Workload("ratings", "v1"), "mongodb")]
    judgement = judge(world.control(), [], [*edges(world), orphaned(), *below])
    assert [f.source for f in found(judgement, RULE)] == ["reviews"]
    assert reasons(judgement, RULE) == ["below a call on which our marker is lost: reviews-v1 → ratings"]


def test_a_service_that_one_way_still_reaches_with_the_marker_loses_it_by_itself(world, found):
    """ratings gets the marker from details, and none from reviews; on to mongodb it passes none."""
    measured = [
        orphaned(),
        Propagated(Edge(Workload("details", "v1"), "ratings"), 5, 5, 5),
        orphaned(Workload("ratings", "v1"), "mongodb"),
    ]
    assert {f.source for f in found(judge(world.control(), [], measured), RULE)} == {"reviews", "ratings"}


def test_no_other_rule_is_heard_where_the_marker_is_lost(world, found):
    """What looks like a timeout may be that of somebody else's request."""
    cells = [
        world.cell("1", world.delay(), [world.gives_up() for _ in range(3)]),
        world.cell("2", world.abort(507), [world.attempts([(0.004, 0.0005, "FI", 507)]) for _ in range(5)]),
    ]
    lost = Propagated(Edge(PAGE, "details"), counted=5, traced=5, marked=0)
    judgement = judge(world.control(), cells, [lost])
    assert {finding.rule for finding in judgement.findings} == {RULE}
    assert [(s.rule, s.reason) for s in judgement.coverage.skipped if s.edge == "productpage-v1 → details"] == [
        ("", "our marker is lost on it, so nothing else can be judged there")
    ]
    assert judgement.coverage.tested == 0
    assert {f.rule for f in judge(world.control(), cells).findings} >= {"timeout", "retry"}


def test_a_version_that_passes_the_marker_on_does_not_share_the_blame(world, found):
    """reviews-v3 passes it on, -v2 does not."""
    kept = Propagated(Edge(Workload("reviews", "v3"), "ratings"), 5, 5, 5)
    lost = orphaned(Workload("reviews", "v2"))
    assert [f.source for f in found(judge(world.control(), [], [kept, lost]), RULE)] == ["reviews-v2"]
    both = [lost, orphaned(Workload("reviews", "v3"))]
    assert [f.source for f in found(judge(world.control(), [], both), RULE)] == ["reviews"]


def test_a_stateful_cell_is_not_heard_either(world):
    cell = world.cell("1", Injected("abort", "details", ("productpage-v1",), status=503), [world.healthy()] * 3)
    lost = Propagated(Edge(PAGE, "details"), counted=5, traced=5, marked=0)
    judgement = judge(
        world.control(), [type(cell)(cell.id, cell.injected, cell.answers, cell.traces, "circuit-breaker")], [lost]
    )
    assert not [s for s in judgement.coverage.skipped if s.rule == "circuit-breaker"]
