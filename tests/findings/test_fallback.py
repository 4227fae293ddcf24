import msgspec
import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Injected

ABORTED = [(0.004, 0.0005, "FI", 503)]


def test_a_lost_section_is_named(world, found):
    cell = world.cell("1", world.abort(), [world.attempts(ABORTED) for _ in range(3)])
    [finding] = found(judge(world.control(), [cell]), "missing-fallback")
    assert (finding.severity, finding.condition, finding.value, finding.unit) == ("warning", "status", None, "")
    expected = 'When details fails, productpage still answers 200 without the details section ("Book Details")'
    assert finding.summary.startswith(expected)


def test_an_error_for_the_user_is_critical(world, found):
    pairs = [world.attempts(ABORTED, status=502, sections=("body",)) for _ in range(3)]
    [finding] = found(judge(world.control(), [world.cell("1", world.abort(), pairs)]), "missing-fallback")
    assert finding.severity == "critical"
    assert "answers 502" in finding.summary


def test_each_condition_has_its_own_finding(world, found):
    """The same edge may lose one thing when slow and another when it fails."""
    cells = [
        world.cell("1", world.delay(), [world.gives_up() for _ in range(3)]),
        world.cell("2", world.abort(), [world.attempts(ABORTED) for _ in range(3)]),
    ]
    both = found(judge(world.control(), cells), "missing-fallback")
    assert [finding.condition for finding in both] == ["slow", "status"]
    assert len({finding.id for finding in both}) == 2


def test_a_complete_answer_although_the_call_failed_is_a_fallback(world, found):
    whole = ("Book Details", "Book Reviews")
    cell = world.cell("1", world.abort(), [world.attempts(ABORTED, sections=whole) for _ in range(3)])
    [finding] = found(judge(world.control(), [cell]), "fallback")
    assert finding.severity == "info"
    assert "still answers 200 with every section" in finding.summary


def test_other_content_in_a_section_that_never_changes_is_a_fallback(world, found):
    other = {"Book Details": "bbbbbbbbbbbb", "Book Reviews": "aaaaaaaaaaaa"}
    cell = world.cell("1", world.abort(), [world.attempts(ABORTED, sections=other) for _ in range(3)])
    [finding] = found(judge(world.control(), [cell]), "fallback")
    assert 'with other content in the details section ("Book Details")' in finding.summary


def test_a_null_in_place_of_an_object_is_a_loss(world, found):
    """An application that answers null for a section shows nothing of it."""
    from chaosmesh_ext.findings.fallback import _NULL

    pairs = [world.attempts(ABORTED, sections={"Book Details": _NULL, "Book Reviews": "a"}) for _ in range(3)]
    assert found(judge(world.control(), [world.cell("1", world.abort(), pairs)]), "missing-fallback")


@pytest.mark.parametrize(
    ("inside", "rule"), [("sections.details.default", "fallback"), ("sections.details.error", "missing-fallback")]
)
def test_something_else_inside_a_section_is_a_stand_in_unless_it_is_an_error(world, found, inside, rule):
    whole = dict.fromkeys(("sections", "sections.details", "sections.details.price"), "a")
    control = world.cell("0", None, [world.healthy(sections=whole) for _ in range(3)])
    now = dict.fromkeys(("sections", "sections.details", inside), "a")
    cell = world.cell("1", world.abort(), [world.attempts(ABORTED, sections=now) for _ in range(3)])
    assert found(judge(control, [cell]), rule)


def test_a_slow_call_that_was_waited_for_shows_no_fallback(world, found):
    """Nothing failed, so nothing had to be replaced."""
    whole = ("Book Details", "Book Reviews")
    pairs = [world.attempts([(0.004, 2.005, "DI", 200)], sections=whole) for _ in range(5)]
    judgement = judge(world.control(), [world.cell("1", world.delay(2.0), pairs)])
    assert not found(judgement, "fallback")
    assert not found(judgement, "missing-fallback")


def test_a_retry_that_got_through_is_no_fallback(world, found):
    whole = ("Book Details", "Book Reviews")
    saved = [(0.0, 0.0005, "FI", 503), (0.01, 0.005, "", 200)]
    cell = world.cell("1", world.abort(), [world.attempts(saved, sections=whole) for _ in range(5)])
    assert not found(judge(world.control(), [cell]), "fallback")


def test_only_answers_of_the_same_versions_are_compared(world, found):
    """reviews-v1 never shows stars: a page without them that passed v1 has lost nothing."""
    stars = ("Book Details", "Book Reviews", "Stars")
    control = world.cell(
        "0",
        None,
        [world.healthy(version="v1") for _ in range(3)]
        + [world.healthy(version="v2", sections=stars) for _ in range(3)],
    )
    pairs = []
    for _ in range(3):
        r, answer = world.attempts(ABORTED, sections=("Book Details", "Book Reviews"))
        page = next(s for s in r.spans if s.workload.service == "productpage")
        r.server("reviews-v1", 0.012, 0.001, r.call("productpage-v1", "reviews", 0.011, 0.003, page))
        pairs.append((r, answer))
    assert found(judge(control, [world.cell("1", world.abort(), pairs)]), "fallback")


