import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Edge, Injected, Propagated, Workload

RULE = "retry-amplification"


def page(world, reviews=1, ratings=1, *, flags="FI", status=507, length=0.0005, url="", versions=("v1",), apart=""):
    """productpage calls reviews so many TIMES, and each reviews ratings; both one after the other.

    ratings: calls of each reviews, or a list of them.

    versions: of reviews, by turns. apart: what tells the URLs of reviews' calls to ratings apart.
    """
    r = world.request()
    tries = ratings if isinstance(ratings, list) else [ratings] * reviews
    total = reviews * (max(tries) * length + 0.02) + 0.02
    gateway = r.server("gateway-latest", 0, total + 0.01, url="http://gateway/productpage")
    out = r.call("gateway-latest", "productpage", 0.001, total + 0.008, gateway)
    a = r.server("productpage-v1", 0.002, total + 0.006, out)
    at = 0.004
    failed = bool(flags)
    for turn in range(reviews):
        each = tries[turn] * length + 0.01
        who = f"reviews-{versions[turn % len(versions)]}"
        c = r.call("productpage-v1", "reviews", at, each, a, status=502 if failed else 200, url=url)
        b = r.server(who, at + 0.001, each - 0.002, c, status=502 if failed else 200)
        for attempt in range(tries[turn]):
            at_url = f"http://ratings:9080/ratings/{attempt}" if apart else ""
            r.call(
                who,
                "ratings",
                at + 0.002 + attempt * (length + 0.001),
                length,
                b,
                flags=flags,
                status=status,
                url=at_url,
            )
        at += each + 0.005
    return r, world.answer(r, total + 0.011, status=200)


def healthy(world, n=3, **more):
    return world.cell("0", None, [page(world, flags="", status=200, length=0.002, **more) for _ in range(n)])


def abort(destination="ratings", sources=()):
    return Injected("abort", destination, sources, status=507)


def test_retries_of_two_layers_multiply(world, found):
    cell = world.cell("1", abort(), [page(world, 2, 3) for _ in range(3)])
    [finding] = found(judge(healthy(world), [cell]), RULE)
    assert (finding.source, finding.destination, finding.condition) == ("reviews", "ratings", "status")
    assert (finding.value, finding.unit, finding.severity) == (6.0, "times", "warning")
    assert finding.summary == (
        "When ratings fails, one request of a user makes 6 times the healthy calls from reviews to it (6 calls):"
        " productpage and reviews both retry, and their retries multiply (3 requests)."
    )


def test_each_condition_has_its_own_factor(world, found):
    """A layer that retries an error may not retry a timeout."""
    slow = [page(world, 2, 2, flags="DI,DC", status=0, length=1.0) for _ in range(3)]
    cells = [
        world.cell("1", abort(), [page(world, 2, 3) for _ in range(3)]),
        world.cell("2", Injected("delay", "ratings", delay=7.0), slow),
    ]
    assert [(f.condition, f.value) for f in found(judge(healthy(world), cells), RULE)] == [("slow", 4), ("status", 6)]


@pytest.mark.parametrize(("reviews", "ratings"), [(1, 4), (4, 1)])
def test_one_layer_that_retries_multiplies_nothing(world, found, reasons, reviews, ratings):
    judgement = judge(healthy(world), [world.cell("1", abort(), [page(world, reviews, ratings) for _ in range(3)])])
    assert not found(judgement, RULE)
    assert not reasons(judgement, RULE)


def test_what_is_no_leaf_is_judged_at_the_leaf_below(world, found):
    """A fault on reviews' own calls is one layer lower: retries show there in full."""
    control = healthy(world)
    cell = world.cell("1", Injected("abort", "reviews", status=507), [page(world, 2, 2) for _ in range(3)])
    assert not [f for f in found(judge(control, [cell]), RULE) if f.destination == "reviews"]


def test_many_calls_of_a_healthy_request_are_no_retries(world, found):
    """N+1 calls: reviews asks for three ratings one by one; only productpage retries."""
    control = healthy(world, ratings=3)
    assert not found(judge(control, [world.cell("1", abort(), [page(world, 2, 3) for _ in range(3)])]), RULE)


def test_many_healthy_calls_of_different_urls_count_in_the_factor(world, found):
    """Three ratings by their own URLs, each tried once by reviews: the two layers are not both retrying."""
    control = healthy(world, ratings=3, apart="yes")
    cell = world.cell("1", abort(), [page(world, 2, 3, apart="yes") for _ in range(3)])
    assert not found(judge(control, [cell]), RULE)


def test_a_sidecars_own_tries_are_a_layer(world, found):
    """Envoy tries again within one CLIENT span: two server spans of reviews stand below it."""
    pairs = []
    for _ in range(3):
        r = world.request()
        a = r.server("productpage-v1", 0, 0.06)
        c = r.call("productpage-v1", "reviews", 0.004, 0.05, a, status=502, flags="URX")
        for start in (0.005, 0.03):
            b = r.server("reviews-v1", start, 0.02, c, status=502)
            r.call("reviews-v1", "ratings", start + 0.001, 0.0005, b, flags="FI", status=507)
            r.call("reviews-v1", "ratings", start + 0.003, 0.0005, b, flags="FI", status=507)
        pairs.append((r, world.answer(r, 0.061, status=200)))
    [finding] = found(judge(healthy(world), [world.cell("1", abort(), pairs)]), RULE)
    assert finding.value == 4.0
    assert "productpage and reviews both retry" in finding.summary


