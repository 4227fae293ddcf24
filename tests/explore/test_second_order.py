"""Second order: calls that nobody makes until another one fails."""

from __future__ import annotations

from graphs import PAGE, edge, site

from chaosmesh_ext.explore.plan import Given, second_order
from chaosmesh_ext.explore.selection import selection
from chaosmesh_ext.model import Answer, Cell, Graph, Injected, Span, Trace, Workload

GRAPH = Graph.of(
    [site("gateway → shop", url=PAGE), site("shop-v1 → prices", "GET /prices", url=PAGE)],
)
ABORT = Injected("abort", "prices", ("shop-v1",), status=507, carrier="envoyfilter")
DELAY = Injected("delay", "prices", ("shop-v1",), delay=12.0, carrier="envoyfilter")


def request(number: int, *calls: tuple[str, str, float], shop: str = "v1"):
    """A request whose shop makes CALLS: (edge, flags, start in seconds)."""
    trace_id = f"{number:032x}"

    def span(at, kind, who, start, parent, peer="", flags=""):
        service, _, version = who.partition("-")
        return Span(
            trace_id,
            f"{at:016x}",
            parent,
            kind,
            "x",
            1_000.0 + start,
            0.01,
            Workload(service, version),
            peer,
            "GET",
            f"http://{peer}/{peer}",
            200,
            None,
            frozenset(filter(None, [flags])),
        )

    spans = [span(1, "SERVER", "gateway", 0, ""), span(2, "CLIENT", "gateway", 0, f"{1:016x}", "shop")]
    spans.append(span(3, "SERVER", f"shop-{shop}", 0, f"{2:016x}"))
    for at, (called, flags, start) in enumerate(calls):
        source, _, peer = called.partition(" → ")
        spans.append(span(10 + at, "CLIENT", source, start, f"{3:016x}", peer, flags))
    return Answer(trace_id, PAGE, 1_000.0, 0.1, 200), Trace(trace_id, tuple(spans))


def cell(number: str, injected, *requests) -> Cell:
    return Cell(number, injected, tuple(a for a, _ in requests), {trace.trace_id: trace for _, trace in requests})


CONTROL = cell("0", None, request(1, ("shop-v1 → prices", "", 0.01)))


def waves(*cells, **more):
    return second_order(GRAPH, CONTROL, cells, delay=12.0, status=507, wave=3, cell=5, **more)


FALLS_BACK = cell("2", ABORT, request(2, ("shop-v1 → prices", "FI", 0.01), ("shop-v1 → cache", "", 0.02)))


def test_a_call_that_appears_once_another_is_faulted_is_faulted_too_while_that_fault_is_in():
    made = waves(FALLS_BACK)
    assert [(wave.number, wave.name, wave.stateful) for wave in made] == [
        (3, "second-order delay", False),
        (4, "second-order abort", False),
    ]
    cells = [each for wave in made for each in wave.cells]
    assert [(each.number, each.edge, each.delay, each.status) for each in cells] == [
        (5, edge("shop-v1 → cache"), 12.0, 0),
        (6, edge("shop-v1 → cache"), 0.0, 507),
    ]
    assert {each.given for each in cells} == {Given(edge("shop-v1 → prices"), status=507)}
    assert {each.urls for each in cells} == {(PAGE,)}


def test_nothing_new_needs_no_wave():
    retried = cell("2", ABORT, request(2, ("shop-v1 → prices", "FI", 0.01), ("shop-v1 → prices", "FI", 0.02)))
    assert waves(retried) == ()


def test_the_fault_that_stays_in_is_the_quicker_one():
    slow = cell("1", DELAY, request(3, ("shop-v1 → prices", "DI", 0.01), ("shop-v1 → cache", "", 2.0)))
    assert {each.given.status for wave in waves(slow, FALLS_BACK) for each in wave.cells} == {507}
    assert {each.given.delay for wave in waves(slow) for each in wave.cells} == {12.0}


def test_a_call_before_the_fault_is_not_its_doing():
    assert waves(cell("2", ABORT, request(2, ("shop-v1 → cache", "", 0.0), ("shop-v1 → prices", "FI", 0.01)))) == ()


def test_a_request_that_did_not_meet_the_fault_brings_nothing_out():
    assert waves(cell("2", ABORT, request(2, ("shop-v1 → prices", "", 0.01), ("shop-v1 → cache", "", 0.02)))) == ()


def test_a_version_that_the_control_missed_is_no_second_order():
    """Three requests to three versions miss one of them in 30 % of cases."""
    missed = cell("2", ABORT, request(2, ("shop-v1 → prices", "FI", 0.01), ("shop-v2 → cache", "", 0.02)))
    assert waves(missed) == ()


def test_what_an_unknown_service_calls_is_new_as_well():
    new = (("shop-v1 → prices", "FI", 0.01), ("shop-v1 → cache", "", 0.02), ("cache-v1 → disk", "", 0.03))
    made = waves(cell("2", ABORT, request(2, *new)))
    assert [str(each.edge) for each in made[0].cells] == ["cache-v1 → disk", "shop-v1 → cache"]


def test_what_is_left_out_stays_out():
    assert waves(FALLS_BACK, chosen=selection([], ["edge=*:cache"])) == ()
    assert len(waves(FALLS_BACK, chosen=selection(["rule=timeout"]))) == 1


def test_a_healthy_call_that_the_graph_leaves_out_is_no_second_order():
    """Where healthy calls fail already, no fault is put: not even since another call's fault was in."""
    control = cell("0", None, request(1, ("shop-v1 → prices", "", 0.01), ("shop-v1 → cache", "UH", 0.02)))
    assert second_order(GRAPH, control, [FALLS_BACK], delay=12.0, status=507, wave=3, cell=5) == ()
    assert waves(FALLS_BACK)
