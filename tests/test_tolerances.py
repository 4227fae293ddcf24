"""Tolerances: what passes, what does not, and what is said of it."""

from __future__ import annotations

import logging
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.tolerances import at_least, at_most, between, close_to, contains_section, one_of
from chaosmesh_ext.tolerances.words import heard


@pytest.mark.parametrize("nothing", [None, math.nan, [], {}, "", "soon", True])
def test_no_data_never_passes(nothing):
    """A probe that saw nothing must not make an experiment green, however wide the bounds."""
    assert not between(-math.inf, math.inf, value=nothing)
    assert not at_most(math.inf, value=nothing)
    assert not at_least(-math.inf, value=nothing)
    assert not close_to(0, within=1e9, value=nothing)


@pytest.mark.parametrize("nothing", [None, math.nan, [], {}])
def test_no_data_is_none_of_the_values_and_has_no_section(nothing):
    assert not one_of([None, 1], value=nothing)
    assert not contains_section("Reviews", value=nothing)


def test_bounds_belong_to_the_range():
    assert between(1, 2, value=1)
    assert between(1, 2, value=2.0)
    assert not between(1, 2, value=2.001)
    assert at_most(2, value=2)
    assert at_least(2, value=2)


def test_each_quantile_must_hold():
    assert at_most(1.0, value=[0.2, 0.9])
    assert not at_most(1.0, value=[0.2, 1.1])


def test_a_bound_for_each_quantile():
    assert at_most([0.1, 0.5], value=[0.1, 0.4])
    assert not at_most([0.1, 0.5], value=[0.2, 0.4])
    with pytest.raises(InvalidInput, match="2 numbers for 3 values"):
        at_most([0.1, 0.5], value=[0.1, 0.2, 0.3])


def test_numbers_of_the_environment_are_numbers():
    """Configuration from the environment arrives as text."""
    assert between("1", "2", value=1.5)


@given(st.floats(-1e6, 1e6), st.floats(0, 100))
@example(27858.0, 1.3e-14)
@example(999_999.7, 1e-13)
def test_close_to_counts_percent_of_what_was_expected(expected, within):
    margin = abs(expected) * within / 100
    assert close_to(expected, within, value=expected)
    assert close_to(expected, within, value=expected + margin * 0.999)
    assert not close_to(expected, within, value=expected + margin * 1.001 + 1e-6)


def test_three_seconds_within_five_percent():
    assert close_to(3.0, within=5, value=3.149)
    assert not close_to(3.0, within=5, value=3.151)


def test_sections_are_found_in_names_and_in_mappings():
    assert contains_section(["Book Details"], value=["Book Details", "Book Reviews"])
    assert contains_section("Book Details", value={"Book Details": "1f"})
    assert not contains_section(["Book Details", "Stars"], value=["Book Details"])


def test_one_of_looks_at_each_value():
    assert one_of([200, 404], value=200)
    assert one_of(["", "FI"], value=["FI", "", ""])
    assert not one_of(["", "FI"], value=["FI", "DI"])


def test_what_was_expected_and_seen_is_logged(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("chaostoolkit"), "propagate", True)
    assert not between(2.8, 3.5, value=7.0123456)
    assert caplog.messages == ["expected between 2.8 and 3.5, saw 7.012"]


def test_what_was_expected_and_seen_can_be_heard_instead(caplog):
    with heard() as lines:
        assert not close_to(3, value=None)
        assert not contains_section(["A", "B"], value=["A"])
    assert lines == ["expected 3 within 5 %, saw no data", "expected the sections A, B, saw A"]
    assert not caplog.messages


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: between(2, 1, value=1), "swap"),
        (lambda: at_most("fast", value=1), "'fast'"),
        (lambda: close_to(1, within=-5, value=1), "-5"),
        (lambda: one_of([], value=1), "values"),
        (lambda: contains_section([], value=["A"]), "sections"),
        (lambda: contains_section("", value=["A"]), "sections"),
        (lambda: between([1, 5], [2, 4]), "lower 5 is above upper 4"),
        (lambda: at_most([]), "not a number"),
        (lambda: at_least("fast", value=[]), "'fast'"),
    ],
)
def test_a_tolerance_that_cannot_be_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()


def test_without_a_value_a_bound_for_each_number_is_fine():
    """So are tolerances tried before the run."""
    assert not between(0, [1, 2, 3])
    assert not between([0, 1], 2)
    assert not at_most([0.1, 0.5], value=[])
