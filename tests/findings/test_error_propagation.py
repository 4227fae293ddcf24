import msgspec
import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Injected

RULE = "error-propagation"


def fails(world, status, n=3, code=507, sections=(), **more):
    """Requests whose call to details is aborted with CODE, and which productpage then answers with STATUS."""
    each = [(0.004, 0.0005, "FI", code)]
    return [world.attempts(each, status=status, sections=sections, **more) for _ in range(n)]


def judged(world, pairs, code=507, control=None):
    return judge(control or world.control(), [world.cell("1", world.abort(code), pairs)])


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (507, "raw", "productpage passes on as it came what details fails with, 507 (3 requests)."),
        (502, "translated", "productpage answers 502 when details answers 507 (3 requests)."),
        (500, "translated", "productpage answers 500, as for an error of its own, when details answers 507"),
        (404, "translated", "productpage answers 404 when details answers 507"),
        (200, "absorbed", "productpage answers 200 when details answers 507: the error goes no further"),
    ],
)
def test_what_the_caller_answers_says_what_became_of_the_error(world, found, status, kind, words):
    [finding] = found(judged(world, fails(world, status)), RULE)
    assert (finding.kind, finding.severity, finding.condition, finding.value) == (kind, "info", "status", None)
    assert (finding.source, finding.destination, finding.operation) == ("productpage", "details", "GET /details/{id}")
    assert finding.summary.startswith(words)


@pytest.mark.parametrize("code", [500, 502, 503, 504, 404])
def test_a_status_that_applications_answer_of_their_own_says_nothing(world, found, reasons, code):
    """A 503 at A's caller may be B's or A's."""
    judgement = judged(world, fails(world, code, code=code), code)
    assert not found(judgement, RULE)
    assert not reasons(judgement, RULE)


def test_a_delay_says_nothing_of_errors(world, found):
    pairs = [world.gives_up(status=507, sections=()) for _ in range(3)]
    assert not found(judge(world.control(), [world.cell("1", world.delay(), pairs)]), RULE)


def test_a_retry_that_got_through_shows_no_error_to_pass_on(world, found, reasons):
    saved = [(0.0, 0.0005, "FI", 507), (0.01, 0.005, "", 200)]
    judgement = judged(world, [world.attempts(saved) for _ in range(4)])
    assert not found(judgement, RULE)
    assert not reasons(judgement, RULE)


def test_retries_that_all_fail_are_one_failure_each_request(world, found):
    tries = [(0.0, 0.0005, "FI", 507), (0.01, 0.0005, "FI", 507)]
    pairs = [world.attempts(tries, status=502, sections=()) for _ in range(3)]
    [finding] = found(judged(world, pairs), RULE)
    assert (finding.kind, finding.confidence) == ("translated", 0.8)


def test_of_many_equal_calls_each_request_is_asked_once(world, found):
    """N+1 calls: three items are fetched one by one, and all three fail."""
    each = [(i / 100, 0.0005, "FI", 507) for i in range(3)]
    [finding] = found(judged(world, [world.attempts(each, status=502, sections=()) for _ in range(3)]), RULE)
    assert "(3 requests)" in finding.summary


def test_two_requests_are_too_few(world, found, reasons):
    judgement = judged(world, fails(world, 502, n=2))
    assert not found(judgement, RULE)
    assert reasons(judgement, RULE) == ["too few calls: 2 failed and were answered, 3 are needed"]


def test_answers_that_differ_are_inconclusive(world, found, reasons):
    judgement = judged(world, fails(world, 502) + fails(world, 200))
    assert not found(judgement, RULE)
    assert reasons(judgement, RULE) == [
        "inconclusive: absorbed with 200 (3 requests) and translated with 502 (3 requests), no single answer to a failure"
    ]


def test_another_call_that_failed_too_may_be_the_reason(world, found, reasons):
    pairs = fails(world, 502)
    for r, _ in pairs:
        page = next(s for s in r.spans if s.kind == "SERVER" and s.workload.service == "productpage")
        r.call("productpage-v1", "reviews", 0.01, 0.002, page, status=503)
    judgement = judged(world, pairs)
    assert not found(judgement, RULE)
    assert "another call of the caller failed too (3 requests)" in reasons(judgement, RULE)[0]


def test_a_caller_whose_own_caller_left_answered_nobody(world, found, reasons):
    judgement = judged(world, fails(world, 0, page_flags="DC"))
    assert not found(judgement, RULE)
    assert "the caller's own caller left (3 requests)" in reasons(judgement, RULE)[0]


def test_a_caller_that_fails_in_the_control_too_is_not_judged(world, found, reasons):
    control = world.cell("0", None, [*[world.healthy() for _ in range(3)], *fails(world, 500, n=1, code=200)])
    judgement = judged(world, fails(world, 502), control=control)
    assert not found(judgement, RULE)
    assert "errors in the control too" in reasons(judgement, RULE)[0]


def test_a_gateway_that_answers_with_the_fault_itself_is_coverage(world, found, reasons):
    pairs = []
    for _ in range(3):
        r = world.request()
        r.server("gateway-latest", 0, 0.0005, url="http://gateway/productpage", flags="FI", status=507)
        pairs.append((r, world.answer(r, 0.002, status=507, sections=())))
    judgement = judge(world.control(), [world.cell("1", Injected("abort", "productpage", status=507), pairs)])
    assert not found(judgement, RULE)
    assert "inside the gateway" in reasons(judgement, RULE)[0]