def test_two_requests_are_too_few(world, found, reasons):
    judgement = judge(healthy(world), [world.cell("1", abort(), [page(world, 2, 2) for _ in range(2)])])
    assert not found(judgement, RULE)
    assert reasons(judgement, RULE) == ["too few calls: several layers retried in 2 requests, 3 are needed"]


def test_factors_that_differ_are_inconclusive(world, found, reasons):
    pairs = [page(world, 2, n) for n in (2, 2, 3, 3, 4, 4)]
    judgement = judge(healthy(world), [world.cell("1", abort(), pairs)])
    assert not found(judgement, RULE)
    assert reasons(judgement, RULE) == [
        "inconclusive: 4.0 to 8.0 times the healthy calls, no single factor explains it"
    ]


def test_a_request_that_tried_another_version_is_left_out(world, found, reasons):
    """The second attempt went to reviews-v2, whose calls meet no fault of a cell for reviews-v1."""
    control = world.cell("0", None, [page(world, flags="", status=200, versions=(v,)) for v in ("v1", "v2") * 2])
    pairs = [page(world, 2, 2, versions=("v1", "v2")) for _ in range(2)] + [page(world, 2, 2) for _ in range(2)]
    judgement = judge(control, [world.cell("1", abort(sources=("reviews-v1",)), pairs)])
    assert not found(judgement, RULE)
    assert (
        "tried a version of the caller that the fault spares, which may have got through (2 requests)"
        in reasons(judgement, RULE)[0]
    )


def test_a_request_that_tried_two_versions_under_the_fault_counts_for_both(world, found):
    control = world.cell("0", None, [page(world, flags="", status=200, versions=(v,)) for v in ("v1", "v2") * 2])
    cell = world.cell("1", abort(), [page(world, 2, 2, versions=("v1", "v2")) for _ in range(6)])
    [finding] = found(judge(control, [cell]), RULE)
    assert (finding.source, finding.value) == ("reviews", 4.0)


def test_hedges_are_no_retries(world, found):
    """Attempts that overlap are load too, but not because something failed."""
    pairs = []
    for _ in range(3):
        r = world.request()
        a = r.server("productpage-v1", 0, 8.0)
        for start in (0.0, 0.5):
            c = r.call("productpage-v1", "reviews", start, 7.2, a)
            b = r.server("reviews-v1", start + 0.001, 7.1, c)
            r.call("reviews-v1", "ratings", start + 0.002, 7.0, b, flags="DI")
        pairs.append((r, world.answer(r, 8.1)))
    cell = world.cell("1", Injected("delay", "ratings", delay=7.0), pairs)
    assert not found(judge(healthy(world), [cell]), RULE)


def test_versions_of_the_caller_that_try_unequally_often_are_judged_by_requests_that_met_one_alone(world, found):
    """The fault is on all versions; reviews-v1 tries twice, reviews-v2 once: a request that met both says nothing."""
    control = world.cell("0", None, [page(world, flags="", status=200, versions=(v,)) for v in ("v1", "v2") * 2])
    pure = [page(world, 2, 2) for _ in range(3)] + [page(world, 2, 1, versions=("v2",)) for _ in range(3)]
    mixed = [page(world, 2, n, versions=("v1", "v2")) for n in (1, 2) * 3]
    both = abort(sources=("reviews-v1", "reviews-v2"))
    [finding] = found(judge(control, [world.cell("1", both, pure + mixed)]), RULE)
    assert (finding.source, finding.value) == ("reviews-v1", 4.0)
    assert not found(judge(control, [world.cell("1", both, mixed)]), RULE)


def test_what_one_version_would_do_alone_follows_from_what_it_does_each_time(world, found):
    """Of three calls of one request another version had one: reviews-v1 tries twice each time, reviews-v2 once."""
    control = world.cell("0", None, [page(world, flags="", status=200, versions=(v,)) for v in ("v1", "v2") * 2])
    both = abort(sources=("reviews-v1", "reviews-v2"))

    def cell(*others):
        one, two = {"v1": 2, "v2": 1}, ("v1", "v2", "v1")
        pairs = [page(world, 3, [one[each] for each in two], versions=two) for _ in range(6)]
        return world.cell("1", both, [*pairs, *others])

    [finding] = found(judge(control, [cell()]), RULE)
    assert (finding.source, finding.value) == ("reviews-v1", 6.0)
    breaks = page(world, 3, [2, 1, 1], versions=("v1", "v2", "v1"))
    assert not found(judge(control, [cell(breaks)]), RULE)


def test_who_calls_others_without_our_trace_is_no_leaf(world, found):
    cell = world.cell("1", abort(), [page(world, 2, 3) for _ in range(3)])
    lost = Propagated(Edge(Workload("ratings", "v1"), "stock"), counted=9, traced=0)
    assert not found(judge(healthy(world), [cell], [lost]), RULE)
