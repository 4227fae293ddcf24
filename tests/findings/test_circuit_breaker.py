"""circuit-breaker: on the traces that a breaker of known words leaves."""

from __future__ import annotations

import msgspec
import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.stimulus import LONGEST, MOST_FAILURES, SHORTEST_PAUSE, enough, pause, silent_for
from chaosmesh_ext.model import Injected

URL = "http://gateway/productpage"
ABORT = Injected("abort", "details", ("productpage-v1",), status=503, carrier="envoyfilter")
INBOUND = Injected("abort", "details", status=503, carrier="inbound")


class Breaker:
    """Opens after so many failures in a row for so many seconds, then lets one through; None never opens."""

    def __init__(self, failures, open_for=2.0, *, half_open=True):
        self.failures, self.open_for, self.half_open = failures, open_for, half_open
        self.count, self.until, self.trial = 0, 0.0, False

    def lets_through(self, now):
        if now < self.until:
            return False
        self.trial, self.until = bool(self.until) and self.half_open, 0.0
        return True

    def failed(self, now):
        self.count += 1
        if self.failures and (self.trial or self.count >= self.failures):
            self.until, self.count = now + self.open_for, 0


@pytest.fixture
def visit(world):
    """One request at a time; the calls of the page to details are those that the breaker lets through."""

    def of(at, breaker, pod="a", attempts=1, took=0.001, **call):
        r = world.request()
        r.t0 = at
        page = r.server("productpage-v1", 0, 0.004 + attempts * (took + 0.002), url=URL, pod=pod)
        for i in range(attempts):
            start = 0.002 + i * (took + 0.001)
            if not breaker.lets_through(at + start):
                break
            facts = {"flags": "FI", "status": 503} | call
            r.call("productpage-v1", "details", start, took, page, pod=pod, **facts)
            breaker.failed(at + start + took)
        return r, world.answer(r, 0.01, status=200, sections=("Book Reviews",))

    return of


@pytest.fixture
def cell(world):
    def of(pairs, injected=ABORT, purpose="circuit-breaker"):
        return msgspec.structs.replace(world.cell("1", injected, pairs), purpose=purpose)

    return of


@pytest.fixture
def look(world, visit, found, cell):
    """What the rule says of one request after the other, by turns to as many pods, each asked every 50 ms for six
    seconds.
    """

    def of(breakers, **more):
        pods = list(enumerate(breakers))
        pairs = [visit(5000 + 0.05 * i + 0.02 * n, pod, f"pod-{n}", **more) for i in range(120) for n, pod in pods]
        judgement = judge(world.control(), [cell(pairs)])
        return found(judgement, "circuit-breaker"), judgement

    return of


def test_a_breaker_is_stated_with_its_failures_and_its_time(look):
    [finding], _ = look([Breaker(5)])
    assert (finding.value, finding.unit, finding.who, finding.kind) == (5, "failures", "application", "half-open")
    assert finding.numbers["open_s"] == pytest.approx(2.0, abs=0.06)
    assert finding.severity == "info"
    assert finding.source == "productpage"
    assert "stops calling details after 5 failures in a row, for 2.0 s" in finding.summary
    assert finding.fix is None


@pytest.mark.parametrize(("failures", "open_for"), [(1, 0.5), (3, 1.0), (8, 4.0), (6, 0.2)])
def test_other_words_are_found_as_well(look, failures, open_for):
    [finding], _ = look([Breaker(failures, open_for)])
    assert finding.value == failures
    assert finding.numbers["open_s"] == pytest.approx(open_for, abs=max(0.1 * open_for, 0.1))


def test_attempts_within_one_request_count_each(look):
    """Five failures of three attempts each: the second request is cut short."""
    [finding], _ = look([Breaker(5)], attempts=3)
    assert (finding.value, finding.kind) == (5, "half-open")


def test_replicas_count_each_for_itself(look):
    """Two pods in turn make ten failed calls before the first silence; each opened after five."""
    [finding], _ = look([Breaker(5), Breaker(5)])
    assert finding.value == 5
    assert "2 of 2 pods" in finding.summary


