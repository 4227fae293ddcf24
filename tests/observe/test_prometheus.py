"""Prometheus' replies, real ones and bad ones, read by us."""

from __future__ import annotations

import urllib.parse

import pytest

from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable
from chaosmesh_ext.observe.prometheus import Change, Prometheus


def vector(*values: str) -> dict:
    result = [{"metric": {"n": str(i)}, "value": [1795248857.498, value]} for i, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def test_a_real_vector_is_read(told, sample):
    told.says(200, sample("prometheus/query-up.json"))
    samples = Prometheus(told.url).query("up")
    assert [(s.labels["job"], s.value) for s in samples] == [("dead", 0.0), ("exp", 1.0), ("push", 1.0)]
    assert samples[0].at == 1795248857.498


@pytest.mark.parametrize(
    ("values", "number"),
    [((), None), (("NaN",), None), (("+Inf",), None), (("-Inf",), None), (("0.25",), 0.25), (("1e3",), 1000.0)],
)
def test_no_data_is_none_and_never_a_number(told, values, number):
    told.says(200, vector(*values))
    assert Prometheus(told.url).scalar("x") == number


def test_a_scalar_expression_is_a_number_too(told):
    told.says(200, {"status": "success", "data": {"resultType": "scalar", "result": [1.5, "7"]}})
    assert Prometheus(told.url).scalar("scalar(x)") == 7


def test_several_series_are_not_one_number(told):
    told.says(200, vector("1", "2"))
    with pytest.raises(InvalidInput, match=r"has 2 series.*sum"):
        Prometheus(told.url).scalar("x")


@pytest.mark.parametrize("kind", ["matrix", "string"])
def test_a_range_vector_is_not_a_number(told, kind):
    told.says(200, {"status": "success", "data": {"resultType": kind, "result": []}})
    with pytest.raises(InvalidInput, match="rate"):
        Prometheus(told.url).query("x[5m]")


def test_every_error_of_a_real_prometheus_is_raised_in_its_own_words(told, sample):
    for case in sample("prometheus/errors.json"):
        told.says(case["status"], case["body"], case["content_type"])
        if not isinstance(case["body"], dict):
            with pytest.raises(Unreachable, match="is not Prometheus"):
                Prometheus(told.url).query("x")
            continue
        with pytest.raises(InvalidInput) as raised:
            Prometheus(told.url).query("x")
        assert case["body"]["error"] in str(raised.value)


@pytest.mark.parametrize(("status", "kind", "error"), [(422, "execution", Inconclusive), (503, "timeout", Unreachable)])
def test_what_cannot_be_evaluated_is_inconclusive(told, status, kind, error):
    told.says(status, {"status": "error", "errorType": kind, "error": "its words"})
    with pytest.raises(error, match="its words"):
        Prometheus(told.url).scalar("x")


def test_before_and_after_are_asked_at_their_instants(told):
    told.says(200, vector("6"))
    assert Prometheus(told.url).compare("x", 100.5, 200) == Change(6, 6)
    asked = [dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query)) for _, path, _ in told.asked]
    assert asked == [{"query": "x", "time": "100.500"}, {"query": "x", "time": "200.000"}]


def test_a_change_from_nothing_is_none():
    assert Change(2, 6).delta == 4
    assert Change(2, 6).ratio == 3
    assert Change(0, 6).ratio is None
    assert Change(None, 6).delta is None
    assert Change(1, None).ratio is None


def test_targets_that_cannot_be_scraped_are_named(told):
    metric = {"instance": "127.9.1.2:15000"}
    result = [{"metric": metric, "value": [1, "0"]}]
    told.says(200, {"status": "success", "data": {"resultType": "vector", "result": result}})
    assert Prometheus(told.url).down() == ["127.9.1.2:15000"]


def test_no_prometheus_is_said_never_passed(free_host, told):
    with pytest.raises(InvalidInput, match="no Prometheus"):
        Prometheus("")
    with pytest.raises(Unreachable, match="cannot be reached"):
        Prometheus(f"http://{free_host(9090)}:9090").scalar("x")
    told.says(401, "no", "text/plain")
    with pytest.raises(Unreachable, match="credentials"):
        Prometheus(told.url).scalar("x")
