import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Injected

RULE = "timeout-inversion"


def request(world, version="v2", ratings=((0.002, ""),), *, left=None, flags="DC", reviews=(0.02, "", 200)):
    """gateway → productpage → reviews → ratings.

    ratings: (duration, flags) of each attempt, 100 ms apart. left: seconds after which productpage leaves reviews, with
    FLAGS; reviews: duration, flags and status of productpage's call where it does not come to ratings.
    """
    r = world.request()
    inner = sum(length for length, _ in ratings) + 0.1 * (len(ratings) - 1) if ratings else 0.0
    length, marks, status = reviews
    waited = left if left is not None else max(inner + 0.01, length)
    page = r.server("productpage-v1", 0, waited + 0.05)
    gone = flags if left is not None else marks
    c = r.call("productpage-v1", "reviews", 0.01, waited, page, flags=gone, status=0 if gone else status)
    if ratings:
        x = r.server(f"reviews-{version}", 0.011, waited - 0.002, c, flags=gone, status=0 if gone else 200)
        at = 0.015
        for each, seen in ratings:
            r.call(f"reviews-{version}", "ratings", at, each, x, flags=seen, status=0 if "DC" in seen else 200)
            at += each + 0.1
    return r, world.answer(r, waited + 0.06)


def control(world, versions=("v2",)):
    return world.cell("0", None, [request(world, version) for version in versions for _ in range(3)])


def parent_cell(world, after=3.0):
    """productpage gives up on a slow reviews AFTER seconds."""
    pairs = [request(world, ratings=(), reviews=(after, "DI,DC", 0)) for _ in range(3)]
    return world.cell("1", Injected("delay", "reviews", delay=12.0), pairs)


def child_cell(world, pairs):
    return world.cell("2", Injected("delay", "ratings", delay=12.0), pairs)


def test_a_caller_that_leaves_first_leaves_work_for_nobody(world, found):
    """Bookinfo: productpage waits 3 s for reviews, reviews-v2 waits 10 s for ratings."""
    pairs = [request(world, ratings=((10.0, "DI,DC"),), left=3.0) for _ in range(3)]
    [finding] = found(judge(control(world), [parent_cell(world), child_cell(world, pairs)]), RULE)
    assert (finding.source, finding.destination, finding.condition) == ("reviews", "ratings", "slow")
    assert (finding.value, finding.unit, finding.severity) == (pytest.approx(7.0, abs=0.01), "s", "warning")
    assert finding.summary == (
        "reviews tries ratings for 10.0 s, but productpage-v1 waits for it only 3.0 s: in 3 calls reviews went on for"
        " 7.0 s for nobody."
    )
    assert {proof.cell for proof in finding.evidence} == {"2"}


def test_an_http2_caller_that_leaves_resets(world, found):
    pairs = [request(world, ratings=((10.0, "DI,DR"),), left=3.0, flags="DR") for _ in range(3)]
    assert found(judge(control(world), [parent_cell(world), child_cell(world, pairs)]), RULE)


def test_retries_after_a_timeout_and_their_pauses_count(world, found):
    """2 s alone are shorter than 3 s; 2 s, 100 ms and 2 s again are not."""
    tries = ((2.0, "DI,DC"), (2.0, "DI,DC"))
    pairs = [request(world, ratings=tries, left=3.0) for _ in range(3)]
    [finding] = found(judge(control(world), [parent_cell(world), child_cell(world, pairs)]), RULE)
    assert finding.summary.startswith("reviews tries ratings for 4.1 s (2.0 s each, retried once), but")


def test_a_shorter_timeout_below_is_as_it_should_be(world, found, reasons):
    pairs = [request(world, ratings=((2.5, "DI,DC"),)) for _ in range(3)]
    judgement = judge(control(world), [parent_cell(world), child_cell(world, pairs)])
    assert not found(judgement, RULE)
    assert not reasons(judgement, RULE)


def test_a_caller_that_left_but_was_never_asked_for_its_patience_is_said(world, found, reasons):
    """One asked for this edge alone: nothing found must not read as nothing there."""
    pairs = [request(world, ratings=((10.0, "DI,DC"),), left=3.0) for _ in range(3)]
    judgement = judge(control(world), [child_cell(world, pairs)])
    assert not found(judgement, RULE)
    [reason] = reasons(judgement, RULE)
    assert reason == (
        "productpage-v1 left before reviews-v2 gave up, but how long it waits is not known:"
        " its own call of reviews was not held back"
    )