def test_a_pod_that_had_failed_before_does_not_lower_the_count(look):
    early = Breaker(5)
    early.failed(4000)
    [finding], _ = look([early, Breaker(5)])
    assert finding.value == 5
    assert "1 of 2 pods" in finding.summary


def test_one_that_counts_anew_after_its_time_is_told_from_one_that_tries(look):
    [finding], _ = look([Breaker(5, 1.0, half_open=False)])
    assert (finding.value, finding.kind) == (5, "closed again")


def test_no_breaker_is_no_finding(look, reasons):
    findings, judgement = look([Breaker(None)])
    assert not findings
    assert reasons(judgement, "circuit-breaker") == ["nothing opened within 120 failed calls in a row"]


def test_one_that_stays_open_is_stated_with_what_was_seen(look):
    [finding], _ = look([Breaker(5, 100.0)])
    assert finding.value == 5
    assert finding.numbers == {"open_at_least_s": pytest.approx(5.6, abs=0.2)}
    assert "or more" in finding.summary


def test_two_lost_spans_are_no_open_breaker(world, visit, cell, found):
    never = Breaker(None)
    pairs = [visit(5000 + 0.05 * i, never) for i in range(20)]
    for r, _ in pairs[5:7]:
        r.spans = [span for span in r.spans if span.kind == "SERVER"]
    assert not found(judge(world.control(), [cell(pairs)]), "circuit-breaker")


def test_requests_that_do_not_need_the_call_are_no_silence(world, visit, cell, found):
    never, pairs = Breaker(None), []
    for i in range(30):
        if i % 10 < 5:
            pairs.append(visit(5000 + 0.05 * i, never))
        else:
            r = world.request()
            r.t0 = 5000 + 0.05 * i
            r.server("productpage-v1", 0, 0.004, url="http://x/login", pod="a")
            pairs.append((r, world.answer(r, 0.01)))
    assert not found(judge(world.control(), [cell(pairs)]), "circuit-breaker")


def test_callers_that_stop_calling_the_caller_are_not_its_breaker(world, visit, cell, found, reasons):
    """The page is not asked any more: that is the doing of whoever calls it."""
    never = Breaker(None)
    pairs = [visit(5000 + 0.05 * i, never) for i in range(6)]
    for _ in range(24):
        r = world.request()
        r.server("gateway-latest", 0, 0.004)
        pairs.append((r, world.answer(r, 0.01)))
    judgement = judge(world.control(), [cell(pairs)])
    assert not found(judgement, "circuit-breaker")
    assert reasons(judgement, "circuit-breaker") == ["nothing opened within 6 failed calls in a row"]


def test_calls_at_the_same_time_do_not_tell_the_count(world, visit, cell, found, reasons):
    breaker = Breaker(5)
    pairs = [visit(5000 + 0.001 * i, breaker, took=0.5) for i in range(8)]
    pairs += [visit(5000.6 + 0.05 * i, breaker) for i in range(10)]
    judgement = judge(world.control(), [cell(pairs)])
    assert not found(judgement, "circuit-breaker")
    assert "send in turn" in reasons(judgement, "circuit-breaker")[0]


def test_one_that_was_open_from_the_start_does_not_tell_its_count(world, visit, cell, found, reasons):
    breaker = Breaker(5)
    breaker.until = 5001.0
    judgement = judge(world.control(), [cell([visit(5000 + 0.05 * i, breaker) for i in range(80)])])
    assert not found(judgement, "circuit-breaker")
    assert "open before" in reasons(judgement, "circuit-breaker")[0]


def test_cells_for_another_rule_are_not_read(world, visit, cell):
    breaker = Breaker(5)
    pairs = [visit(5000 + 0.05 * i, breaker) for i in range(80)]
    rules = {finding.rule for finding in judge(world.control(), [cell(pairs, purpose="bulkhead")]).findings}
    assert "circuit-breaker" not in rules
    assert {f.rule for f in judge(world.control(), [cell(pairs)]).findings} == {"circuit-breaker"}


