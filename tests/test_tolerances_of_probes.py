"""Tolerances of what single probes return: what passes, and what is said of what does not."""

from __future__ import annotations

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.tolerances import (
    changed_at_least,
    changed_at_most,
    in_sync,
    like_control,
    no_worse_than,
    one_of,
    status_share,
)
from chaosmesh_ext.tolerances.words import heard

LOAD = {"requests": 50, "statuses": {"200": 30, "503": 15, "0": 5}, "flags": {"UO": 15}}
CHANGED = {
    "change": {"number": -0.3, "percent": -30.0, "deviations": -6.0},
    "remains": {"number": 0.01, "percent": None, "deviations": 0.5},
}
LIKE = {"statuses": {"200": 5}, "control_statuses": {"200": 5}, "slower_by": 0.02, "lost": [], "gained": []}
SYNCED = {"by": "istiod", "how": "/debug/syncz", "in_sync": True, "proxies": {"a.default": "SYNCED"}, "late": []}
MESSAGES = [
    {"code": "IST0102", "level": "Info", "message": "not enabled", "origin": "Namespace default"},
    {"code": "IST0101", "level": "Error", "message": "no host", "origin": "VirtualService default/reviews"},
]


@pytest.mark.parametrize("nothing", [None, {}, [], "x", 3, {"statuses": {}}, {"statuses": {"200": "x"}}])
def test_without_data_nothing_is_met(nothing):
    assert not status_share([".*"], value=nothing)
    assert not changed_at_most(number=1e9, value=nothing)
    assert not changed_at_least(number=0, value=nothing)
    assert not like_control(value=nothing)
    assert not in_sync(value=nothing)
    assert nothing == [] or not no_worse_than("Error", value=nothing)


@pytest.mark.parametrize(
    ("statuses", "lower", "upper", "met"),
    [
        ([503], 0.3, 0.3, True),
        ([503], 0.31, 1, False),
        (["5.."], 0.1, 1, True),
        ([200, "503"], 0.9, 0.9, True),
        ([0], 0, 0, False),
        ([404], 0, 0, True),
    ],
)
def test_a_share_of_statuses(statuses, lower, upper, met):
    assert status_share(statuses, lower, upper, value=LOAD) is met
    assert status_share(statuses, lower, upper, value=LOAD["statuses"]) is met


def test_a_change_is_judged_in_each_way_that_is_given():
    assert changed_at_most(percent=30, value=CHANGED)
    assert changed_at_most(number=0.3, percent=30, deviations=6, value=CHANGED)
    assert not changed_at_most(number=0.3, percent=29, value=CHANGED)
    assert changed_at_least(deviations=3, value=CHANGED)
    assert not changed_at_least(deviations=7, value=CHANGED)
    assert changed_at_most(number=0.02, window="remains", value=CHANGED)


def test_what_cannot_be_said_is_not_met():
    """Percent of nothing: neither little nor much."""
    assert not changed_at_most(percent=1e9, window="remains", value=CHANGED)
    assert not changed_at_least(percent=0, window="remains", value=CHANGED)


def test_an_answer_is_as_the_controls():
    assert like_control(value=LIKE)
    assert like_control(slower_by=0.02, value=LIKE)
    assert not like_control(slower_by=0.01, value=LIKE)
    assert not like_control(value={**LIKE, "statuses": {"200": 4, "503": 1}})
    assert not like_control(value={**LIKE, "lost": ["Book Details"]})
    assert like_control(sections=False, value={**LIKE, "lost": ["Book Details"]})
    assert not like_control(slower_by=1, value={**LIKE, "slower_by": None})


def test_every_proxy_must_be_in_sync():
    late = {**SYNCED, "proxies": {"a.default": "SYNCED", "b.default": "STALE"}}
    assert in_sync(value=SYNCED)
    assert not in_sync(value=late)
    assert in_sync(by="istiod", value=SYNCED)
    assert not in_sync(by="istiod", value={**SYNCED, "by": "readiness"})
    assert not in_sync(value={**SYNCED, "proxies": {}})


def test_messages_may_be_as_bad_as_was_said():
    assert no_worse_than("Error", value=MESSAGES)
    assert not no_worse_than("Warning", value=MESSAGES)
    assert no_worse_than("info", value=MESSAGES[:1])
    assert not no_worse_than("none", value=MESSAGES[:1])
    assert no_worse_than("none", value=[])
    assert not no_worse_than("Error", value=[{"level": "Fatal"}])


def test_the_mode_of_each_workload_is_one_of():
    assert one_of(["sidecar"], value={"details-v1": "sidecar", "reviews-v1": "sidecar"})
    assert not one_of(["sidecar"], value={"details-v1": "sidecar", "reviews-v1": "none and sidecar"})
    assert not one_of(["sidecar"], value={})


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: status_share(["5.."], 0.5, value=LOAD),
            "expected a share of 0.5 to 1 with status 5.., saw 0.3 (200: 30, 503: 15, 0: 5)",
        ),
        (
            lambda: changed_at_most(percent=5, deviations=2, value=CHANGED),
            (
                "expected a change of at most 5 %, 2 standard deviations during the fault, "
                "saw -30 %, -6 standard deviations"
            ),
        ),
        (
            lambda: changed_at_most(percent=5, window="remains", value=CHANGED),
            "expected a change of at most 5 % after the fault, saw no % of 0",
        ),
        (
            lambda: like_control(slower_by=0.01, value={**LIKE, "lost": ["A", "B"]}),
            "expected the control's statuses and sections, at most 0.01 s slower, saw without A, B; 0.02 s slower",
        ),
        (
            lambda: in_sync(value={**SYNCED, "proxies": {"a": "SYNCED", "b": "STALE"}}),
            "expected every proxy in sync, saw 1 of 2 late: b: STALE",
        ),
        (
            lambda: no_worse_than("Warning", value=MESSAGES),
            "expected no message worse than Warning, saw 1: Error IST0101 VirtualService default/reviews: no host",
        ),
        (lambda: in_sync(value=None), "expected every proxy in sync, saw no data"),
    ],
)
def test_what_was_expected_and_seen_is_said(call, line):
    with heard() as lines:
        assert not call()
    assert lines == [line]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: status_share([], value=LOAD), "statuses"),
        (lambda: status_share([503], 0.5, 0.1, value=LOAD), "0.5 to 0.1"),
        (lambda: status_share([503], 5, 50, value=LOAD), "from 0 to 1"),
        (lambda: status_share(["5("], value=LOAD), "no regular expression"),
        (lambda: status_share(["5xx"], upper=0, value=LOAD), "write e.g. 5.. or 503"),
        (lambda: status_share([200, True]), "'True'"),
        (lambda: changed_at_most(value=CHANGED), "give number, percent or deviations"),
        (lambda: changed_at_most(percent="much", value=CHANGED), "'much'"),
        (lambda: changed_at_least(number=1, window="after", value=CHANGED), "window"),
        (lambda: like_control(slower_by=-1, value=LIKE), "slower_by"),
        (lambda: in_sync(by="me", value=SYNCED), "'me'"),
        (lambda: no_worse_than("Fatal", value=MESSAGES), "'Fatal'"),
    ],
)
def test_a_tolerance_that_cannot_be_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words.replace("(", r"\(")):
        call()
