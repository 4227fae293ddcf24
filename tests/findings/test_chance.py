"""Calls that failed by chance are told from those that failed because of the fault."""

from chaosmesh_ext.findings import judge


def slow(world, *, reviews=(0.01, "", 200), again=False, page_flags="", sections=("Book Reviews",)):
    """Details was given up after 3 s; before, reviews took so long, with its FLAGS and status."""
    length, flags, status = reviews
    r = world.request()
    gateway = r.server("gateway-latest", 0, 3.2, url="http://gateway/productpage")
    out = r.call("gateway-latest", "productpage", 0.001, 3.19, gateway, url="http://gateway/productpage")
    page = r.server("productpage-v1", 0.002, 3.18, out, flags=page_flags, status=0 if page_flags else 200)
    r.call("productpage-v1", "reviews", 0.01, length, page, flags=flags, status=status)
    if again:
        r.call("productpage-v1", "reviews", 0.02 + length, 0.01, page)
    r.call("productpage-v1", "details", 0.1, 3.0, page, flags="DI,DC", status=0)
    return r, world.answer(r, 3.21, sections=() if flags or status >= 500 else sections)


def test_what_users_lose_by_another_calls_timeout_is_not_laid_at_the_faults_door(world, found, reasons):
    cells = [world.cell("1", world.delay(), [slow(world, reviews=(0.05, "DC", 0)) for _ in range(4)])]
    judgement = judge(world.control(), cells)
    assert not found(judgement, "missing-fallback")
    assert "another call failed that met no fault" in reasons(judgement, "missing-fallback")[0]


def test_a_call_that_got_through_the_second_time_cost_nobody_anything(world, found):
    pairs = [slow(world, reviews=(0.05, "DC", 0), again=True) for _ in range(3)]
    assert found(judge(world.control(), [world.cell("1", world.delay(), pairs)]), "missing-fallback")


def test_a_call_that_ends_when_its_callers_caller_leaves_is_the_faults_doing(world, found):
    pairs = [slow(world, reviews=(3.17, "DC", 0), page_flags="DC") for _ in range(3)]
    assert found(judge(world.control(), [world.cell("1", world.delay(), pairs)]), "missing-fallback")


def test_a_few_users_who_lost_what_was_slow_for_them_alone_do_not_count(world, found, reasons):
    """The answer of reviews came just as the page gave it up: its span knows nothing of that."""
    whole = ("Book Details", "Book Reviews")
    kept = [world.gives_up(3.0, sections=whole) for _ in range(5)]

    def judged(length):
        odd = slow(world, reviews=(length, "", 200))
        return judge(world.control(), [world.cell("1", world.delay(), [*kept, odd])])

    assert found(judged(0.2), "fallback")
    assert "users lost something in 1 of 6 requests" in reasons(judged(0.01), "fallback")[0]


def test_a_few_users_for_whom_a_call_was_not_made_that_others_had_do_not_count(world, found):
    """Others had opened a breaker: the page did without reviews for a moment."""
    whole = ("Book Details", "Book Reviews")
    pairs = [slow(world, sections=whole) for _ in range(5)] + [world.gives_up(3.0, sections=("Book Details",))]
    assert found(judge(world.control(), [world.cell("1", world.delay(), pairs)]), "fallback")
