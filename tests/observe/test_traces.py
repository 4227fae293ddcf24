"""When a trace is complete, judged on traces that grow."""

from __future__ import annotations

import msgspec
import pytest

from chaosmesh_ext.model import Answer, Edge, Injected, Span, Trace, Workload
from chaosmesh_ext.observe.traces import Expected, calls_of, gather, gather_all, missing

ID = "1" * 32
GATEWAY, PAGE = Workload("gateway", "", "istio-system"), Workload("productpage", "v1")
REVIEWS, DETAILS, RATINGS = Workload("reviews", "v2"), Workload("details", "v1"), Workload("ratings", "v1")
MESH = 5000.0
"""The mesh's clock is not ours: seconds that it is ahead."""


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


class Growing:
    """A store in which each span is visible from its end on."""

    def __init__(self, clock: Clock, *spans: Span) -> None:
        self.clock, self.spans, self.asked = clock, spans, 0

    def many(self, ids):
        self.asked += 1
        seen = tuple(s for s in self.spans if s.end - MESH <= self.clock.now + 1e-9 and s.trace_id in ids)
        return {ID: Trace(ID, tuple(sorted(seen, key=lambda s: s.start)))} if seen else {}

    def trace(self, trace_id):
        return self.many([trace_id]).get(trace_id)

    def search(self, service, **_window):
        return []


def span(name: str, parent: str, workload: Workload, start: float, end: float, peer: str = "", **more) -> Span:
    """A span at START to END seconds after the request was sent."""
    kind = "CLIENT" if peer else "SERVER"
    return Span(
        ID, name, parent, kind, "op", 100 + MESH + start, end - start, workload, peer, **{"status": 200, **more}
    )


def healthy() -> list[Span]:
    return [
        span("g", "ours", GATEWAY, 0, 0.05),
        span("gc", "g", GATEWAY, 0, 0.05, "productpage"),
        span("p", "gc", PAGE, 0.001, 0.049),
        span("pd", "p", PAGE, 0.002, 0.010, "details"),
        span("d", "pd", DETAILS, 0.003, 0.009),
        span("pr", "p", PAGE, 0.012, 0.040, "reviews"),
        span("r", "pr", REVIEWS, 0.013, 0.039),
        span("rr", "r", REVIEWS, 0.015, 0.03, "ratings"),
        span("ra", "rr", RATINGS, 0.016, 0.029),
    ]


EXPECTED = Expected.of([Trace(ID, tuple(healthy()))])
ANSWER = Answer(ID, "http://x/", 100.0, 0.05, 200)
DELAY = Injected("delay", "ratings", delay=7.0)


def replaced(spans: list[Span], **new: Span) -> list[Span]:
    return [new.pop(s.span_id) if s.span_id in new else s for s in spans] + list(new.values())


def wait(*spans: Span, injected: Injected | None = None, expected: Expected | None = EXPECTED, later=0.0, **more):
    clock = Clock()
    clock.now += later
    found = gather(
        Growing(clock, *spans), [ANSWER], injected=injected, expected=expected, clock=clock, sleep=clock.sleep, **more
    )
    return found, clock.now - 100 - later


def test_the_control_says_what_to_expect():
    assert EXPECTED.entries == {"gateway"}
    assert {str(e) for e in EXPECTED.edges} == {
        "gateway → productpage", "productpage-v1 → details", "productpage-v1 → reviews", "reviews-v2 → ratings",
    }  # fmt: skip
    assert EXPECTED.answered == EXPECTED.edges


def test_a_trace_that_holds_everything_is_not_waited_for():
    found, took = wait(*healthy())
    assert not found.incomplete
    assert len(found.traces[ID].spans) == 9
    assert took < 0.1


def test_without_a_control_a_trace_must_have_been_quiet():
    found, took = wait(*healthy(), expected=None, quiet=0.5)
    assert not found.incomplete
    assert 0.5 <= took < 0.9


@pytest.mark.parametrize(("later", "waits"), [(1.5, True), (2.1, False)])
def test_what_ended_long_ago_is_quiet_already(later, waits):
    """Every probe reads all traces of its cell again: a second for each would be most of what an experiment takes."""
    _, took = wait(*healthy(), expected=None, later=later, flush=1.0, quiet=1.0)
    assert (took > 0.4) is waits


