"""Which waves are tried again, and what is said of them."""

from chaosmesh_ext.errors import Astray, Inconclusive
from chaosmesh_ext.explore.second_try import SecondTry
from chaosmesh_ext.explore.waves import Wave

DELAY, ABORT = Wave(1, "delay"), Wave(2, "abort")


def test_a_wave_that_proved_nothing_is_tried_twice_more():
    second = SecondTry()
    second.failed(ABORT, "the control was slower")
    second.failed(DELAY, Inconclusive("the store was gone"))
    tried = second.take()
    assert next(tried) == (DELAY, "wave 1, delay: the store was gone; tried again")
    second.failed(DELAY, "the control was slower")
    assert next(tried)[0] == DELAY
    second.failed(DELAY, "the control was slower")
    assert [wave for wave, _ in tried] == [ABORT]
    assert second.problems == ("wave 1, delay: the control was slower",)


def test_a_wave_that_did_not_come_to_its_second_try_is_a_problem():
    second = SecondTry()
    second.failed(DELAY, "the control was slower")
    assert second.problems == ("wave 1, delay: the control was slower",)


def test_a_wave_that_met_others_is_not_tried_again():
    second = SecondTry()
    second.failed(DELAY, Astray("a fault was met elsewhere"))
    assert not list(second.take())
    assert second.problems == ("wave 1, delay: a fault was met elsewhere",)