# --- ejection by the sidecar ------------------------------------------------------------------------------------------


@pytest.fixture
def sent(world):
    """One call of the page at AT; answered by POD of details, or by nobody."""

    def of(at, pod=None, status=503):
        r = world.request()
        r.t0 = at
        page = r.server("productpage-v1", 0, 0.01, url=URL, pod="page")
        facts = {"status": status} if pod else {"status": 503, "flags": "UH"}
        c = r.call("productpage-v1", "details", 0.001, 0.004, page, pod="page", **facts)
        if pod:
            r.server("details-v1", 0.002, 0.002, c, pod=pod, status=status, flags="FI" if status == 503 else "")
        return r, world.answer(r, 0.01)

    return of


def test_an_ejection_is_the_sidecars(world, sent, cell, found):
    pairs = [sent(5000 + 0.1 * i, "only") for i in range(3)]
    pairs += [sent(5000.3 + 0.1 * i) for i in range(27)]
    pairs += [sent(5003 + 0.1 * i, "only") for i in range(2)]
    [finding] = found(judge(world.control(), [cell(pairs, INBOUND)]), "circuit-breaker")
    assert (finding.value, finding.who, finding.kind) == (3, "sidecar", "all ejected")
    assert finding.numbers["open_s"] == pytest.approx(2.8, abs=0.1)


def test_calls_that_move_to_other_pods_show_an_ejection(world, sent, cell, found):
    pairs = [sent(5000 + 0.1 * i, "bad") for i in range(4)] + [sent(5001 + 0.1 * i, "good", 200) for i in range(12)]
    [finding] = found(judge(world.control(), [cell(pairs, INBOUND)]), "circuit-breaker")
    assert (finding.value, finding.who, finding.kind) == (4, "sidecar", "moved to other pods")


def test_a_pod_that_was_not_called_for_a_few_times_was_not_ejected(world, sent, cell, found):
    pairs = [
        sent(5000 + 0.1 * i, *("bad", 503) if bad == "1" else ("good", 200)) for i, bad in enumerate("1001010001011")
    ]
    assert not found(judge(world.control(), [cell(pairs, INBOUND)]), "circuit-breaker")


# --- the stimulus -----------------------------------------------------------------------------------------------------


def ask(world, visit, cell, breaker, most=400):
    """Requests as the stimulus wants them, until they are enough: how many, and the cell."""
    baseline, at, pairs = Baseline(world.control()), 5000.0, []
    while len(pairs) < most:
        pairs.append(visit(at, breaker))
        made = cell(pairs)
        if enough(baseline, made):
            break
        at += 0.01 + pause(silent_for(baseline, made))
    return len(pairs), made


@pytest.mark.parametrize(("failures", "open_for"), [(3, 0.3), (5, 2.0), (10, 20.0)])
def test_a_breaker_is_decided_with_few_requests_however_long_it_opens(world, visit, cell, found, failures, open_for):
    sent, made = ask(world, visit, cell, Breaker(failures, open_for))
    assert sent < 150
    [finding] = found(judge(world.control(), [made]), "circuit-breaker")
    assert finding.value == failures
    assert finding.numbers["open_s"] == pytest.approx(open_for, abs=max(0.1 * open_for, 0.1))


def test_without_a_breaker_it_is_over_after_so_many_failures(world, visit, cell):
    sent, _ = ask(world, visit, cell, Breaker(None))
    assert sent == MOST_FAILURES


def test_one_that_does_not_close_is_given_up(world, visit, cell):
    _, made = ask(world, visit, cell, Breaker(5, 1e6))
    assert silent_for(Baseline(world.control()), made) >= LONGEST


def test_nothing_is_enough_before_anything_was_seen(world, cell):
    assert not enough(Baseline(world.control()), cell([]))


def test_no_pause_is_shorter_than_what_must_be_told_apart():
    assert pause(0) == 0
    assert pause(0.1) == SHORTEST_PAUSE
    assert pause(20) == pytest.approx(1.0)
    assert pause(20, pods=2) < pause(20) / 2 + 1e-9
