"""What headers say of caches."""

from __future__ import annotations

import pytest

from chaosmesh_ext.observe.caches import given_by, kept_by


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, ""),
        ({"age": "0", "x-cache": "MISS"}, ""),
        ({"age": "-1"}, ""),
        ({"age": "7 "}, "Age: 7"),
        ({"x-cache": "Hit from cloudfront"}, "x-cache: HIT"),
        ({"x-cache": "TCP_HIT"}, "x-cache: HIT"),
        ({"x-cache": "white"}, ""),
        ({"cache-status": "ExampleCache; hit; ttl=3"}, "cache-status: HIT"),
    ],
)
def test_whether_a_cache_gave_an_answer(headers, said):
    """By the words that proxies and delivery networks use."""
    assert given_by(headers) == said


@pytest.mark.parametrize(
    ("control", "may"),
    [
        ("", False),
        ("public, max-age=60", True),
        ("max-age=60", True),
        ("max-age=0, s-maxage=5", True),
        ("max-age=60, s-maxage=0", False),
        ("private, max-age=60", False),
        ("max-age=60, no-store", False),
        ("no-cache", False),
        ("public", False),
    ],
)
def test_whether_caches_that_many_share_may_keep_it(control, may):
    """Then a faulted answer may be given to somebody else."""
    assert bool(kept_by({"cache-control": control})) == may
