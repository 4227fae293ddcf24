"""Random topologies: always within their bounds, always files that the loader reads, and with everything in them."""

from __future__ import annotations

from collections import Counter

import pytest
from truths.generate import CHECKOUT, MOST_DEPTH, MOST_FAN_OUT, generate
from truths.simulate import simulate
from truths.story import Abort
from truths.truth import paths

from chaosmesh_ext.model.topology import Topology, parse_topology

SEEDS = range(200)


@pytest.fixture(scope="module")
def files() -> list[str]:
    return [generate(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def topologies(files) -> list[Topology]:
    return [parse_topology(text) for text in files]


def depth(topology: Topology, name: str) -> int:
    calls = [call for version in topology.service(name).versions for call in version.calls()]
    return max((1 + depth(topology, call.to) for call in calls), default=0)


def test_the_same_seed_gives_the_same_bytes(files):
    assert [generate(seed) for seed in SEEDS[:20]] == files[:20]
    assert len(set(files)) == len(files)


def test_all_are_within_their_bounds(topologies):
    for topology in topologies:
        assert 3 <= len(topology.services) <= 25
        assert depth(topology, topology.entry) <= MOST_DEPTH
        for service in topology.services:
            for version in service.versions:
                assert len(list(version.calls())) <= MOST_FAN_OUT


def test_timeouts_are_ten_times_what_healthy_calls_take(topologies):
    """Two cores must not invent a timeout; 5 ms for each call stand for what a loaded machine adds."""
    for topology in topologies:
        for path in paths(topology):
            told = simulate(topology, path, hop=0.005)
            assert told.visit.status == 200
            for attempt in told.attempts:
                service, _, version = attempt.source.rpartition("-")
                (words,) = [each for each in topology.service(service).versions if each.name == version]
                timeout = list(words.calls())[attempt.call].timeout
                if timeout is not None:
                    assert timeout >= max(0.15, 10 * (attempt.end - attempt.start))


def test_no_request_makes_more_than_sixty_calls_whatever_fails(topologies):
    for topology in topologies[:60]:
        for path in paths(topology):
            edges = {(each.source, each.destination) for each in simulate(topology, path).attempts}
            for edge in edges:
                assert len(simulate(topology, path, {edge: Abort(507)}).attempts) <= 60


def test_everything_that_a_file_can_plant_is_planted(topologies):
    seen: Counter[str] = Counter()
    for topology in topologies:
        seen["several paths"] += CHECKOUT in paths(topology)
        for service in topology.services:
            seen["versions"] += len(service.versions) > 1
            for version in service.versions:
                seen["cancel"] += version.on_caller_gone == "cancel"
                seen["broken"] += version.forwards == ()
                seen["workers"] += version.workers is not None
                seen["replicas"] += version.replicas > 1
                seen["together"] += any(len(step) > 1 for step in version.steps)
                for call in version.calls():
                    seen[call.method] += 1
                    seen[call.on_failure] += 1
                    seen["timeout" if call.timeout else "no timeout"] += 1
                    seen["breaker"] += call.breaker is not None
                    seen["pool"] += call.pool is not None
                    retries = call.retries
                    seen["retries"] += retries is not None
                    seen["backoff"] += retries is not None and retries.backoff > 0 and retries.growth == 1
                    seen["growth"] += retries is not None and retries.growth > 1
                    seen["not on all"] += retries is not None and len(retries.on) < 3
    wanted = "several paths,versions,cancel,broken,workers,replicas,together,GET,POST,PATCH,omit,default,fail,raw,bug"
    wanted += ",timeout,no timeout,breaker,pool,retries,backoff,growth,not on all"
    assert [what for what in wanted.split(",") if seen[what] < 10] == []