def chain(world, ratings, page, n=3, version="v2", **facts):
    """reviews' call to ratings has RATINGS as (flags, status); reviews answers 200 and productpage PAGE."""
    pairs = []
    for _ in range(n):
        r = world.request()
        gateway = r.server("gateway-latest", 0, 0.06, url="http://gateway/productpage", status=page)
        out = r.call("gateway-latest", "productpage", 0.001, 0.058, gateway, status=page)
        a = r.server("productpage-v1", 0.002, 0.055, out, status=page)
        c = r.call("productpage-v1", "reviews", 0.01, 0.03, a)
        reviews = r.server(f"reviews-{version}", 0.012, 0.026, c, **facts)
        r.call(f"reviews-{version}", "ratings", 0.015, 0.001, reviews, flags=ratings[0], status=ratings[1])
        pairs.append((r, world.answer(r, 0.061, status=page, sections=("Book Reviews",) if page == 200 else ())))
    return pairs


def test_an_error_on_top_of_good_answers_is_a_bug_of_who_answers_it(world, found):
    """reviews copes with a dead ratings; productpage does not cope with reviews that lack the stars."""
    control = world.cell("0", None, chain(world, ("", 200), 200))
    fault = Injected("abort", "ratings", status=507)
    [finding] = found(judge(control, [world.cell("1", fault, chain(world, ("FI", 507), 500))]), RULE)
    assert (finding.kind, finding.severity, finding.source, finding.destination) == (
        "bug",
        "warning",
        "reviews",
        "ratings",
    )
    assert finding.summary == (
        "reviews answers 200 when ratings answers 507, and productpage-v1 then answers 500 though none of its own calls"
        " failed (3 requests)."
    )


def test_an_error_that_was_absorbed_on_the_way_is_no_bug(world, found):
    control = world.cell("0", None, chain(world, ("", 200), 200))
    fault = Injected("abort", "ratings", status=507)
    [finding] = found(judge(control, [world.cell("1", fault, chain(world, ("FI", 507), 200))]), RULE)
    assert finding.kind == "absorbed"


def test_an_error_of_the_sidecars_own_is_nobodys_bug(world, found):
    """UH, for one: Envoy found no healthy upstream."""
    control = world.cell("0", None, chain(world, ("", 200), 200))
    pairs = chain(world, ("FI", 507), 503)
    for r, _ in pairs:
        index = next(i for i, s in enumerate(r.spans) if s.kind == "SERVER" and s.workload.service == "productpage")
        r.spans[index] = msgspec.structs.replace(r.spans[index], flags=frozenset({"UH"}))
    [finding] = found(judge(control, [world.cell("1", Injected("abort", "ratings", status=507), pairs)]), RULE)
    assert finding.kind == "absorbed"


def test_versions_that_answer_differently_keep_their_names(world, found):
    control = world.cell("0", None, [*chain(world, ("", 200), 200), *chain(world, ("", 200), 200, version="v3")])
    two = chain(world, ("FI", 507), 200)
    three = chain(world, ("FI", 507), 200, version="v3", status=502)
    cell = world.cell("1", Injected("abort", "ratings", status=507), [*two, *three])
    assert [(f.source, f.kind) for f in found(judge(control, [cell]), RULE)] == [
        ("reviews-v2", "absorbed"),
        ("reviews-v3", "translated"),
    ]


@pytest.mark.parametrize(
    ("code", "answered", "kind"), [(15, 15, "raw"), (15, 13, "translated"), (2, 14, "translated"), (2, 0, "absorbed")]
)
def test_a_grpc_call_fails_with_grpcs_status_behind_a_200(world, found, code, answered, kind):
    """An abort with 507 reaches a gRPC caller as UNKNOWN (Envoy's mapping), one with DATA_LOSS as itself."""
    pairs = grpc(world, code, answered)
    [finding] = found(judge(grpc_control(world), [world.cell("1", grpc_abort(code), pairs)]), RULE)
    assert finding.kind == kind


def test_grpcs_unknown_at_the_caller_may_be_its_own(world, found, reasons):
    """An exception in a gRPC server becomes UNKNOWN, and so does an abort with 507."""
    judgement = judge(grpc_control(world), [world.cell("1", grpc_abort(2), grpc(world, 2, 2))])
    assert not found(judgement, RULE)
    assert "inject DATA_LOSS" in reasons(judgement, RULE)[0]


def grpc(world, code, answered, flags="FI"):
    pairs = []
    for _ in range(3):
        r = world.request()
        a = r.server(
            "checkout-v1", 0, 0.05, method="POST", url="http://checkout/shop.Checkout/Pay", grpc_status=answered
        )
        r.call("checkout-v1", "currency", 0.01, 0.001, a, method="POST", flags=flags, grpc_status=code)
        pairs.append((r, world.answer(r, 0.06)))
    return pairs


def grpc_control(world):
    return world.cell("0", None, grpc(world, 0, 0, flags=""))


def grpc_abort(code):
    if code == 15:
        return Injected("abort", "currency", grpc_status="DATA_LOSS")
    return Injected("abort", "currency", status=507)
