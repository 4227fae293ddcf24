import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Injected


def aborted(world, starts, flags="FI", status=503, **more):
    return world.attempts([(start, 0.0005, flags, status) for start in starts], **more)


def test_one_attempt_after_each_of_ten_aborts_is_no_retry_with_its_bound(world, found):
    cell = world.cell("1", world.abort(), [aborted(world, [0.004]) for _ in range(10)])
    [finding] = found(judge(world.control(), [cell]), "retry")
    assert (finding.value, finding.unit, finding.condition, finding.severity) == (0.0, "retries", "status", "info")
    assert "fewer than 30 % are (95 % confidence)" in finding.summary
    assert finding.summary.startswith("productpage does not retry details after a 503")


def test_zero_is_not_claimed_from_four_aborts(world, found, reasons):
    cell = world.cell("1", world.abort(), [aborted(world, [0.004]) for _ in range(4)])
    judgement = judge(world.control(), [cell])
    assert not found(judgement, "retry")
    assert "5 are needed" in reasons(judgement, "retry")[0]


def test_zero_is_never_claimed_from_a_delay(world, found):
    cell = world.cell("1", world.delay(), [world.gives_up() for _ in range(20)])
    assert not found(judge(world.control(), [cell]), "retry")


def test_a_retry_after_a_status_and_one_after_a_timeout_are_two_findings(world, found):
    slow = [world.attempts([(0.004, 3.0, "DI,DC", 0), (3.008, 3.0, "DI,DC", 0)]) for _ in range(3)]
    failed = [aborted(world, [0.004, 0.006]) for _ in range(3)]
    cells = [world.cell("1", world.delay(), slow), world.cell("2", world.abort(), failed)]
    both = found(judge(world.control(), cells), "retry")
    assert [(f.condition, f.value, f.kind) for f in both] == [
        ("slow", 1.0, "no backoff"),
        ("status", 1.0, "no backoff"),
    ]
    assert [{proof.cell for proof in f.evidence} for f in both] == [{"1"}, {"2"}]
    assert len({f.id for f in both}) == 2


def test_what_a_breaker_may_have_cut_short_is_decided_by_requests_one_after_the_other(world, found, reasons):
    """Requests at once all fail at the same time: whether the breaker or nothing comes after, they do not tell."""
    at_once = world.cell("1", world.delay(30.0), [world.gives_up(24.0) for _ in range(3)])
    failed = world.cell("2", world.abort(), [aborted(world, [0.004, 0.006]) for _ in range(3)])
    judgement = judge(world.control(), [at_once, failed])
    assert [finding.condition for finding in found(judgement, "retry")] == ["status"]
    assert [each.lacking for each in judgement.coverage.skipped if each.rule == "retry"] == ["in-turn"]
    twice = [(0.004, 5.0, "DI,DC", 0), (5.008, 5.0, "DI,DC", 0)]
    in_turn = world.cell("3", world.delay(30.0), [world.attempts(twice) for _ in range(3)])
    judgement = judge(world.control(), [at_once, failed, in_turn])
    assert [(one.condition, one.value) for one in found(judgement, "retry")] == [("slow", 1.0), ("status", 1.0)]
    assert not reasons(judgement, "retry")


@pytest.mark.parametrize(
    ("starts", "kind"),
    [
        ([0.0, 0.005, 0.010], "no backoff"),
        ([0.0, 0.1, 0.2], "fixed backoff"),
        ([0.0, 0.1], None),
        ([0.0, 0.1, 0.3, 0.7], "growing backoff"),
        ([0.0, 0.1, 0.3], None),
    ],
)
def test_backoff_is_named_where_enough_gaps_show_it(world, found, starts, kind):
    """Fixed needs two gaps, growing three; fewer are left unsaid."""
    cell = world.cell("1", world.abort(), [aborted(world, starts) for _ in range(3)])
    [finding] = found(judge(world.control(), [cell]), "retry")
    assert (finding.value, finding.kind) == (len(starts) - 1, kind)


def test_an_attempt_that_overlaps_a_running_one_is_a_hedge(world, found):
    pairs = [world.attempts([(0.004, 7.0, "DI", 200), (0.504, 7.0, "DI", 200)]) for _ in range(3)]
    judgement = judge(world.control(), [world.cell("1", world.delay(), pairs)])
    assert not found(judgement, "retry")
    [finding] = found(judgement, "hedge")
    assert finding.value == 1.0
    assert "after 500 ms while the first still runs" in finding.summary


def test_an_operation_that_healthy_requests_call_twice_is_inconclusive(world, found, reasons):
    """Two calls of one URL in one request may be two calls, or one and its retry."""
    ok = [world.attempts([(0.004, 0.005, "", 200), (0.012, 0.005, "", 200)]) for _ in range(3)]
    cell = world.cell("1", world.abort(), [aborted(world, [0.004, 0.006]) for _ in range(5)])
    judgement = judge(world.cell("0", None, ok), [cell])
    assert not found(judgement, "retry")
    assert "several such calls" in reasons(judgement, "retry")[0]