def test_a_caller_further_up_that_gave_up_is_the_users_loss_too(world, found):
    """A slow ratings costs the whole reviews section, though reviews itself would have waited."""
    ok = []
    for _ in range(3):
        r, answer = world.healthy(version="v2")
        reviews = next(s for s in r.spans if s.kind == "SERVER" and s.workload.service == "reviews")
        r.call("reviews-v2", "ratings", 0.015, 0.002, reviews)
        ok.append((r, answer))
    slow = []
    for _ in range(3):
        r = world.request()
        page = r.server("productpage-v1", 0, 3.02)
        c = r.call("productpage-v1", "reviews", 0.01, 3.0, page, status=0, flags="DC")
        reviews = r.server("reviews-v2", 0.012, 2.999, c, status=0, flags="DC")
        r.call("reviews-v2", "ratings", 0.015, 7.0, reviews, flags="DI")
        slow.append((r, world.answer(r, 3.03, sections=("Book Details",))))
    fault = Injected("delay", "ratings", delay=7.0)
    [finding] = found(judge(world.cell("0", None, ok), [world.cell("1", fault, slow)]), "missing-fallback")
    assert finding.source == "reviews"
    assert 'leaves users with 200 without the section "Book Reviews"' in finding.summary


def test_a_gateways_abort_leaves_only_its_server_span_and_is_judged(world, found):
    pairs = []
    for _ in range(3):
        r = world.request()
        r.server("gateway-latest", 0, 0.0005, url="http://gateway/productpage", flags="FI", status=503)
        pairs.append((r, world.answer(r, 0.002, status=503, sections=("body",))))
    fault = Injected("abort", "productpage", status=503)
    [finding] = found(judge(world.control(), [world.cell("1", fault, pairs)]), "missing-fallback")
    assert (finding.source, finding.destination, finding.kind) == ("gateway", "productpage", "gateway")
    assert finding.severity == "info", "a gateway has nothing to show instead: that is no weakness"


def test_our_own_request_that_got_no_answer_is_not_the_users_loss(world, found, reasons):
    pairs = [world.gives_up(status=0, sections=()) for _ in range(3)]
    judgement = judge(world.control(), [world.cell("1", world.delay(), pairs)])
    assert not found(judgement, "missing-fallback")
    assert "our own request got no answer" in reasons(judgement, "missing-fallback")[0]


def test_answers_that_vary_by_themselves_are_not_compared(world, found):
    """A section that comes and goes in health is no loss, and no fallback either; an error for the user still is one."""
    from msgspec.structs import replace

    pairs = [world.attempts(ABORTED) for _ in range(3)]
    control = world.control()
    unsteady = replace(control, unsteady={control.answers[0].url: "healthy answers differ from each other"})
    judged = judge(unsteady, [world.cell("1", world.abort(), pairs)])
    assert not found(judged, "missing-fallback")
    assert not found(judged, "fallback")
    assert "healthy answers differ from each other" in " ".join(one.reason for one in judged.coverage.skipped)
    broken = world.cell("1", world.abort(), [world.attempts(ABORTED, status=502) for _ in range(3)])
    assert found(judge(unsteady, [broken]), "missing-fallback")


def test_the_content_of_a_section_that_varies_is_not_compared(world, found):
    """Other content in it is no work of a fault; that it is gone is."""
    from msgspec.structs import replace

    from chaosmesh_ext.model import VARIES

    def varies(answer):
        return replace(answer, sections={**answer.sections, "Book Details": VARIES})

    control = world.control()
    control = replace(control, answers=tuple(varies(answer) for answer in control.answers))
    other = {"Book Details": "bbbbbbbbbbbb", "Book Reviews": "aaaaaaaaaaaa"}
    cell = world.cell("1", world.abort(), [world.attempts(ABORTED, sections=other) for _ in range(3)])
    [finding] = found(judge(control, [cell]), "fallback")
    assert "other content" not in finding.summary
    gone = world.cell("1", world.abort(), [world.attempts(ABORTED) for _ in range(3)])
    assert found(judge(control, [gone]), "missing-fallback")


def test_one_stand_in_for_a_whole_branch_replaces_all_that_hung_on_it(world, found):
    names = ("sections", "sections.details", "sections.details.sections", "sections.details.sections.price")
    control = world.cell("0", None, [world.healthy(sections=names) for _ in range(3)])
    now = ("sections", "sections.details", "sections.details.default")
    cell = world.cell("1", world.abort(), [world.attempts(ABORTED, sections=now) for _ in range(3)])
    assert found(judge(control, [cell]), "fallback")


def through(world, versions, detail=True):
    """A request that passed VERSIONS of reviews; its call to details is aborted, unless DETAIL."""
    r, answer = world.attempts([(0.004, 0.005, "", 200)] if detail else ABORTED, sections=("Book Reviews",))
    page = next(s for s in r.spans if s.kind == "SERVER" and s.workload.service == "productpage")
    for version in versions:
        r.server(f"reviews-{version}", 0.012, 0.001, r.call("productpage-v1", "reviews", 0.011, 0.003, page))
    return r, answer


