"""Who calls whom, against what it was; and what chance may do to it."""

from __future__ import annotations

from spans import healthy, span, trace

from chaosmesh_ext.observe.shapes import Shape, difference, shape_of

DETAILS, REVIEWS = "productpage → details GET /details/*", "productpage → reviews GET /reviews/*"
RATINGS = "reviews → ratings GET /ratings/*"


def test_a_shape_is_calls_without_ids_and_versions():
    shape = shape_of([healthy(1), healthy(2, reviews="v2"), healthy(3, reviews="v3")])
    assert shape == Shape(
        {"gateway → productpage GET /productpage/*": 3, DETAILS: 3, REVIEWS: 3, RATINGS: 2},
        requests=3,
    )
    assert "reviews-v2 → ratings GET /ratings/*" in shape_of([healthy(1, reviews="v2")], versions=True).calls


def test_a_call_counts_once_a_request_and_ids_are_no_names():
    url = "http://a/users/6f9619ff-8b86-d011-b42d-00cf4fc964ff/cafe0123/cafe"
    twice = trace(span(1, 0, "CLIENT", "a → b", 0, 1, url=url), span(2, 0, "CLIENT", "a → b", 1, 1, url=url))
    assert shape_of([twice]).calls == {"a → b GET /users/*/*/cafe": 1}


def test_what_every_request_does_is_missed_at_once():
    before, now = Shape({"a": 5, "b": 5}, 5), Shape({"a": 1, "c": 1}, 1)
    found = difference(before, now)
    assert (found.missing, found.new, found.unsure) == (("b",), ("c",), ())


def test_what_a_third_does_may_be_absent_by_chance():
    """Three versions of reviews, of which one calls nobody."""
    before = Shape({"a": 30, "rare": 10}, 30)
    assert difference(before, Shape({"a": 5}, 5)).unsure == ("rare",)
    assert difference(before, Shape({"a": 12}, 12)).missing == ("rare",)
    assert difference(Shape({"a": 5}, 5), before).unsure == ("rare",)
    assert difference(Shape({"a": 12}, 12), before).new == ("rare",)


def test_the_same_is_no_difference():
    found = difference(shape_of([healthy(1)]), shape_of([healthy(2)]))
    assert (found.missing, found.new, found.unsure) == ((), (), ())
