"""A number over windows of time, from a Prometheus that says what a test wants."""

from __future__ import annotations

import math
from urllib.parse import parse_qs, urlsplit

import pytest

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.windows import Summary, Window, difference, summary

WINDOW = Window("before", 1000.0, 1010.0)


def says(told, *values: str) -> Prometheus:
    points = [[1000.0 + at, value] for at, value in enumerate(values) if value]
    result = [{"metric": {}, "values": points}] if points else []
    told.says(200, {"status": "success", "data": {"resultType": "matrix", "result": result}})
    return Prometheus(told.url)


def test_a_window_is_looked_at_every_second(told):
    found = summary(says(told, *"12345678901"), "x", WINDOW)
    asked = parse_qs(urlsplit(told.asked[0][1]).query)
    assert (asked["start"], asked["end"], asked["step"]) == (["1000.000"], ["1010.000"], ["1.000"])
    assert (found.samples, found.lowest, found.highest) == (11, 0, 9)
    assert found.mean == pytest.approx(46 / 11)


def test_a_long_one_at_sixty_moments(told):
    with pytest.raises(Inconclusive):
        summary(says(told), "x", Window("before", 0, 6000))
    assert parse_qs(urlsplit(told.asked[0][1]).query)["step"] == ["100.000"]


@pytest.mark.parametrize("hole", ["", "NaN", "+Inf"])
def test_moments_without_data_are_not_left_out_of_the_account(told, hole):
    """A rate of errors of no requests is NaN: the seconds with traffic alone would say that all was well."""
    fine = ["1"] * 9 + [hole] * 2
    assert summary(says(told, *fine), "x", WINDOW).samples == 9
    with pytest.raises(Inconclusive, match="no data for 'x' at 3 of 11 moments of the window before"):
        summary(says(told, *(["1"] * 8 + [hole] * 3)), "x", WINDOW)


def test_several_series_are_not_one_number(told):
    result = [{"metric": {"a": name}, "values": [[1000.0, "1"]]} for name in "bc"]
    told.says(200, {"status": "success", "data": {"resultType": "matrix", "result": result}})
    with pytest.raises(InvalidInput, match="2 series"):
        summary(Prometheus(told.url), "x", WINDOW)


@pytest.mark.parametrize(("start", "end"), [(10, 10), (10, 5), (10, 12), (10, math.nan)])
def test_a_window_is_a_span_of_time(start, end):
    with pytest.raises(InvalidInput, match="3 s or more"):
        Window("during", start, end)


def test_a_difference_is_in_units_in_percent_and_in_deviations():
    usual = Summary(10.0, 2.0, 8, 12, 10)
    assert difference(usual, Summary(15.0, 0.1, 15, 15, 9)) == {"number": 5.0, "percent": 50.0, "deviations": 2.5}
    assert difference(Summary(-10.0, 2.0, 0, 0, 9), usual)["percent"] == 200


def test_what_cannot_be_said_is_none_and_never_0():
    """From nothing to something is no percentage, and from what never varied no number of deviations."""
    nothing = Summary(0.0, 0.0, 0, 0, 10)
    assert difference(nothing, Summary(3.0, 0, 3, 3, 3)) == {"number": 3.0, "percent": None, "deviations": None}
    assert difference(nothing, nothing) == {"number": 0.0, "percent": 0.0, "deviations": 0.0}
