"""Whether a workload's calls are held back, by the gauge of its sidecars."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chaosmesh_ext.errors import Unreachable
from chaosmesh_ext.model import Workload
from chaosmesh_ext.observe.held import Held
from chaosmesh_ext.observe.prometheus import Prometheus

V2 = Workload("reviews", "v2")


class Scraped(Prometheus):
    """Whose clock is 100 s ahead of ours, with what was scraped when, by its clock."""

    def __init__(self, *series: Sequence[tuple[float, float]]) -> None:
        super().__init__("http://127.0.0.1:9")
        self.series, self.asked = series, []
        self.now = 50.0

    def clock(self) -> float:
        return self.now

    def scalar(self, promql: str, at: float | None = None) -> float:
        del promql, at
        return self.now + 100

    def recent(self, selector: str, seconds: float) -> list[list[tuple[float, float]]]:
        del seconds
        self.asked.append(selector)
        return [list(each) for each in self.series]


def held(scraped: Scraped) -> Held:
    return Held(scraped, clock=scraped.clock)


def test_a_workload_that_held_nothing_when_it_was_scraped_last_is_free():
    one = held(Scraped([(147.0, 1.0), (149.0, 0.0)]))
    assert one.free(V2, start=48.0, end=55.0)


@pytest.mark.parametrize(
    "series",
    [
        pytest.param([[(149.0, 1.0)]], id="it holds a call"),
        pytest.param([[(149.0, 0.0)], [(149.0, 2.0)]], id="another pod of it does"),
        pytest.param([[(149.0, 0.0)], [(147.0, 0.0)]], id="another pod of it was scraped too early"),
        pytest.param([], id="the mesh does not say"),
    ],
)
def test_a_workload_of_which_that_is_not_sure_is_not_free(series):
    assert not held(Scraped(*series)).free(V2, start=48.0, end=55.0)


def test_a_sample_from_after_an_attempt_would_be_over_says_nothing_of_it():
    assert not held(Scraped([(149.0, 0.0)])).free(V2, start=46.0, end=48.0)


def test_prometheus_is_asked_for_this_workloads_pods_and_not_all_the_time():
    scraped = Scraped([(149.0, 0.0)])
    one = held(scraped)
    for _ in range(5):
        one.free(V2, start=48.0, end=55.0)
    assert scraped.asked == [
        '{__name__=~"envoy_http_(.+_)?fault_active_faults", namespace="default", pod=~"reviews\\\\-v2-.+"}'
    ]


def test_without_an_answer_nobody_is_free(monkeypatch):
    scraped = Scraped([(149.0, 0.0)])

    def down(*_words: object) -> float:
        raise Unreachable("down")

    monkeypatch.setattr(scraped, "scalar", down)
    assert not held(scraped).free(V2, start=48.0, end=55.0)


def test_what_was_scraped_is_read(told):
    reply = {"metric": {"pod": "a"}, "values": [[1.5, "0"], [2.5, "1"]]}
    told.says(200, {"status": "success", "data": {"resultType": "matrix", "result": [reply]}})
    assert Prometheus(told.url).recent("x", 60) == [[(1.5, 0.0), (2.5, 1.0)]]