def test_calls_of_different_urls_in_one_request_are_no_retries(world, found):
    """A list that fetches each of its items makes one call a URL."""

    def two(flags, status):
        r = world.request()
        page = r.server("productpage-v1", 0, 0.1)
        r.call("productpage-v1", "details", 0.004, 0.001, page, flags=flags, status=status, url="http://d/details/0")
        r.call("productpage-v1", "details", 0.008, 0.001, page, flags=flags, status=status, url="http://d/details/1")
        return r, world.answer(r, 0.1)

    control = world.cell("0", None, [two("", 200) for _ in range(3)])
    cell = world.cell("1", world.abort(), [two("FI", 503) for _ in range(5)])
    assert [f.value for f in found(judge(control, [cell]), "retry")] == [0.0]


def test_attempts_that_vary_from_request_to_request_are_inconclusive(world, found, reasons):
    pairs = [aborted(world, [0.0]), aborted(world, [0.0, 0.01]), aborted(world, [0.0, 0.01, 0.02])]
    judgement = judge(world.control(), [world.cell("1", world.abort(), pairs)])
    assert not found(judgement, "retry")
    assert "1, 2 and 3 attempts after a 503" in reasons(judgement, "retry")[0]


def test_a_breaker_that_ends_the_attempts_of_a_few_hides_nothing(world, found):
    pairs = [aborted(world, [0.0, 0.01, 0.02]) for _ in range(4)]
    pairs += [aborted(world, [0.0, 0.01]), aborted(world, [0.0])]
    [finding] = found(judge(world.control(), [world.cell("1", world.abort(), pairs)]), "retry")
    assert finding.value == 2.0


def test_a_share_of_aborts_counts_only_requests_whose_last_attempt_failed(world, found):
    """A retry that got through hides how many more there would have been."""
    saved = [world.attempts([(0.0, 0.0005, "FI", 503), (0.01, 0.005, "", 200)]) for _ in range(5)]
    failed = [aborted(world, [0.0, 0.01, 0.02]) for _ in range(3)]
    [finding] = found(judge(world.control(), [world.cell("1", world.abort(), saved + failed)]), "retry")
    assert finding.value == 2.0


def test_retrying_what_was_refused_is_stated_and_advised_against(world, found):
    cell = world.cell("1", world.abort(403), [aborted(world, [0.0, 0.002], status=403) for _ in range(3)])
    [finding] = found(judge(world.control(), [cell]), "retry")
    assert "after a 403" in finding.summary
    assert finding.advice.startswith("Do not retry what details refuses")


def test_statuses_that_are_retried_differently_are_one_finding_that_names_both(world, found):
    """The id is of rule, edge, operation and condition: there cannot be two."""
    refused = world.cell("1", world.abort(403), [aborted(world, [0.0], status=403) for _ in range(5)])
    failed = world.cell("2", world.abort(503), [aborted(world, [0.0, 0.002]) for _ in range(3)])
    [finding] = found(judge(world.control(), [refused, failed]), "retry")
    assert finding.value == 1.0
    assert "after a 503 without a pause" in finding.summary
    assert "After a 403 it does not retry." in finding.summary
    assert {proof.cell for proof in finding.evidence} == {"1", "2"}


def test_a_grpc_abort_is_named_by_its_status(world, found):
    fault = Injected("abort", "details", ("productpage-v1",), grpc_status="UNAVAILABLE")
    cell = world.cell("1", fault, [aborted(world, [0.0], status=200) for _ in range(5)])
    assert "after UNAVAILABLE" in found(judge(world.control(), [cell]), "retry")[0].summary


def test_a_caller_whose_own_caller_left_may_have_stopped_retrying(world, found, reasons):
    pairs = [world.gives_up(3.0, page_flags="DC", page_end=3.2) for _ in range(5)]
    retries = [world.attempts([(0.0, 1.0, "DI,DC", 0)], page_flags="DC", page_end=1.01) for _ in range(3)]
    judgement = judge(world.control(), [world.cell("1", world.delay(), pairs + retries)])
    assert not found(judgement, "retry")
    assert "may have stopped further attempts" in " ".join(reasons(judgement, "retry"))


def test_a_sidecars_tries_within_one_call_are_counted_at_the_callee(world, found):
    """At a sidecar all tries share one span; the fault has to be at the callee's side to be retried at all."""
    pairs = []
    for _ in range(3):
        r, answer = aborted(world, [0.0], flags="URX", status=503)
        c = next(span for span in r.spans if span.peer == "details")
        for n in range(3):
            r.server("details-v1", 0.001 + n / 1000, 0.0005, c, flags="FI", status=503)
        pairs.append((r, answer))
    [finding] = found(judge(world.control(), [world.cell("1", world.abort(), pairs)]), "retry")
    assert (finding.value, finding.who) == (2.0, "sidecar")


def test_an_abort_with_a_good_status_says_nothing_of_retries(world, found):
    """inject_abort may answer 204 in the callee's place; nobody would try that again."""
    one = [aborted(world, [0.004], status=204) for _ in range(10)]
    judgement = judge(world.control(), [world.cell("1", Injected("abort", "details", status=204), one)])
    assert not found(judgement, "retry")
