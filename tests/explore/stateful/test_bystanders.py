"""What stateful waves did to others, in numbers."""

from __future__ import annotations

import msgspec

from chaosmesh_ext.explore.stateful.bystanders import effect
from chaosmesh_ext.model import Answer, Cell

URL = "http://gateway/shop"
WELL = Answer("", URL, 0.0, 0.02, 200, {"stock": "a", "advice": "b"})


def answer(**facts) -> Answer:
    return msgspec.structs.replace(WELL, **facts)


def test_failures_lost_sections_and_times_are_counted_against_healthy_answers():
    control = Cell("0", None, (WELL,) * 10, {})
    bad = [answer(status=502, sections={}), answer(status=0, error="timed out", duration=30.0)]
    seen = effect(5, "breaker", control, [*[answer(duration=0.1)] * 17, *bad, answer(sections={"stock": "a"})])
    assert (seen.requests, seen.failed, seen.incomplete) == (20, 2, 1)
    assert (seen.p95_s, seen.healthy_p95_s) == (30.0, 0.02)
    assert "of 20 requests that were not faulted meanwhile 2 failed and 1 lacked a section; p95 30 s" in str(seen)


def test_nothing_is_said_of_what_nobody_saw():
    control = Cell("0", None, (WELL,), {})
    assert str(effect(5, "breaker", control, [])) == "wave 5, breaker: no request of others was sent meanwhile"


def test_sections_that_come_and_go_by_themselves_are_not_missed():
    control = Cell("0", None, (WELL,), {}, unsteady={URL: "sections come and go"})
    assert effect(5, "breaker", control, [answer(sections={})]).incomplete == 0
