"""Calls that hang, and requests beside: on an application and a clock of our own."""

from __future__ import annotations

import heapq

import pytest

from chaosmesh_ext.explore.stateful.hanging import Hanging
from chaosmesh_ext.findings.bulkhead import MIN_BESIDE
from chaosmesh_ext.model import Answer
from chaosmesh_ext.run.traffic import Errand

HEALTH, SHOP = Errand("http://gateway/health"), Errand("http://gateway/shop")


class Played:
    """What an experiment sent to an application whose calls hang for so many seconds: (when, marked, url)."""

    def __init__(self, hang: float, *, load: int = 16, starved: float = 0.0):
        self.now, self.sent, self.most = 5000.0, [], 0
        self.experiment = Hanging(HEALTH, [SHOP], load, 4.0, clock=lambda: self.now)
        coming: list[tuple[float, int, bool, Answer]] = []
        while not self.experiment.over:
            while coming and coming[0][0] <= self.now:
                _, _, marked, answer = heapq.heappop(coming)
                self.experiment.came(answer, marked=marked)
            flying = [sum(marked is each for _, _, marked, _ in coming) for each in (True, False)]
            due = self.experiment.due(self.now, *flying)
            for marked, errand in [*[(True, SHOP)] * due.cell, *((False, one) for one in due.others)]:
                took = hang if marked else 0.02 + (starved if flying[0] else 0.0)
                answer = Answer("", errand.url, self.now, took, 200)
                heapq.heappush(coming, (self.now + took, len(self.sent), marked, answer))
                self.sent.append((self.now, marked, errand.url))
            self.most = max(self.most, flying[0] + due.cell)
            self.now += 0.004

    def times(self, url: str, *, marked: bool) -> list[float]:
        return [at for at, m, to in self.sent if (m, to) == (marked, url)]


@pytest.mark.parametrize("hang", [4.0, 0.3])
def test_as_many_hang_all_the_while_that_others_are_asked_beside(hang):
    played = Played(hang)
    beside = played.times(HEALTH.url, marked=False)[: len(played.experiment.beside)]
    load = played.times(SHOP.url, marked=True)
    assert len(beside) >= MIN_BESIDE
    assert played.most == 16
    assert all(sum(at <= each < at + hang for at in load) == 16 for each in beside)


def test_the_same_requests_come_again_at_the_same_pace_when_nothing_hangs():
    played = Played(0.3)
    every = played.times(HEALTH.url, marked=False)
    first, again = every[: len(every) // 2], every[len(every) // 2 :]
    assert len(played.experiment.healthy) == len(played.experiment.beside) == len(first)
    assert again[0] - max(played.times(SHOP.url, marked=True)) > 4.0
    assert [at - again[0] for at in again] == pytest.approx([at - first[0] for at in first], abs=0.04)
    healthy = [at for at in played.times(SHOP.url, marked=False) if at >= again[0] - 2]
    assert len(healthy) == len(played.times(SHOP.url, marked=True))


def test_requests_that_wait_do_not_pile_up():
    played = Played(4.0, load=2, starved=3.0)
    assert played.most == 2
    assert len(played.experiment.beside) >= MIN_BESIDE


def test_those_that_need_the_call_are_asked_twice_a_second():
    played = Played(4.0)
    assert len(played.experiment.others) >= 3
    assert {one.url for one in played.experiment.others} == {SHOP.url}
