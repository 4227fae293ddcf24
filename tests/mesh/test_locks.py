"""Two runs do not fault the same calls, unless each means only requests of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from chaosmesh_ext.mesh.locks import Holder, Locked, beside, holders, lock, lock_name, release

HOST = "details.default.svc.cluster.local"
NAME = lock_name("default", HOST)


def held(client):
    obj = client.find("Lease", "default", NAME)
    return obj and [one.run for one in holders(obj)]


def test_a_lock_says_whose_it_is_and_of_which_host(client):
    lock(client, "default", HOST, Holder("aaaaaaaa", exact=True))
    meta = client.get("Lease", "default", NAME)["metadata"]
    assert meta["labels"] == {"chaosmesh-ext/run": "aaaaaaaa"}
    assert meta["annotations"]["chaosmesh-ext/host"] == f"default/{HOST}"
    assert held(client) == ["aaaaaaaa"]


def test_who_has_it_may_take_it_again(client):
    for _ in range(2):
        lock(client, "default", HOST, Holder("aaaaaaaa", exact=True))
    assert held(client) == ["aaaaaaaa"]


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (False, False)])
def test_the_younger_yields_where_one_is_for_everybody(client, first, second):
    lock(client, "default", HOST, Holder("aaaaaaaa", exact=first))
    with pytest.raises(Locked, match=r"aaaaaaaa.*recover --run aaaaaaaa"):
        lock(client, "default", HOST, Holder("bbbbbbbb", exact=second))
    assert held(client) == ["aaaaaaaa"]


def test_two_with_markers_of_their_own_share_it_until_the_last_one_goes(client):
    for run in ("aaaaaaaa", "bbbbbbbb"):
        lock(client, "default", HOST, Holder(run, exact=True))
    assert held(client) == ["aaaaaaaa", "bbbbbbbb"]
    release(client, client.get("Lease", "default", NAME), "aaaaaaaa")
    assert held(client) == ["bbbbbbbb"]
    assert client.get("Lease", "default", NAME)["metadata"]["labels"] == {"chaosmesh-ext/run": "bbbbbbbb"}
    release(client, client.get("Lease", "default", NAME), "bbbbbbbb")
    assert held(client) is None


def test_who_held_it_meanwhile_is_remembered_until_the_last_one_goes(client):
    """Faulted calls bear no run's name: whose they were cannot be told while two had faults there."""
    for run in ("aaaaaaaa", "bbbbbbbb", "cccccccc"):
        lock(client, "default", HOST, Holder(run, exact=True))
    assert beside(client, "default", HOST, "aaaaaaaa") == {"bbbbbbbb", "cccccccc"}
    for run in ("bbbbbbbb", "cccccccc"):
        release(client, client.get("Lease", "default", NAME), run)
    assert held(client) == ["aaaaaaaa"]
    assert beside(client, "default", HOST, "aaaaaaaa") == {"bbbbbbbb", "cccccccc"}
    release(client, client.get("Lease", "default", NAME), "aaaaaaaa")
    lock(client, "default", HOST, Holder("dddddddd", exact=True))
    assert beside(client, "default", HOST, "dddddddd") == set()
    assert beside(client, "far", HOST, "dddddddd") == set()


def test_a_run_that_comes_to_mean_everybody_yields_to_the_other(client):
    for run in ("aaaaaaaa", "bbbbbbbb"):
        lock(client, "default", HOST, Holder(run, exact=True))
    with pytest.raises(Locked, match="bbbbbbbb"):
        lock(client, "default", HOST, Holder("aaaaaaaa", exact=False))


def test_another_host_or_namespace_is_another_lock(client):
    lock(client, "default", HOST, Holder("aaaaaaaa", exact=False))
    lock(client, "default", "reviews.default.svc.cluster.local", Holder("bbbbbbbb", exact=False))
    assert lock_name("far", HOST) != NAME


def test_of_many_at_once_one_wins(client):
    def attempt(run):
        try:
            lock(client, "default", HOST, Holder(run, exact=False))
        except Locked:
            return ""
        return run

    with ThreadPoolExecutor(8) as pool:
        won = [run for run in pool.map(attempt, [f"{number:08x}" for number in range(8)]) if run]
    assert len(won) == 1
    assert held(client) == won


def test_of_many_that_share_none_is_lost(client):
    runs = [f"{number:08x}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: lock(client, "default", HOST, Holder(run, exact=True)), runs))
    assert sorted(held(client)) == runs
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: release(client, client.get("Lease", "default", NAME), run), runs))
    assert held(client) is None