def test_timeouts_close_to_each_other_are_inconclusive(world, found, reasons):
    pairs = [request(world, ratings=((3.5, "DI,DC"),), left=3.0) for _ in range(3)]
    judgement = judge(control(world), [parent_cell(world), child_cell(world, pairs)])
    assert not found(judgement, RULE)
    assert reasons(judgement, RULE) == [
        "inconclusive: productpage-v1 waits 3.0 s, reviews-v2 tries for 3.5 s, too close to tell which ends first"
    ]


def test_work_that_stops_when_the_caller_leaves_is_nobodys_loss(world, found):
    """onCallerGone: cancel. Its timeout shows in other requests, whose caller stays."""
    stops = [request(world, ratings=((3.0, "DI,DC"),), left=3.0) for _ in range(3)]
    stays = [request(world, ratings=((10.0, "DI,DC"),)) for _ in range(3)]
    judgement = judge(control(world), [parent_cell(world), child_cell(world, [*stops, *stays])])
    assert found(judgement, "timeout")
    assert not found(judgement, RULE)


def test_a_parent_whose_timeout_is_not_known_is_no_inversion(world, found):
    """Somebody left, but when it always does was not measured."""
    pairs = [request(world, ratings=((10.0, "DI,DC"),), left=3.0) for _ in range(3)]
    assert not found(judge(control(world), [child_cell(world, pairs)]), RULE)


def test_a_child_without_a_timeout_is_no_inversion(world, found):
    pairs = [request(world, ratings=((12.0, "DI"),), left=3.0) for _ in range(3)]
    judgement = judge(control(world), [parent_cell(world), child_cell(world, pairs)])
    assert found(judgement, "missing-timeout")
    assert not found(judgement, RULE)


def test_only_the_version_that_tries_too_long_is_named(world, found):
    """reviews-v3 gives up after 2.5 s, before productpage does."""
    long = [request(world, "v2", ((10.0, "DI,DC"),), left=3.0) for _ in range(3)]
    short = [request(world, "v3", ((2.5, "DI,DC"),)) for _ in range(3)]
    cells = [parent_cell(world), child_cell(world, [*long, *short])]
    assert [f.source for f in found(judge(control(world, ("v2", "v3")), cells), RULE)] == ["reviews-v2"]


def test_two_callers_that_leave_are_one_finding_that_names_both(world, found):
    """The same call of reviews, once for productpage (3 s) and once for search (1 s)."""

    def of_search(ratings, left=None, flags=""):
        r = world.request()
        waited = left if left is not None else 0.02
        a = r.server("search-v1", 0, waited + 0.05)
        c = r.call("search-v1", "reviews", 0.01, waited, a, flags=flags, status=0 if flags else 200)
        if ratings:
            gone = flags.replace("DI,", "")
            x = r.server("reviews-v2", 0.011, waited - 0.002, c, flags=gone, status=0 if gone else 200)
            r.call("reviews-v2", "ratings", 0.015, ratings[0], x, flags=ratings[1], status=0 if ratings[1] else 200)
        return r, world.answer(r, waited + 0.06)

    healthy = world.cell("0", None, [each for _ in range(3) for each in (request(world), of_search((0.002, "")))])
    slow = [of_search(None, left=1.0, flags="DI,DC") for _ in range(3)]
    both = [request(world, ratings=((10.0, "DI,DC"),), left=3.0) for _ in range(3)]
    both += [of_search((10.0, "DI,DC"), left=1.0, flags="DC") for _ in range(3)]
    cells = [
        parent_cell(world),
        world.cell("3", Injected("delay", "reviews", ("search-v1",), delay=12.0), slow),
        child_cell(world, both),
    ]
    [finding] = found(judge(healthy, cells), RULE)
    assert "search-v1 waits for it only 1.0 s" in finding.summary
    assert finding.summary.endswith("productpage-v1 leaves after 3.0 s.")
    assert finding.value == pytest.approx(9.0, abs=0.01)


def test_two_calls_are_too_few(world, found, reasons):
    gone = [request(world, ratings=((10.0, "DI,DC"),), left=3.0) for _ in range(2)]
    stays = [request(world, ratings=((10.0, "DI,DC"),))]
    judgement = judge(control(world), [parent_cell(world), child_cell(world, [*gone, *stays])])
    assert not found(judgement, RULE)
    assert reasons(judgement, RULE) == ["too few calls: 2 went on after the caller left, 3 are needed"]
