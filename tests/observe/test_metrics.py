"""Named metrics from a Prometheus whose answers are not whole: none of that is a number."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest

from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable
from chaosmesh_ext.observe.metrics import measure, refuse_down
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.promql import Calls

CALLS = Calls("details", "default")


class Answers:
    """What it says of each kind of question; `scraped` is when the oldest sample is from."""

    def __init__(self, told) -> None:
        self.value: str | None = "0.9"
        self.age: str | None = "1"
        self.down: list[str] = []
        self.scraped = 0.0
        self.beside: dict = {}
        self.url = told.url
        told.answer = self.answer

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        query = parse_qs(urlsplit(handler.path).query)["query"][0]
        result = [] if self.value is None else [{"metric": {}, "value": [1, self.value]}]
        if query.startswith("up == 0"):
            result = [{"metric": {"instance": name}, "value": [1, "0"]} for name in self.down]
        elif query.startswith("time() -"):
            result = [] if self.age is None else [{"metric": {}, "value": [1, self.age]}]
        elif query == "time()":
            result = [{"metric": {}, "value": [1, str(time.time())]}]
        elif query.startswith("min(timestamp"):
            result = [{"metric": {}, "value": [1, str(self.scraped)]}] if self.scraped else []
        body = {"status": "success", "data": {"resultType": "vector", "result": result}, **self.beside}
        data = json.dumps(body).encode()
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def measured(self, **more) -> float:
        return measure(Prometheus(self.url), "success_rate", CALLS, **more)


@pytest.fixture
def prometheus(told):
    return Answers(told)


def test_a_number_is_a_number(prometheus):
    assert prometheus.measured() == 0.9


@pytest.mark.parametrize("nothing", [None, "NaN"])
def test_no_data_is_inconclusive_with_what_to_look_at(prometheus, nothing):
    prometheus.value = nothing
    with pytest.raises(Inconclusive, match=r"no data for success_rate of everybody → details .*scrape"):
        prometheus.measured()


def test_a_dead_target_beside_is_no_data(prometheus):
    """Its last rates stand for a while, and then those of the others do: both would pass."""
    prometheus.down = ["10.0.0.2:15020", "10.0.0.1:15020"]
    with pytest.raises(Inconclusive, match=r"only part of the data.*10\.0\.0\.1:15020, 10\.0\.0\.2:15020"):
        prometheus.measured()


def test_stale_samples_are_no_data(prometheus):
    prometheus.age = "240"
    with pytest.raises(Inconclusive, match="last told 240 s ago"):
        prometheus.measured()


@pytest.mark.parametrize(
    "beside",
    [
        {"warnings": ["no StoreAPI matched for 1 endpoint"]},
        {"infos": ["PromQL info: ignored histograms in a range containing both floats and histograms"]},
        {"isPartial": True},
    ],
)
def test_an_answer_that_says_it_is_not_whole_is_no_data(prometheus, beside):
    """Thanos and Mimir answer with what they have, and say beside it that it is not all."""
    prometheus.beside = beside
    with pytest.raises(Inconclusive, match="no data that can be trusted"):
        prometheus.measured()


def test_that_a_counters_name_is_unusual_says_nothing_of_the_data(prometheus):
    prometheus.beside = {"infos": ['PromQL info: metric might not be a counter, name does not end in _total: "x"']}
    assert prometheus.measured() == 0.9


def test_waiting_ends_with_the_next_scrape(prometheus):
    prometheus.scraped = time.time() + 3600
    assert prometheus.measured(wait=5) == 0.9


@pytest.mark.parametrize("scraped", [0.0, 1.0])
def test_a_scrape_that_does_not_come_is_no_data(prometheus, scraped):
    """What was sent just now would not be in it."""
    prometheus.scraped = scraped
    began = time.monotonic()
    with pytest.raises(Inconclusive, match=r"not every proxy was scraped within 0\.3 s"):
        prometheus.measured(wait=0.3)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("arguments", "words"), [({"window": 0}, "window"), ({"quantile": 95}, "quantile")])
def test_what_cannot_be_asked_is_refused(prometheus, arguments, words):
    with pytest.raises(InvalidInput, match=words):
        prometheus.measured(**arguments)


def test_targets_of_ones_own_choice_may_be_looked_at(prometheus):
    refuse_down(Prometheus(prometheus.url), "up == 0", "'x'")
    prometheus.down = ["a:1"]
    with pytest.raises(Inconclusive, match="cannot scrape a:1"):
        refuse_down(Prometheus(prometheus.url), "up == 0", "'x'")


def test_a_tenant_that_was_not_named_is_asked_for(told):
    """Mimir's words, which are no JSON."""
    told.says(401, "no org id", "text/plain")
    with pytest.raises(Unreachable, match="PROMETHEUS_TOKEN, or _HEADERS"):
        Prometheus(told.url).scalar("up")
