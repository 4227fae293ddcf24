import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Injected


@pytest.mark.parametrize("flags", ["DI,DC", "DI,DR"])
def test_a_caller_that_hangs_up_by_its_own_clock_has_a_timeout(world, found, flags):
    """HTTP/1 leaves DC, HTTP/2 and gRPC leave DR; both are a caller that left."""
    cell = world.cell("1", world.delay(), [world.gives_up(d, flags) for d in (3.002, 3.004, 3.009)])
    [finding] = found(judge(world.control(), [cell]), "timeout")
    assert finding.value == pytest.approx(3.004, abs=0.001)
    assert (finding.source, finding.destination, finding.operation) == ("productpage", "details", "GET /details/{id}")
    assert (finding.who, finding.kind, finding.condition, finding.severity) == ("application", "call", "slow", "info")
    assert finding.summary == "productpage gives up on details after 3.0 s (3 calls, one attempt each)."
    assert {proof.cell for proof in finding.evidence} == {"1"}


def test_the_median_call_is_the_first_evidence(world, found):
    pairs = [world.gives_up(d) for d in (3.0, 3.05, 3.02)]
    [finding] = found(judge(world.control(), [world.cell("1", world.delay(), pairs)]), "timeout")
    assert finding.evidence[0].trace_id == pairs[2][0].trace_id


def test_a_caller_that_went_on_after_its_own_caller_left_has_a_timeout(world, found):
    """The page's user left after 1 s; the page gave up on details at 3 s: that was the page's clock."""
    pairs = [world.gives_up(3.0, page_flags="DC", page_end=1.0) for _ in range(3)]
    assert found(judge(world.control(), [world.cell("1", world.delay(), pairs)]), "timeout")


def test_a_call_that_ends_when_the_callers_caller_leaves_says_nothing(world, found, reasons):
    pairs = [world.gives_up(2.0, page_flags="DC", page_end=2.006) for _ in range(4)]
    judgement = judge(world.control(), [world.cell("1", world.delay(), pairs)])
    assert not found(judgement, "timeout")
    assert reasons(judgement, "timeout") == ["inconclusive: ended when the caller's own caller left (4 calls)"]


def test_a_caller_that_is_known_to_go_on_without_its_caller_was_ended_by_its_own_clock(world, found):
    """Once its user had left a second before, and it went on: so a user who leaves at the same time ends nothing."""
    pairs = [world.gives_up(2.0, page_flags="DC", page_end=at) for at in (2.006, 2.006, 2.006, 1.0, 1.0)]
    [finding] = found(judge(world.control(), [world.cell("1", world.delay(), pairs)]), "timeout")
    assert finding.value == pytest.approx(2.0)
    assert "(5 calls" in finding.summary


def test_a_caller_that_had_answered_before_it_dropped_the_call_says_nothing(world, found, reasons):
    pairs = [world.gives_up(2.0, page_end=1.0) for _ in range(4)]
    judgement = judge(world.control(), [world.cell("1", world.delay(), pairs)])
    assert not found(judgement, "timeout")
    assert "had answered" in reasons(judgement, "timeout")[0]


def test_two_calls_are_too_few(world, found, reasons):
    cell = world.cell("1", world.delay(), [world.gives_up() for _ in range(2)])
    judgement = judge(world.control(), [cell])
    assert not found(judgement, "timeout")
    assert reasons(judgement, "timeout")[0].startswith("too few calls: 2")


def test_three_calls_of_one_request_are_one_request_too_few(world, found, reasons):
    pair = world.attempts([(0.004 + 3.005 * i, 3.0, "DI,DC", 0) for i in range(3)])
    judgement = judge(world.control(), [world.cell("1", world.delay(), [pair])])
    assert not found(judgement, "timeout")
    assert "2 requests are needed" in reasons(judgement, "timeout")[0]


def test_times_that_do_not_agree_are_no_timeout(world, found, reasons):
    cell = world.cell("1", world.delay(), [world.gives_up(d) for d in (1.0, 2.0, 3.0)])
    judgement = judge(world.control(), [cell])
    assert not found(judgement, "timeout")
    assert reasons(judgement, "timeout") == [
        "inconclusive: given up after 1.0 s to 3.0 s, no single timeout explains it"
    ]


def test_one_call_in_five_may_be_ended_late(world, found):
    """A busy machine looks at its clock when it gets to it."""
    late = [world.gives_up(d) for d in (1.0, 1.001, 1.002, 1.003, 1.2)]
    [finding] = found(judge(world.control(), [world.cell("1", world.delay(), late)]), "timeout")
    assert (finding.value, finding.confidence) == (1.002, 0.71)
    assert not found(judge(world.control(), [world.cell("1", world.delay(), late[1:])]), "timeout")


def test_a_call_given_up_at_the_injected_delay_itself_asks_for_a_longer_one(world, reasons):
    cell = world.cell("1", world.delay(3.0), [world.gives_up(2.99) for _ in range(3)])
    assert "inject a longer one" in reasons(judge(world.control(), [cell]), "timeout")[0]


