from __future__ import annotations

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Outliers
from chaosmesh_ext.model import Span, Trace, Workload


def test_it_speaks_istios_words():
    assert Outliers(3, 0, 1, 0.5, 100, 20).for_destination_rule() == {
        "outlierDetection": {
            "consecutive5xxErrors": 3,
            "consecutiveGatewayErrors": 0,
            "interval": "1s",
            "baseEjectionTime": "0.5s",
            "maxEjectionPercent": 100,
            "minHealthPercent": 20,
        }
    }
    assert Outliers(3).for_destination_rule() == {"outlierDetection": {"consecutive5xxErrors": 3}}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "nothing is said"),
        ({"consecutive_5xx_errors": -1}, "consecutive_5xx_errors -1"),
        ({"consecutive_gateway_errors": True}, "whole one"),
        ({"max_ejection_percent": 101}, "0 to 100"),
        ({"interval": 0.0}, "interval 0 s"),
        ({"base_ejection_time": float("inf")}, "base_ejection_time inf"),
    ],
)
def test_what_cannot_be_is_refused_with_what_could(arguments, word):
    with pytest.raises(InvalidInput, match=word):
        Outliers(**arguments)


def test_only_a_call_that_found_nobody_left_shows_it():
    """That one of several is away shows in no single call: istiod's word is the proof."""
    span = Span("t", "s", "", "CLIENT", "o", 0.0, 0.0, Workload("a"), flags=frozenset({"UH"}))
    assert Outliers(3).shows_in(span, Trace("t", ()))
    assert not Outliers(3).shows_in(Span("t", "s", "", "CLIENT", "o", 0.0, 0.0, Workload("a")), Trace("t", ()))


@pytest.mark.parametrize(("status", "leads"), [(200, False), (404, False), (507, True), (0, True)])
def test_calls_that_fare_well_eject_nobody(status, leads):
    span = Span("t", "s", "", "CLIENT", "o", 0.0, 0.0, Workload("a"), status=status)
    assert Outliers(3).leads(span) == leads