def test_versions_that_do_not_show_in_answers_do_not_keep_them_from_being_compared(world, found):
    """No healthy request passed v1 and v2 both, and it does not matter: their answers have the same sections."""
    control = world.cell("0", None, [world.healthy(version=v) for v in ("v1", "v2") * 2])
    pairs = [through(world, ("v1", "v2"), detail=False) for _ in range(3)]
    [finding] = found(judge(control, [world.cell("1", world.abort(), pairs)]), "missing-fallback")
    assert 'without the details section ("Book Details")' in finding.summary


def test_a_version_that_no_healthy_request_passed_is_not_compared(world, found, reasons):
    pairs = [through(world, ("v9",), detail=False) for _ in range(3)]
    judgement = judge(world.control(), [world.cell("1", world.abort(), pairs)])
    assert not found(judgement, "missing-fallback")
    assert "no healthy answer of the same versions" in reasons(judgement, "missing-fallback")[0]


def ratings(world, versions=("v2",), flags="", status=200, length=0.002, left=None, stars="a"):
    """productpage → reviews of VERSIONS one after the other → ratings; the fault is on the calls of v2 alone."""
    r = world.request()
    page = r.server("productpage-v1", 0, 4.0 if left else 0.2)
    at = 0.01
    for version in versions:
        faulted = version == "v2" and flags
        gone, spent = ("DC" if left else ""), left or 0.05
        code = 0 if left else 502 if faulted == "FI" else 200
        c = r.call("productpage-v1", "reviews", at, spent, page, status=code, flags=gone)
        x = r.server(f"reviews-{version}", at + 0.001, spent - 0.002, c, status=code, flags=gone)
        seen = {"flags": flags, "status": status} if faulted else {}
        r.call(f"reviews-{version}", "ratings", at + 0.002, length if faulted else 0.002, x, **seen)
        at += spent + 0.01
    return r, world.answer(r, at, sections={"Book Details": "a", "Stars": stars})


def test_a_caller_further_up_that_gave_up_and_shows_something_else_is_a_fallback(world, found):
    """ratings answers in the end; productpage did not wait for it."""
    control = world.cell("0", None, [ratings(world) for _ in range(3)])
    slow = [ratings(world, flags="DI", length=7.0, left=3.0, stars="stand-in") for _ in range(3)]
    [finding] = found(judge(control, [world.cell("1", world.delay(7.0, "ratings"), slow)]), "fallback")
    assert (finding.condition, finding.source) == ("slow", "reviews")
    assert 'with other content in the section "Stars"' in finding.summary


def test_a_retry_that_got_through_on_another_version_is_no_fallback(world, found, reasons):
    """The fault is on reviews-v2 alone; productpage's second attempt came to v1."""
    control = world.cell("0", None, [ratings(world, (v,)) for v in ("v1", "v2") * 2])
    pairs = [ratings(world, ("v2", "v1"), "FI", 507, 0.0005) for _ in range(3)]
    fault = Injected("abort", "ratings", ("reviews-v2",), status=507)
    judgement = judge(control, [world.cell("1", fault, pairs)])
    assert not found(judgement, "fallback")
    assert "several versions" in reasons(judgement, "missing-fallback")[0]
    assert {each.lacking for each in judgement.coverage.skipped if each.rule == "missing-fallback"} == {"one-version"}


def test_errors_that_healthy_requests_get_too_are_not_the_faults(world, found):
    """Three of six are no wonder where five of seventeen fail anyway; six of six are."""
    healthy = [world.healthy() for _ in range(12)] + [world.healthy(status=500, sections=("body",)) for _ in range(5)]
    control = world.cell("0", None, healthy)
    failing = [world.attempts(ABORTED, status=500, sections=("body",)) for _ in range(6)]
    whole = [world.attempts(ABORTED, sections=("Book Details", "Book Reviews")) for _ in range(3)]
    chance = judge(control, [world.cell("1", world.abort(), failing[:3] + whole)])
    assert not found(chance, "missing-fallback")
    assert found(chance, "fallback"), "what the others got still tells"
    unlucky = judge(control, [world.cell("1", world.abort(), failing[:3])])
    assert not found(unlucky, "missing-fallback")
    assert "5 of 17 healthy requests failed too" in " ".join(one.reason for one in unlucky.coverage.skipped)
    assert found(judge(control, [world.cell("1", world.abort(), failing)]), "missing-fallback")


def test_what_a_cache_gave_is_another_requests_answer(world, found):
    """Which lost something by another fault, maybe."""
    pairs = [
        (request, msgspec.structs.replace(answer, cache="Age: 2"))
        for request, answer in (world.attempts(ABORTED) for _ in range(3))
    ]
    judgement = judge(world.control(), [world.cell("1", world.abort(), pairs)])
    assert not found(judgement, "missing-fallback")
    assert "a cache gave the answer" in " ".join(one.reason for one in judgement.coverage.skipped)
