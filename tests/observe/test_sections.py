"""What the user sees, cut so that a loss shows and chance does not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosmesh_ext.observe.sections import DEEPEST, normalised, sections

PAGE = """<html><head><title>Shop</title><style>h1 {}</style><script>var x = "<h1>no</h1>" + %(id)s;</script></head>
<body><h1>Comedy of <em>Errors</em></h1><p>Summary</p>
<h4>Book Details</h4><dl><dt>Pages<dd>200</dl>
<h4>Book Reviews</h4><p>Good!</p><small>served by reviews-v2-%(pod)s at %(time)s, request %(id)s</small></body></html>"""


def page(body: str) -> dict[str, str]:
    return sections(body.encode(), "text/html; charset=utf-8")


def data(value: object) -> dict[str, str]:
    return sections(json.dumps(value).encode(), "application/json")


def test_a_page_is_cut_by_its_headings():
    found = page(PAGE % {"id": 1, "pod": "7c9f7d5b6-x2x4z", "time": "10:00:01"})
    assert list(found) == ["(top)", "Comedy of Errors", "Book Details", "Book Reviews"]
    assert all(len(digest) == 12 for digest in found.values())


def test_ids_times_and_pods_do_not_change_a_page():
    a = PAGE % {"id": "f47ac10b-58cc-4372-a567-0e02b2c3d479", "pod": "7c9f7d5b6-x2x4z", "time": "2026-11-21T10:00:01Z"}
    b = PAGE % {"id": "00000000-58cc-4372-a567-0e02b2c3d479", "pod": "bd4fcc5c9-8k9lm", "time": "2026-11-22T11:10:01Z"}
    assert page(a) == page(b)


def test_a_changed_section_changes_alone():
    a, b = (page(PAGE.replace("200", pages) % {"id": 1, "pod": "x", "time": 1}) for pages in ("200", "201"))
    assert [name for name in a if a[name] != b[name]] == ["Book Details"]


def test_the_error_in_place_of_a_section_is_a_section_of_its_own():
    healthy = page("<h4>Book Details</h4><p>200</p>")
    broken = page("<h4>Error fetching product details!</h4><p>Sorry.</p>")
    assert healthy.keys().isdisjoint(broken)


def test_headings_of_one_name_are_told_apart():
    assert list(page("<h2>A</h2>1<h2>A</h2>2<h2></h2>")) == ["A", "A (2)", "(empty)"]


def test_a_missing_picture_shows():
    assert page('<h2>A</h2><img alt="five stars">') != page("<h2>A</h2><img>")


@pytest.mark.parametrize("change", [None, {"default": True}, {"error": "x"}, {}, [], "", 0, False])
def test_healthy_null_default_and_error_objects_differ(change):
    """A fallback must never look like the real thing, nor like another kind of loss."""
    healthy = {"service": "frontend", "sections": {"catalog": {"items": [1]}, "cart": {"total": 3}}}
    other = {"service": "frontend", "sections": {"catalog": {"items": [1]}, "cart": change}}
    a, b = data(healthy), data(other)
    changed = {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
    assert changed
    assert all(name.startswith("sections.cart") for name in changed)


def test_every_kind_of_stand_in_is_its_own():
    stands = [None, {"default": True}, {"default": False}, {"error": "x"}, {"error": "y"}, {}, [], "", 0, False]
    seen = [json.dumps(data({"sections": {"cart": stand}}), sort_keys=True) for stand in stands]
    assert len(set(seen)) == len(stands)


def test_what_is_lost_deep_inside_an_answer_is_a_section_that_is_lost():
    """Bookinfo's stars: reviews[0].rating is an object when all is well, and an error when ratings is gone."""
    review = {"reviewer": "R", "text": "T", "rating": {"stars": 5, "color": "black"}}
    healthy = data({"id": "0", "podname": "reviews-v2-7c9f7d5b6-x2x4z", "reviews": [review]})
    broken = data({"id": "0", "podname": "b", "reviews": [{**review, "rating": {"error": "not available"}}]})
    assert healthy.keys() - broken.keys() == {"reviews[0].rating.stars", "reviews[0].rating.color"}
    assert broken.keys() - healthy.keys() == {"reviews[0].rating.error"}


def test_what_lies_deeper_than_the_deepest_level_belongs_to_its_ancestor():
    """An answer without end must not become sections without end."""
    deep: dict = {"leaf": 1}
    for _ in range(20):
        deep = {"in": deep}
    assert len(data(deep)) == DEEPEST


def test_volatile_leaves_do_not_count():
    a = data({"request_id": "a", "created": 1795248857, "at": "2026-11-21 10:00:00", "latency": 3, "n": 1})
    b = data({"request_id": "b", "created": 1795248858, "at": "2026-11-21 10:00:05", "latency": 4, "n": 1})
    assert a == b
    assert a != data({"request_id": None, "created": 1795248858, "at": "2026-11-21", "latency": 4, "n": 1})


def test_many_items_stay_few_sections():
    assert len(data(list(range(1000)))) == 51


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"plain", "text/plain"),
        (b"{", "application/json"),
        (b"\x00\xff", "image/png"),
        (b"", ""),
        (b"3", "application/json"),
    ],
)
def test_anything_else_is_one_section(body, kind):
    assert list(sections(body, kind)) == ["body"]


def test_a_charset_that_nobody_knows_does_no_harm():
    assert list(sections(b"<h1>x</h1>", "text/html; charset=klingon")) == ["x"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("reviews-v2-7c9f7d5b6-x2x4z", "reviews-v2-<pod>"),
        ("5 stars for book 0", "5 stars for book 0"),
        ("deadbeef00", "<id>"),
        ("effaced", "effaced"),
        ("v1.20.3  or\n1.2.3-rc1", "<version> or <version>"),
        ("took 12.5 ms", "took <duration>"),
        ("from 10.1.2.3:8080", "from <address>"),
        ("21 Nov 2026 09:08:07 GMT", "<time> <time>"),
    ],
)
def test_only_what_looks_volatile_is_replaced(text, plain):
    assert normalised(text) == plain


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(value=_JSON)
def test_any_json_has_sections_and_equal_ones_equal(value):
    assert data(value)
    assert data(value) == data(json.loads(json.dumps(value)))


@given(text=st.text())
def test_any_text_can_be_a_page(text):
    assert sections(text.encode(errors="replace"), "text/html")
