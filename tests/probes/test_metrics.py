"""Probes of metrics, against a real HTTP server that answers as Prometheus does: what they ask, and refuse to take."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from chaosmesh_ext import probes
from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.run import current_run, reset_run
from chaosmesh_ext.run.growing import Growing


class _Prometheus(BaseHTTPRequestHandler):
    """Instant queries give `server.value`; ranges one number a second, `server.at(time)`."""

    def do_GET(self):
        path = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(path.query).items()}
        self.server.asked.append(asked["query"])
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        kind, result = "vector", [{"metric": {}, "value": [1, str(self.server.value)]}]
        if asked["query"].startswith("up"):
            told = self.server.down if " == 0" in asked["query"] else self.server.targets
            result = [{"metric": {"instance": one}, "value": [1, "0"]} for one in told]
        elif asked["query"].startswith("time() -"):
            result = [{"metric": {}, "value": [1, "1"]}]
        elif path.path.endswith("query_range"):
            start, end, step = (float(asked[name]) for name in ("start", "end", "step"))
            moments = [start + step * n for n in range(int((end - start) / step) + 1)]
            kind, result = "matrix", [{"metric": {}, "values": [[at, str(self.server.at(at))] for at in moments]}]
        body = json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def prometheus(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    server.daemon_threads = True
    server.targets = ["10.0.0.1:15020"]
    server.asked, server.headers, server.down, server.value, server.at = [], [], [], 0.5, lambda _at: 1.0
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("PROMETHEUS_URL", server.url)
    reset_run()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", ["success_rate", "latency_quantile", "request_rate", "overflow", "ejections"])
def test_a_named_metric_is_a_number_of_the_calls_that_are_named(prometheus, name):
    assert getattr(probes, name)("details", source="productpage-v1", namespace="shop") == 0.5
    assert "details" in prometheus.asked[-1]
    assert "productpage-v1" in prometheus.asked[-1]
    assert "shop" in prometheus.asked[-1]


@pytest.mark.parametrize("name", ["success_rate", "latency_quantile", "request_rate", "overflow", "ejections"])
def test_a_dead_target_makes_each_of_them_inconclusive(prometheus, name):
    prometheus.down = ["10.0.0.1:15020"]
    with pytest.raises(Inconclusive, match="only part of the data"):
        getattr(probes, name)("details")


def test_arguments_reach_the_question(prometheus):
    probes.success_rate("details", failures="4..", window=30)
    assert 'response_code=~"4.."' in prometheus.asked[-1]
    assert "[30s]" in prometheus.asked[-1]
    probes.latency_quantile("details", 0.9, response_code="2..")
    assert prometheus.asked[-1].startswith("histogram_quantile(0.9")
    probes.request_rate("details", response_flags=".*URX.*", reporter="destination")
    assert 'response_flags=~".*URX.*"' in prometheus.asked[-1]
    assert 'reporter="destination"' in prometheus.asked[-1]
    probes.success_rate("details", reporter="envoy")
    assert "upstream_rq_completed" in prometheus.asked[-1]
    probes.ejections("details", subset="v2")
    assert "[|]v2[|]" in prometheus.asked[-1]


def test_configuration_from_the_environment_is_text(prometheus):
    assert probes.success_rate("details", window="30") == 0.5


@pytest.mark.parametrize(
    "arguments",
    [{"window": 0}, {"window": "soon"}, {"wait": -1}, {"reporter": "me"}, {"failures": "5("}, {"failures": "5xx"}],
)
def test_what_cannot_be_asked_is_refused_before_it_is(prometheus, arguments):
    with pytest.raises(InvalidInput):
        probes.success_rate("details", **arguments)
    assert not prometheus.asked


def test_the_tenant_and_the_token_of_the_settings_go_along(prometheus):
    """Mimir and Thanos answer nobody, or everybody's data, without."""
    settings = {"prometheus_headers": "X-Scope-OrgID=team-a", "prometheus_token": "s3cret"}
    probes.success_rate("details", configuration={"prometheus_url": prometheus.url, **settings})
    assert {headers["x-scope-orgid"] for headers in prometheus.headers} == {"team-a"}
    assert {headers["authorization"] for headers in prometheus.headers} == {"Bearer s3cret"}


