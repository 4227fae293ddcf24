"""When healthy requests are asked again one at a time."""

import msgspec
import pytest

from chaosmesh_ext.explore.calming import calmer, restless, spacing
from chaosmesh_ext.model import Answer, Cell, Span, Trace, Workload

A = Workload("cart", "v1")


def cell(*seconds: float, flags: str = "DC", failing: int = 0, whole: float = 0.2) -> Cell:
    """Requests whose call from cart to stock takes so many SECONDS; the first ones, FAILING, end with FLAGS."""
    answers, traces = [], {}
    for number, duration in enumerate(seconds):
        one = f"{number + 1:032x}"
        bad = number < failing
        said = frozenset({flags}) if bad and flags else frozenset[str]()
        status = 0 if bad and flags else 500 if bad else 200
        request = Span(one, "a" * 16, "", "SERVER", "", 1.0, duration, A, status=200)
        call = Span(one, "b" * 16, "a" * 16, "CLIENT", "", 1.0, duration, A, "stock", status=status, flags=said)
        answers.append(Answer(one, "http://shop/", 1.0, whole, 200, {}, 0))
        traces[one] = Trace(one, (request, call))
    return Cell("0", None, tuple(answers), traces)


def test_calls_that_are_given_up_only_in_haste_are_the_machines_doing():
    hasty, calm = cell(*[0.15] * 9, failing=1), cell(*[0.01] * 9)
    assert restless(hasty) == 1
    assert calmer(hasty, calm)
    assert spacing(calm) == pytest.approx(0.2)


def test_calls_that_answer_with_an_error_now_and_then_may_do_so_by_chance():
    assert not calmer(cell(*[0.1] * 9, flags="", failing=1), cell(*[0.01] * 9))
    assert calmer(cell(*[0.1] * 17, flags="", failing=9), cell(*[0.01] * 17))


def test_calls_that_fail_one_at_a_time_too_are_not_mended_by_calm():
    assert not calmer(cell(*[0.15] * 9, failing=4), cell(*[0.15] * 9, failing=3))


def test_what_always_answers_with_an_error_is_sick():
    assert not restless(cell(*[0.1] * 5, flags="", failing=5))
    assert not restless(cell(*[0.1] * 5))


def test_an_answer_that_lacks_a_section_since_a_call_came_late_is_the_machines_doing():
    """Given up just as its answer came: the span says that all went well."""
    calm = cell(*[0.01] * 9)
    for late, told in ((0.15, True), (0.02, False)):
        hasty = cell(late, *[0.01] * 8)
        whole = [msgspec.structs.replace(one, sections={"stock": "1"}) for one in hasty.answers[1:]]
        hasty = msgspec.structs.replace(hasty, answers=(hasty.answers[0], *whole))
        assert restless(hasty) == 1
        assert calmer(hasty, calm) is told
