"""Failures one after the other: on an application and a clock of our own, traces a second late."""

from __future__ import annotations

import pytest
from spans import span, trace

from chaosmesh_ext.explore.stateful.breaking import Breaking
from chaosmesh_ext.findings import judge
from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.stimulus import LONGEST, MOST_FAILURES
from chaosmesh_ext.lab.apps.service.breaker import Circuit
from chaosmesh_ext.model import Answer, Cell, Edge, Injected, Workload
from chaosmesh_ext.model.topology import Breaker
from chaosmesh_ext.run.traffic import Errand

URL = "http://gateway/shop"
EDGE = Edge(Workload("shop", "v1"), "stock")
ABORT = Injected("abort", "stock", ("shop-v1",), status=507, carrier="envoyfilter")

TOOK = 0.01
"""Seconds of one request."""

LATE = 1.0
"""Seconds from a request's end to its trace."""


class Shop:
    """Pods of shop, asked in turn, each with a breaker of its own around its calls to stock; and what drives them."""

    def __init__(self, *breakers: Breaker | None, reached: bool = True):
        self.now, self.reached = 5000.0, reached
        self.circuits = [Circuit(words, now=lambda: self.now) for words in breakers]
        self.sent: list[tuple[bool, Answer]] = []
        self.traces = {}
        self.above = Circuit(None)

    def ask(self, *, marked: bool) -> Answer:
        pod, number = len(self.sent) % len(self.circuits), len(self.sent) + 1
        entered = self.above.admit()
        ticket = self.circuits[pod].admit() if entered is not None else None
        names = {"trace": f"{number:032x}", "pod": f"pod-{pod}", "url": URL}
        who = "shop-v1" if entered is not None else "gateway"
        spans = [span(1, 0, "SERVER", who, self.now, TOOK, **names)]
        if ticket is not None and self.reached:
            fault = {"flags": "FI", "status": 507} if marked else {}
            names["url"] = "http://stock:9080/"
            spans.append(span(2, 1, "CLIENT", "shop-v1 → stock", self.now + 0.002, 0.005, **names, **fault))
        answer = Answer(f"{number:032x}", URL, self.now, TOOK, 200)
        self.traces[answer.trace_id] = trace(*spans)
        self.now += TOOK
        if ticket is not None:
            self.circuits[pod].done(ticket, failed=marked)
        if entered is not None:
            self.above.done(entered, failed=marked)
        self.sent.append((marked, answer))
        return answer

    def cell(self, number: str, *, marked: bool, late: float = 0.0) -> Cell:
        answers = [one for m, one in self.sent if m == marked and one.started <= self.now - TOOK - late]
        if marked and not self.reached:
            answers = []
        return Cell(
            number,
            ABORT if marked else None,
            tuple(answers),
            {one.trace_id: self.traces[one.trace_id] for one in answers},
        )


def played(shop: Shop) -> tuple[Breaking, Cell]:
    """An experiment to its end, and the control."""
    reached, shop.reached = shop.reached, True
    for _ in range(2 * len(shop.circuits)):
        shop.ask(marked=False)
    control, shop.sent, shop.reached = shop.cell("0", marked=False), [], reached
    experiment = Breaking(Baseline(control), [EDGE], [Errand(URL)], clock=lambda: shop.now)
    look = shop.now
    while not experiment.over:
        due = experiment.due(shop.now, 0, 0)
        for marked in [True] * due.cell + [False] * len(due.others):
            experiment.came(shop.ask(marked=marked), marked=marked)
        if shop.now >= look:
            look = shop.now + 0.2
            cell, others = (shop.cell("1", marked=each, late=LATE) for each in (True, False))
            experiment.seen(cell, others)
        shop.now += 0.004
    return experiment, control


def found(shop: Shop, control: Cell):
    cell = shop.cell("1", marked=True)
    judgement = judge(control, [Cell("1", ABORT, cell.answers, cell.traces, purpose="circuit-breaker")])
    return [each for each in judgement.findings if each.rule == "circuit-breaker"]


@pytest.mark.parametrize("pods", [1, 2])
def test_a_breaker_is_measured_and_left_closed(pods):
    shop = Shop(*[Breaker(failures=5, open=2.0)] * pods)
    _, control = played(shop)
    [finding] = found(shop, control)
    assert (finding.value, finding.kind) == (5, "half-open")
    assert finding.numbers["open_s"] == pytest.approx(2.0, abs=0.2)
    assert not any(circuit.refuses for circuit in shop.circuits)
    assert len(shop.sent) < 400


def test_nothing_succeeds_between_the_first_failure_and_the_last():
    shop = Shop(Breaker(failures=5, open=2.0))
    played(shop)
    kinds = [marked for marked, _ in shop.sent]
    assert kinds[0] is False
    first, last = kinds.index(True), len(kinds) - 1 - kinds[::-1].index(True)
    assert all(kinds[first:last])


def test_what_others_get_is_seen_while_it_is_open():
    shop = Shop(Breaker(failures=5, open=2.0))
    experiment, _ = played(shop)
    lacking = [one for one in experiment.others if len(shop.traces[one.trace_id].spans) == 1]
    assert lacking
    assert len(lacking) < len(experiment.others)


def test_every_pod_is_healthy_first():
    shop = Shop(Breaker(failures=5, open=2.0), Breaker(failures=5, open=2.0), Breaker(failures=5, open=2.0))
    played(shop)
    assert [marked for marked, _ in shop.sent[:3]] == [False] * 3


def test_without_a_breaker_it_ends_after_so_many_failures_and_as_many_as_traces_are_late():
    shop = Shop(None)
    experiment, control = played(shop)
    failed = sum(marked for marked, _ in shop.sent)
    assert MOST_FAILURES <= failed < MOST_FAILURES + 2 * LATE / TOOK
    assert len(experiment.others) == 3
    assert not found(shop, control)


def test_where_somebody_above_stops_calling_it_is_given_up_until_that_one_calls_again():
    shop = Shop(None)
    shop.above = Circuit(Breaker(failures=4, open=5.0), now=lambda: shop.now)
    played(shop)
    failed = [one for marked, one in shop.sent if marked]
    assert 40 < len(failed) < 300
    assert not shop.above.refuses
    assert shop.now - failed[-1].started < 11.0


def test_a_fault_that_is_not_met_is_given_up():
    shop = Shop(None, reached=False)
    played(shop)
    assert sum(marked for marked, _ in shop.sent) == 40


def test_one_that_stays_open_is_not_waited_for_for_ever():
    shop = Shop(Breaker(failures=5, open=1e6))
    began = shop.now
    played(shop)
    assert shop.now - began < 3 * LONGEST