def test_a_deadline_of_the_whole_request_is_told_from_a_timeout_of_the_call(world, found):
    """The calls begin at different times and end together, counted from the request's start."""
    pairs = [world.attempts([(s, 3.0 - s, "DI,DC", 0)]) for s in (0.1, 0.5, 0.9)]
    [finding] = found(judge(world.control(), [world.cell("1", world.delay(), pairs)]), "timeout")
    assert finding.kind == "request deadline"
    assert finding.value == pytest.approx(2.998, abs=0.002)


def test_a_deadline_shows_over_the_callers_other_calls(world, found):
    """Each call agrees with itself; only together do they show that the request has one deadline."""
    details = [world.attempts([(0.004, 2.998, "DI,DC", 0)]) for _ in range(3)]
    reviews = []
    for _ in range(3):
        r = world.request()
        page = r.server("productpage-v1", 0, 3.1)
        r.call("productpage-v1", "details", 0.004, 1.0, page)
        r.call("productpage-v1", "reviews", 1.010, 1.990, page, status=0, flags="DI,DC")
        reviews.append((r, world.answer(r, 3.1, sections=("Book Details",))))
    cells = [world.cell("1", world.delay(), details), world.cell("2", world.delay(destination="reviews"), reviews)]
    timeouts = found(judge(world.control(), cells), "timeout")
    assert {(f.destination, f.kind) for f in timeouts} == {
        ("details", "request deadline"),
        ("reviews", "request deadline"),
    }


def test_a_sidecars_timeout_behind_a_delay_is_the_sidecars(world, found):
    """Envoy times what is left after its own delay: 0.5 s + a timeout of 1 s ends at 1.5 s with DI,UT."""
    pairs = [world.attempts([(0.004, 1.502, "DI,UT", 504)]) for _ in range(3)]
    [finding] = found(judge(world.control(), [world.cell("1", world.delay(0.5), pairs)]), "timeout")
    assert (finding.who, finding.value) == ("sidecar", pytest.approx(1.002, abs=0.001))


def test_a_sidecars_timeout_is_seen_with_the_delay_at_the_callees_side(world, found):
    pairs = []
    for _ in range(3):
        r, answer = world.attempts([(0.004, 1.001, "UT", 504)])
        c = next(span for span in r.spans if span.peer == "details")
        r.server("details-v1", 0.005, 1.0, c, flags="DI,DC", status=0)
        pairs.append((r, answer))
    [finding] = found(judge(world.control(), [world.cell("1", world.delay(), pairs)]), "timeout")
    assert (finding.who, finding.value) == ("sidecar", pytest.approx(1.001, abs=0.001))


def held_at_the_gateway(world, *, went_on, flags="DI", duration=7.04, **facts):
    """Three requests that a delay of 7 s held back inside the gateway; those that WENT_ON have its CLIENT span, too."""
    pairs = []
    for _ in range(3):
        r = world.request()
        gateway = r.server("gateway-latest", 0, duration, url="http://gateway/productpage", flags=flags)
        if went_on:
            out = r.call("gateway-latest", "productpage", 7.0, 0.038, gateway, url="http://gateway/productpage")
            r.server("productpage-v1", 7.001, 0.036, out)
        pairs.append((r, world.answer(r, 7.05)))
    fault = Injected("delay", "productpage", ("gateway-latest",), delay=7.0, **facts)
    return judge(world.control(), [world.cell("1", fault, pairs)])


@pytest.mark.parametrize("went_on", [False, True])
def test_a_delay_inside_a_gateway_is_no_proof_about_its_timeout(world, reasons, went_on):
    """Envoy's fault filter runs before the router: its own timeout never sees the delay."""
    judgement = held_at_the_gateway(world, went_on=went_on)
    assert not judgement.findings
    assert judgement.coverage.tested == 1
    assert "inside the gateway" in reasons(judgement, "missing-timeout")[0]


def test_a_gateway_whose_routes_have_no_timeout_waits(world, found):
    [finding] = found(held_at_the_gateway(world, went_on=True, timeouts=(0.0,)), "missing-timeout")
    assert (finding.source, finding.destination, finding.value) == ("gateway", "productpage", 7.0)
    assert (finding.kind, finding.fix, finding.severity) == ("gateway", None, "warning")
    assert "none of its routes there has a timeout" in finding.summary


def test_a_gateway_whose_routes_have_a_timeout_is_no_finding(world, reasons):
    judgement = held_at_the_gateway(world, went_on=True, timeouts=(0.0, 5.0))
    assert not judgement.findings
    assert "its routes have a timeout of 5.0 s" in reasons(judgement, "missing-timeout")[0]


def test_a_request_that_its_own_client_gave_up_at_the_gateway_says_nothing(world, found):
    judgement = held_at_the_gateway(world, went_on=False, flags="DI,DC", duration=2.0, timeouts=(0.0,))
    assert found(judgement, "timeout") == found(judgement, "missing-timeout") == []


def test_a_caller_whose_server_span_is_missing_says_nothing(world, found, reasons):
    pairs = [world.gives_up() for _ in range(3)]
    for r, _ in pairs:
        r.spans = [s for s in r.spans if not (s.kind == "SERVER" and s.workload.service == "productpage")]
    judgement = judge(world.control(), [world.cell("1", world.delay(), pairs)])
    assert not found(judgement, "timeout")
    assert reasons(judgement, "timeout") == ["trace incomplete: the caller's server span is missing (3 calls)"]
