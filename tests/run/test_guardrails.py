"""Guardrails on a real Prometheus: what crosses them, what cannot be evaluated, and who is told."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import httpx
import pytest
from free_place import free_place
from waiting import PATIENCE_S, until

from chaosmesh_ext.controls import guardrails as declared
from chaosmesh_ext.errors import Aborted, ChaosMeshError, Inconclusive, InvalidInput, LabError
from chaosmesh_ext.lab.metrics import fetch_prometheus, find_prometheus
from chaosmesh_ext.run.guardrail_specs import mistakes
from chaosmesh_ext.run.guardrails import Guardrails
from chaosmesh_ext.settings import Settings


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[str]:
    """A real one that scrapes nothing: PromQL needs no more."""
    try:
        binary = find_prometheus() or fetch_prometheus()
    except LabError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text("global: {}\n")
    place = free_place(folder)
    listens = f"{place.control}:9090"
    url = f"http://{listens}"
    words = [
        str(binary),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={listens}",
    ]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:

        def ready() -> bool:
            assert running.poll() is None
            with suppress(httpx.TransportError):
                return httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200
            return False

        try:
            until(ready, "Prometheus is ready")
            yield url
        finally:
            running.terminate()


@pytest.fixture
def rails(prometheus):
    """Makes guardrails that ask it, and stops them."""
    made: list[Guardrails] = []

    def make(*specs: dict[str, Any], url: str = prometheus, probe: Any = None) -> Guardrails:
        named = [{"name": f"g{number}", **spec} for number, spec in enumerate(specs, 1)]
        made.append(Guardrails(named, Settings(prometheus_url=url), probe=probe))
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Told:
    """Who is told of a crossing."""

    def __init__(self) -> None:
        self.errors: list[ChaosMeshError] = []
        self.heard = threading.Event()

    def __call__(self, error: ChaosMeshError) -> None:
        self.errors.append(error)
        self.heard.set()

    def first(self) -> str:
        assert self.heard.wait(PATIENCE_S), "nobody was told"
        return str(self.errors[0])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"promql": "vector(0.3)", "above": 0.2},
            r"g1 was crossed \(vector\(0.3\) above 0.2\): 0.3 at \d\d:\d\d:\d\dZ",
        ),
        ({"promql": "0.3", "below": 0.5}, "0.3 below 0.5"),
        (
            {"promql": 'label_replace(vector(7), "workload", "details-v1", "", "")', "above": 1},
            "7 {workload=details-v1}",
        ),
        ({"promql": "nothing_of_that_name", "above": 1}, "not to be evaluated: no data"),
        ({"promql": "vector(0) / vector(0)", "above": 1}, "not to be evaluated: NaN"),
        ({"promql": "sum(", "above": 1}, "not to be evaluated: Prometheus refuses"),
        ({"promql": "vector(1)", "above": 0, "for": 60}, "above 0 for 60 s"),
    ],
)
def test_what_is_crossed_already_lets_no_run_begin(rails, spec, words):
    with pytest.raises(Aborted, match=words) as raised:
        rails(spec).check()
    assert raised.value.exit_code == 4
    assert "nothing was injected" in str(raised.value)


@pytest.mark.parametrize(
    "spec",
    [
        {"promql": "vector(0.3)", "above": 0.3},
        {"promql": "0.3", "above": "0.5", "below": 0.1},
        {"promql": "nothing_of_that_name", "above": 1, "on_error": "ignore"},
        {"promql": "vector(0) / vector(0)", "above": 1, "on_error": "ignore"},
    ],
)
def test_what_is_within_its_limits_or_told_to_be_ignored_lets_it_begin(rails, spec):
    one = rails(spec)
    one.check()
    assert [fact["crossed"] for fact in one.facts()] == [False]


def test_a_crossing_is_told_once_with_the_samples_that_crossed(rails):
    soon = time.time() + 3
    one, told = rails({"promql": "time()", "above": soon, "frequency": 0.1}, {"promql": "1", "above": 2}), Told()
    one.check()
    one.start(told)
    assert "g1 was crossed (time() above" in told.first()
    assert time.time() - soon < 10
    one.stop()
    first, second = one.facts()
    assert len(told.errors) == 1
    assert (first["crossed"], second["crossed"]) == (True, False)
    assert [sample["crossed"] for sample in first["samples"]][-2:] == [False, True]


def test_it_must_be_crossed_for_as_long_as_it_says_without_a_break(rails):
    began = time.time()
    one, told = rails({"promql": "1", "above": 0, "for": 0.6, "frequency": 0.1}), Told()
    one.start(told)
    told.first()
    assert time.time() - began >= 0.6
    assert len(one.facts()[0]["samples"]) > 1
    # every other second it is well again
    other, unheard = rails({"promql": "time() % 1 > bool 0.5", "above": 0, "for": 3.0, "frequency": 0.1}), Told()
    other.start(unheard)
    assert not unheard.heard.wait(4.5)


def test_a_prometheus_that_dies_meanwhile_counts_as_crossed(rails):
    """Who cannot see must not go on."""
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        one, told = rails({"promql": "1", "above": 2, "timeout": 0.3}, url=url), Told()
        one.start(told)
        assert "not to be evaluated:" in told.first()
    gone, told = rails({"promql": "1", "above": 2}, url="http://127.0.0.1:1"), Told()
    gone.start(told)
    assert "cannot be reached" in told.first()


@pytest.mark.parametrize(
    ("more", "kind", "words"),
    [
        ({}, Aborted, "g1 was crossed .*: not to be evaluated: OverflowError: "),
        ({"on_error": "ignore"}, Inconclusive, r"g1 is asked no more \(OverflowError: "),
    ],
)
def test_one_whose_thread_dies_ends_the_run_however_it_died(rails, more, kind, words):
    """A thread that dies says so to nobody: the fault would stay in, unguarded, and the run would be green."""
    one, told = rails({"promql": "1", "above": 2, **more}), Told()
    one._rails[0].frequency = 1e300  # what a spec may not say, because a wait for it fails
    one.start(told)
    assert re.search(words, told.first())
    assert [type(error) for error in told.errors] == [kind]
    assert one.facts()[0]["crossed"]


@pytest.mark.parametrize(("more", "kind"), [({}, Aborted), ({"on_error": "ignore"}, Inconclusive)])
def test_one_that_cannot_even_be_asked_lets_no_run_begin(rails, more, kind):
    one = rails({"promql": "1", "above": 2, **more})
    one._rails[0]._timeout = 1e300
    with pytest.raises(kind, match="OverflowError"):
        one.check()


def test_a_probe_that_wants_to_leave_the_process_counts_as_crossed(rails):
    def leaving() -> tuple[bool, str]:
        raise SystemExit(0)

    with pytest.raises(Aborted, match="not to be evaluated: SystemExit: 0"):
        rails(probe(), probe=lambda _spec: leaving).check()


def test_nobody_is_told_after_the_end(rails):
    one, told = rails({"promql": "time()", "above": time.time() + 2, "frequency": 0.1}), Told()
    one.start(told)
    one.stop()
    assert not told.heard.wait(2.5)


def probe(**more: Any) -> dict[str, Any]:
    provider = {"type": "python", "module": "statistics", "func": "mean", "arguments": {"data": [1, 5]}}
    return {"type": "probe", "name": "mean", "tolerance": 3, "provider": provider, **more}


def hanging() -> int:
    time.sleep(30)
    return 3


def test_any_probe_of_chaos_toolkit_may_be_one(rails):
    asks = declared.asker({"limit": 3}, None)
    rails(probe(), probe(name="other", tolerance="${limit}"), probe=asks).check()
    with pytest.raises(Aborted, match=r"mean was crossed .its tolerance unmet.: expected 4, saw 3"):
        rails(probe(tolerance=4), probe=asks).check()
    failing = {"type": "python", "module": "statistics", "func": "mean", "arguments": {"data": []}}
    with pytest.raises(Aborted, match=r"not to be evaluated: .*StatisticsError"):
        rails(probe(provider=failing), probe=asks).check()


def test_a_probe_that_hangs_counts_as_crossed(rails):
    began = time.monotonic()
    with pytest.raises(Aborted, match=r"no answer within 0\.2 s"):
        rails(probe(timeout=0.2), probe=lambda _spec: hanging).check()
    assert time.monotonic() - began < 5


def test_without_a_prometheus_there_is_nothing_to_ask(rails):
    with pytest.raises(InvalidInput, match="PROMETHEUS_URL"):
        rails({"promql": "1", "above": 2}, url="")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("errors", "write a mapping"),
        ({"promql": "1", "above": 1}, "has no name"),
        ({"name": "a", "above": 1}, "write either promql"),
        ({"name": "a", "promql": "1"}, "no limit"),
        ({"name": "a", "promql": "1", "above": "much"}, "above 'much' is no number"),
        ({"name": "a", "promql": "1", "above": 1, "frequency": 0}, "no time to wait"),
        ({"name": "a", "promql": "1", "above": 1, "frequency": 1e300}, "give 0.01 to 86400 seconds"),
        ({"name": "a", "promql": "1", "above": 1, "frequency": 1e-9}, "give 0.01 to 86400 seconds"),
        ({"name": "a", "promql": "1", "above": 1, "timeout": 1e300}, "give 0.01 to 86400 seconds"),
        ({"name": "a", "promql": "1", "above": 1, "for": 86401}, "give 0 to 86400 seconds"),
        ({"name": "a", "promql": "1", "above": 1, "for": -1}, "give 0 to 86400 seconds"),
        ({"name": "a", "promql": "1", "above": 1, "for": float("inf")}, "for inf is no number"),
        ({"name": "a", "promql": "1", "above": 1, "timeout": float("nan")}, "timeout nan is no number"),
        ({"name": "a", "promql": "1", "above": 10**400}, "is no number"),
        ({"name": "a", "promql": "1", "above": 1, "on_error": "cry"}, "neither crossed nor ignore"),
        ({"name": "a", "promql": "1", "above": 1, "until": 3}, "until is unknown"),
        ({"name": "a", "provider": {}}, "without tolerance"),
    ],
)
def test_each_mistake_is_told_in_one_line(spec, words):
    found = mistakes([spec])
    assert any(words in line for line in found), found
    assert all("\n" not in line for line in found)


def test_what_a_variable_will_say_is_judged_when_it_is_known():
    assert mistakes([{"name": "a", "promql": "1", "above": "${limit}"}]) == []
    assert len(mistakes([{"name": "a", "promql": "1", "above": 1}] * 2)) == 1
    assert "no list" in mistakes({"name": "a"})[0]


def test_the_controls_arguments_are_checked_with_their_probes():
    def control(**arguments: Any) -> dict[str, Any]:
        return {"name": "ours", "provider": {"type": "python", "module": "m", "arguments": arguments}}

    assert declared.wrong(control(guardrails=[probe()])) == []
    assert "argument speed is unknown" in declared.wrong(control(speed=1))[0]
    bad = probe(provider={"type": "python", "module": "statistics", "func": "no_such"})
    assert "mean: " in declared.wrong(control(guardrails=[bad]))[0]