def test_a_long_trace_is_quiet_by_its_last_span_and_not_by_its_answer():
    late = span("b", "gc", RATINGS, 0, 9)
    _, took = wait(*healthy(), late, expected=None, later=9.1)
    assert took > 0.9


def test_what_an_abandoned_caller_leaves_behind_is_waited_for():
    """The page gave up on reviews after 3 s; reviews' own call to ratings ends 7 s later than the root."""
    gone = {"status": 0, "error": True}
    spans = replaced(
        healthy(),
        pr=span("pr", "p", PAGE, 0.012, 3.012, "reviews", flags=frozenset({"DC"}), **gone),
        r=span("r", "pr", REVIEWS, 0.013, 3.013, flags=frozenset({"DC"}), **gone),
        rr=span("rr", "r", REVIEWS, 0.015, 7.03, "ratings", flags=frozenset({"DI"})),
        ra=span("ra", "rr", RATINGS, 7.016, 7.029),
        p=span("p", "gc", PAGE, 0.001, 3.02),
        gc=span("gc", "g", GATEWAY, 0, 3.02, "productpage"),
        g=span("g", "ours", GATEWAY, 0, 3.02),
    )
    found, took = wait(*spans, injected=DELAY)
    assert not found.incomplete
    assert len(found.traces[ID].spans) == 9
    assert 7.03 <= took < 9


def test_a_second_attempt_that_nobody_waits_for_is_waited_for():
    """Between the attempts of an abandoned caller a trace is quiet for longer than a second."""
    gone = {"status": 0, "error": True, "flags": frozenset({"DI", "DC"})}
    spans = replaced(
        healthy(),
        r=span("r", "pr", REVIEWS, 0.013, 1.0, flags=frozenset({"DC"}), status=0),
        pr=span("pr", "p", PAGE, 0.012, 1.0, "reviews", flags=frozenset({"DC"}), status=0),
        rr=span("rr", "r", REVIEWS, 0.015, 2.515, "ratings", **gone),
        ra=span("rr2", "r", REVIEWS, 2.516, 5.016, "ratings", **gone),
    )
    found, _ = wait(*spans, injected=DELAY)
    assert not found.incomplete
    assert "rr2" in found.traces[ID].by_id


def test_who_can_do_without_second_attempts_has_the_trace_a_second_after_the_first():
    gone = {"status": 0, "error": True, "flags": frozenset({"DI", "DC"})}
    first = replaced(
        [one for one in healthy() if one.span_id != "ra"],
        r=span("r", "pr", REVIEWS, 0.013, 1.0, flags=frozenset({"DC"}), status=0),
        rr=span("rr", "r", REVIEWS, 0.015, 2.515, "ratings", **gone),
    )
    trace = Trace(ID, tuple(first))
    assert "may be calling ratings again" in missing(trace, ANSWER, 103.6, injected=DELAY, expected=EXPECTED)
    assert not missing(trace, ANSWER, 103.6, injected=DELAY, expected=EXPECTED, again=False)
    asked: list[tuple[str, float, float]] = []

    def free(workload: Workload, start: float, end: float) -> bool:
        asked.append((str(workload), round(start, 3), round(end, 3)))
        return len(asked) > 1

    assert missing(trace, ANSWER, 103.6, injected=DELAY, expected=EXPECTED, free=free)
    assert not missing(trace, ANSWER, 103.6, injected=DELAY, expected=EXPECTED, free=free)
    assert len(set(asked)) == 1


