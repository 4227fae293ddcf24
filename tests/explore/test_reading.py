"""What healthy traces say: whether they are enough, what calls what how often, and what fails already."""

from __future__ import annotations

from spans import healthy, span, trace

from chaosmesh_ext.explore.reading import arrivals, at_gateways, entries, lacking, multiplicities, sick, sites
from chaosmesh_ext.findings.calls import calls
from chaosmesh_ext.model import Answer, Cell, Trace

URL = "http://gateway/productpage"


def control(*traces: Trace) -> Cell:
    answers = tuple(Answer(one.trace_id, URL, 0.0, 0.1, 200) for one in traces)
    return Cell("0", None, answers, {one.trace_id: one for one in traces})


def test_one_version_is_enough_after_seven_requests() -> None:
    """Two that share the requests would be told apart with 99 % probability."""
    assert lacking([healthy(number) for number in range(1, 4)]) == 4
    assert lacking([healthy(number) for number in range(1, 8)]) == 0


def test_more_versions_take_more_requests() -> None:
    """LEAST_REQUEST gives no turns: three versions seen say little of a fourth one before 17 requests."""
    some = [healthy(number, reviews=f"v{number % 3 + 1}") for number in range(1, 13)]
    assert lacking(some) == 5


def test_a_call_that_few_requests_make_is_waited_for() -> None:
    """One call in ten requests: twenty more, until there were three."""
    rare = [healthy(number) for number in range(1, 10)] + [healthy(10, reviews="v2")]
    assert lacking(rare) == 20


def test_what_is_called_is_counted_by_the_request_that_the_caller_served() -> None:
    """Half of the requests pass reviews v2, which calls ratings once for each of its own."""
    made = control(*(healthy(number, reviews="v1" if number % 2 else "v2") for number in range(1, 9)))
    urls = {answer.trace_id: URL for answer in made.answers}
    found = {(str(site.edge), site.operation): site.calls for site in sites(calls(made), made.traces, urls)}
    assert found["reviews-v2 → ratings", "GET /ratings/{id}"] == 1.0
    assert found["productpage-v1 → details", "GET /details/{id}"] == 1.0
    assert not any(edge.startswith("reviews-v1") for edge, _ in found)
    assert entries(made.traces.values()) == ("gateway",)


def test_how_often_is_told_for_each_set_of_versions() -> None:
    """A request that went by reviews v1 makes no call to ratings, and that is no change."""
    made = control(*(healthy(number, reviews="v1" if number % 2 else "v2") for number in range(1, 9)))
    urls = {answer.trace_id: URL for answer in made.answers}
    found = multiplicities(calls(made), made.traces, urls)
    assert {dict(one.passed)["reviews"] for one in found if one.site.edge.destination == "ratings"} == {"v2"}
    assert {dict(one.passed)["reviews"] for one in found if one.site.edge.destination == "details"} == {"v1", "v2"}


def test_an_edge_that_fails_already_is_left_out() -> None:
    """What a fault does could not be told from it."""

    def failing(number: int, status: int) -> Trace:
        own = {"trace": f"{number:032x}"}
        return trace(
            span(1, 0, "SERVER", "productpage-v1", 0, 0.1, **own),
            span(2, 1, "CLIENT", "productpage-v1 → details", 0.01, 0.01, status=status, **own),
            span(3, 1, "CLIENT", "productpage-v1 → reviews", 0.03, 0.01, **own),
        )

    ill = sick(calls(control(failing(1, 503), failing(2, 503), failing(3, 200))))
    assert [str(edge) for edge in ill] == ["productpage-v1 → details"]
    assert "2 of 3 healthy calls fail already (answered 503" in next(iter(ill.values()))
    assert not sick(calls(control(failing(1, 503), failing(2, 200), failing(3, 200))))


def test_somebodys_fault_is_not_taken_for_health() -> None:
    """One call with an injected fault is enough to leave the edge to its owner."""
    own = trace(
        span(1, 0, "SERVER", "productpage-v1", 0, 3.1),
        span(2, 1, "CLIENT", "productpage-v1 → details", 0.01, 3.0, flags="DI"),
    )
    ill = sick(calls(control(own, *(healthy(number) for number in range(2, 9)))))
    assert [str(edge) for edge in ill] == ["productpage-v1 → details"]
    assert "meet a fault already (flags DI" in next(iter(ill.values()))


def test_only_a_gateway_that_is_entered_by_is_taken_for_one() -> None:
    """Its upstream span tells no method (measured); an application's does."""

    def upstream(who: str, method: str) -> Trace:
        call = span(2, 1, "CLIENT", f"{who} → productpage", 0.01, 0.01)
        bare = type(call)(**{**{name: getattr(call, name) for name in call.__struct_fields__}, "method": method})
        return trace(span(1, 0, "SERVER", who, 0, 0.1), bare)

    assert [str(edge) for edge in at_gateways(calls(control(upstream("gateway", ""))))] == ["gateway → productpage"]
    assert not at_gateways(calls(control(upstream("web-v1", "GET"))))


def without(one: Trace, *kinds: tuple[str, str]) -> Trace:
    """ONE without the spans of KINDS, each a kind and a service."""
    return Trace(one.trace_id, tuple(each for each in one.spans if (each.kind, each.workload.service) not in kinds))


def test_a_call_whose_caller_reports_nothing_is_not_lost() -> None:
    """It arrived with our trace: the trace is whole, and a sidecar is silent."""
    silent = without(healthy(1, reviews="v2"), ("CLIENT", "productpage"))
    assert arrivals([silent, healthy(2)]) == {"details": 1, "reviews": 1}
    assert entries([silent]) == ("gateway",)


def test_calls_are_counted_by_requests_that_were_reported_too() -> None:
    """A sidecar that lacks some of the requests it served has not called more often."""
    some = [
        healthy(number) if number % 2 else without(healthy(number), ("SERVER", "productpage")) for number in range(8)
    ]
    made = control(*some)
    found = sites(calls(made), made.traces, dict.fromkeys(made.traces, URL))
    assert {site.calls for site in found} == {1.0}
    none = control(*(without(healthy(number), ("SERVER", "productpage")) for number in range(4)))
    found = sites(calls(none), none.traces, dict.fromkeys(none.traces, URL))
    assert {site.calls for site in found} == {1.0}