def test_any_promql_may_name_the_targets_that_must_be_up(prometheus):
    assert probes.metric("x", targets='{job="mesh"}') == 0.5
    assert prometheus.asked == ['up{job="mesh"}', 'up{job="mesh"} == 0', "x"]
    prometheus.down = ["10.0.0.1:15020"]
    with pytest.raises(Inconclusive, match="only part of the data for 'x'"):
        probes.metric("x", targets='up{job="mesh"}')


def test_targets_that_match_none_are_no_data(prometheus):
    """A slip in a label would pass for a mesh whose targets are all up."""
    prometheus.targets = []
    with pytest.raises(Inconclusive, match=r"for 'x': up\{job='nosuch'\} matches no target"):
        probes.metric("x", targets="up{job='nosuch'}")


@pytest.mark.parametrize("nothing", ["NaN", "+Inf", "-Inf"])
def test_a_division_by_no_requests_is_no_data(prometheus, nothing):
    prometheus.value = nothing
    with pytest.raises(Inconclusive, match=r"no data for 'x / 0'.*divided by 0"):
        probes.metric("x / 0")


# --- before, during and after -----------------------------------------------------------------------------------------


def faulted(run, began: float, ended: float) -> None:
    """RUN, as an injection BEGAN seconds ago and an undo ENDED seconds ago (0: none yet) leave it."""

    class Place:
        cell = "1"

    cell, now = Growing(Place(), None, None), time.time()
    cell.injected = object()
    cell.began, cell.ended = now - began, now - ended if ended else 0.0
    run._cells.every.append(cell)


@pytest.fixture
def clean(prometheus):
    """The run, which knows of `prometheus`; what was written into it is taken out before it is closed."""
    run = current_run()
    yield run
    run._cells.every.clear()


def test_windows_are_those_of_the_runs_faults(prometheus, clean):
    faulted(clean, 100, 50)
    now = time.time()
    prometheus.at = lambda at: 10 + (int(at) % 2) if at < now - 100 else 40 if at <= now - 50 else 11
    found = probes.compare("x", length=30, settle=5)
    assert found["before"]["mean"] == pytest.approx(10.5, abs=0.1)
    assert (found["during"]["mean"], found["after"]["mean"]) == (40, 11)
    assert found["change"]["number"] == pytest.approx(29.5, abs=0.1)
    assert found["change"]["percent"] == pytest.approx(281, abs=3)
    assert 50 < found["change"]["deviations"] < 70
    assert abs(found["remains"]["number"]) < 1


def test_a_fault_that_is_in_has_no_after(prometheus, clean):
    faulted(clean, 100, 50)
    faulted(clean, 40, 0)
    found = probes.compare("x")
    assert set(found) == {"before", "during", "change"}
    assert found["during"]["samples"] >= 60


def test_windows_may_be_said(prometheus, clean):
    found = probes.compare("x", before=[120, 60], during=[60, 30], after=[30, 0])
    assert [found[name]["samples"] for name in ("before", "during", "after")] == [61, 31, 31]


def test_a_window_that_is_too_young_says_to_wait(prometheus, clean):
    faulted(clean, 10, 1)
    with pytest.raises(Inconclusive, match=r"the window after is .* pause longer"):
        probes.compare("x")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "injected no fault"),
        ({"before": [60, 0]}, "give before, and during or after"),
        ({"during": [60, 0]}, "give before, and during or after"),
        ({"before": [60, 120], "during": [60, 0]}, "longer ago"),
        ({"before": 60, "during": [60, 0]}, "before is 60: give a list"),
        ({"before": ["a", 0], "during": [60, 0]}, "before is 'a'"),
        ({"before": [60, 59], "during": [59, 0]}, "3 s or more"),
        ({"length": -1}, "length"),
    ],
)
def test_windows_that_cannot_be_are_refused(prometheus, clean, arguments, words):
    if "length" in arguments:
        faulted(clean, 100, 50)
    with pytest.raises(InvalidInput, match=words):
        probes.compare("x", **arguments)
    assert not prometheus.asked