def test_the_traces_of_several_cells_are_asked_for_together_each_judged_by_its_own_fault():
    clock, other = Clock(), "2" * 32
    slow = [msgspec.structs.replace(one, trace_id=other) for one in healthy() if one.span_id not in ("rr", "ra")]

    class Store(Growing):
        def many(self, ids):
            found = super().many([one for one in ids if one == ID])
            return {**found, other: Trace(other, tuple(slow))} if other in ids else found

    store = Store(clock, *healthy())
    answers = [(None, [ANSWER]), (DELAY, [msgspec.structs.replace(ANSWER, trace_id=other)])]
    found = gather_all(store, answers, expected=EXPECTED, clock=clock, sleep=clock.sleep)
    assert not found.incomplete
    assert set(found.traces) == {ID, other}
    assert 8 <= clock.now - 100 < 8.5  # the delay of the second, in which a call that may still come is waited for
    alone = Growing(now := Clock(), *slow)
    gather(alone, [ANSWER], injected=DELAY, expected=EXPECTED, clock=now, sleep=now.sleep)
    assert store.asked <= alone.asked + 1


def test_a_call_that_never_comes_is_given_up_after_the_delay():
    """An edge that this request did not take must not hold the run for ever."""
    spans = [s for s in healthy() if s.span_id not in ("rr", "ra")]
    found, took = wait(*spans, injected=DELAY)
    assert not found.incomplete
    assert 8 <= took < 8.5


def test_other_versions_owe_nothing():
    """reviews v1 never calls ratings."""
    spans = [s for s in healthy() if s.span_id not in ("rr", "ra", "r")]
    spans.append(span("r", "pr", Workload("reviews", "v1"), 0.013, 0.039))
    assert wait(*spans)[1] < 0.1


def test_what_stays_incomplete_is_returned_with_the_reason():
    spans = [s for s in healthy() if s.span_id != "gc"]
    found, took = wait(*spans, timeout=2)
    assert found.incomplete == {ID: "spans came whose parents did not"}
    assert len(found.traces[ID].spans) == 8
    assert 2 <= took < 2.3
    found, _ = wait(timeout=1)
    assert found.incomplete == {ID: "the trace store has no span of it"}
    assert not found.traces


def test_a_trace_without_its_root_is_not_complete():
    """The gateway's span comes last; the page's own would look like a root."""
    spans = [s for s in healthy() if s.span_id not in ("g", "gc")]
    found, _ = wait(*spans, timeout=2)
    assert found.incomplete == {ID: "the root, a span of gateway, has not ended"}


def test_a_failed_call_is_a_reason_to_look_once_more():
    """Whoever failed may try again."""
    spans = replaced(healthy(), pd=span("pd", "p", PAGE, 0.002, 0.01, "details", status=503, error=True))
    spans = [s for s in spans if s.span_id != "d"]
    abort = Injected("abort", "details", status=503)
    assert 1 <= wait(*spans, injected=abort)[1] < 1.5


def test_a_callees_own_span_that_is_late_is_waited_for():
    spans = replaced(healthy(), d=span("d", "pd", DETAILS, 0.003, 0.6))
    found, took = wait(*spans)
    assert "d" in found.traces[ID].by_id
    assert 0.6 <= took < 1


def test_an_answer_that_nobody_traced_is_not_asked_for():
    clock = Clock()
    store = Growing(clock)
    assert not gather(store, [Answer("", "u", 100, 1, 200)], clock=clock, sleep=clock.sleep).incomplete
    assert store.asked == 0


@pytest.mark.parametrize("ahead", [-MESH, 0, MESH])
def test_the_meshs_clock_does_not_matter(ahead):
    spans = [s for s in healthy() if s.span_id not in ("rr", "ra")]
    moved = Trace(ID, tuple(msgspec.structs.replace(s, start=s.start + ahead) for s in spans))
    assert missing(moved, ANSWER, 107.9, injected=DELAY, expected=EXPECTED)
    assert not missing(moved, ANSWER, 108.1, injected=DELAY, expected=EXPECTED)


def test_an_applications_own_spans_may_stand_between():
    inner = span("app", "p", PAGE, 0.001, 0.04, proxy=False)
    sdk = span("sdk", "app", PAGE, 0.002, 0.03, "details", proxy=False)
    call = span("pd", "sdk", PAGE, 0.003, 0.02, "details")
    trace = Trace(ID, (span("p", "", PAGE, 0, 0.05), inner, sdk, call))
    assert calls_of(trace) == {"p": [call]}
    assert Expected.of([trace]).edges == {Edge(PAGE, "details")}
