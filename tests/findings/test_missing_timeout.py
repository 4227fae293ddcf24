import pytest

from chaosmesh_ext.findings import judge


def waits(world, delay=7.0, **more):
    return world.attempts([(0.004, delay + 0.005, "DI", 200)], sections=("Book Details", "Book Reviews"), **more)


def test_a_caller_that_waits_out_the_delay_has_no_timeout_up_to_it(world, found):
    cell = world.cell("1", world.delay(), [waits(world) for _ in range(3)])
    [finding] = found(judge(world.control(), [cell]), "missing-timeout")
    assert (finding.value, finding.unit, finding.severity) == (7.0, "s", "warning")
    assert "no first-byte or total timeout of 7.0 s or less" in finding.summary


def test_it_is_critical_where_the_user_gets_an_error(world, found):
    cell = world.cell("1", world.delay(), [waits(world, status=504) for _ in range(3)])
    assert found(judge(world.control(), [cell]), "missing-timeout")[0].severity == "critical"


def test_a_short_delay_waited_for_says_nothing_beside_a_timeout_found_with_a_long_one(world, found):
    """The demo: 7 s are given up after 3 s, 2 s are waited for. There is a timeout, and the page is complete."""
    long = world.cell("1", world.delay(), [world.gives_up() for _ in range(5)])
    short = world.cell("2", world.delay(2.0), [waits(world, 2.0) for _ in range(5)])
    judgement = judge(world.control(), [long, short])
    assert not found(judgement, "missing-timeout")
    assert {proof.cell for finding in judgement.findings for proof in finding.evidence} == {"1"}
    [timeout] = found(judgement, "timeout")
    assert timeout.confidence == pytest.approx(6 / 7, abs=0.01)


def test_the_longest_delay_is_the_bound(world, found):
    cells = [
        world.cell(str(i), world.delay(d), [waits(world, d) for _ in range(3)]) for i, d in enumerate((2, 7, 4), 1)
    ]
    [finding] = found(judge(world.control(), cells), "missing-timeout")
    assert finding.value == 7.0
    assert {proof.cell for proof in finding.evidence} == {"2"}


def test_a_call_that_nobody_waits_for_is_coverage(world, found, reasons):
    cell = world.cell("1", world.delay(), [waits(world, page_end=0.05) for _ in range(3)])
    judgement = judge(world.control(), [cell])
    assert not judgement.findings
    assert reasons(judgement, "missing-timeout")[0].startswith("not awaited")


def test_a_caller_that_left_and_still_waits_is_seen_by_the_call_that_stays(world, found):
    """The user left, the page's call stayed open for the whole delay, and healthy pages wait for it."""
    cell = world.cell("1", world.delay(), [waits(world, page_end=3.0, page_flags="DC") for _ in range(3)])
    assert found(judge(world.control(), [cell]), "missing-timeout")


def test_calls_that_stop_since_the_callers_caller_left_say_nothing_beside_those_that_wait(world, found):
    """One page's user leaves after 3 s, and the page stops; another one's waits, and so does the page."""
    left = [world.gives_up(page_end=3.008, page_flags="DC") for _ in range(3)]
    cell = world.cell("1", world.delay(), [*left, *(waits(world) for _ in range(3))])
    [finding] = found(judge(world.control(), [cell]), "missing-timeout")
    assert (finding.value, finding.confidence) == (7.0, 0.8)
    assert not found(judge(world.control(), [world.cell("1", world.delay(), left)]), "missing-timeout")


def test_two_calls_are_too_few_to_miss_a_timeout(world, found, reasons):
    cell = world.cell("1", world.delay(), [waits(world) for _ in range(2)])
    judgement = judge(world.control(), [cell])
    assert not found(judgement, "missing-timeout")
    assert "too few calls" in reasons(judgement, "missing-timeout")[0]
