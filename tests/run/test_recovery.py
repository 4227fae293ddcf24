"""What is injected now, and taking it out again from any process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from leftovers import OTHER, RUN, baked_in, fault, faults, held, lease, lock, owner

from chaosmesh_ext import actions, errors
from chaosmesh_ext.mesh import Client, connect
from chaosmesh_ext.mesh.locks import lock_name
from chaosmesh_ext.run import injections, recover, runs, undo_runs
from chaosmesh_ext.run.current import reset_run


@pytest.fixture
def client(mesh) -> Iterator[Client]:
    mesh.apply(owner())
    reset_run()  # the action's own, which knows another test's mesh
    yield connect()
    reset_run()


def test_a_run_that_lives_is_told_with_all_that_its_lease_says(client):
    made = lease(client)
    fault(client)
    fault(client, carrier="virtualservice")
    others = faults(client)
    lock(client)
    [found] = runs(client)
    assert (found.run, found.state, found.why) == (RUN, "live", "")
    assert found.objects[:2] == (f"EnvoyFilter default/chaos-{RUN}-1", "VirtualService default/details")
    assert set(found.objects[2:]) == set(map(str, others))
    assert found.locks == ("default/details.default.svc.cluster.local",)
    assert (found.holder, found.experiment) == ("sre@desk:1", "what if details dies?")
    assert found.since < found.deadline
    assert made.deadline - made.acquired == pytest.approx(600, abs=1)


@pytest.mark.parametrize(
    ("times", "why"),
    [
        ({"renewed": -60.0}, "sre@desk:1 has not renewed it since"),
        ({"deadline": -60.0}, "its deadline passed at"),
    ],
)
def test_a_run_that_is_over_is_told_with_the_reason(client, times, why):
    lease(client, **times)
    [found] = runs(client)
    assert found.state == "expired"
    assert why in found.why


@pytest.mark.parametrize("leftover", [fault, faults, lock])
def test_a_run_without_a_lease_is_missing_it(client, leftover):
    leftover(client)
    [found] = runs(client)
    assert (found.state, found.why) == ("expired", "its Lease is missing")


def test_a_route_that_an_owner_baked_in_is_found_by_its_name(client):
    """Exported while a fault was in, applied again without labels and annotations."""
    fault(client, carrier="virtualservice")
    baked_in(client)
    [found] = runs(client)
    assert found.objects == ("VirtualService default/details",)
    assert recover(client, RUN) == ["VirtualService default/details"]
    assert client.get("VirtualService", "default", "details")["spec"] == owner()["spec"]
    assert runs(client) == []


def test_objects_locks_and_the_lease_go_and_another_runs_stay(client):
    for run in (RUN, OTHER):
        lease(client, run)
        lock(client, run)
    fault(client)
    fault(client, OTHER, host="ratings")
    assert recover(client, RUN) == [f"EnvoyFilter default/chaos-{RUN}-1"]
    name = lock_name("default", "details.default.svc.cluster.local")
    assert held(client) == {f"EnvoyFilter chaos-{OTHER}-1", f"Lease chaosmesh-run-{OTHER}", f"Lease {name}"}
    [found] = runs(client)
    assert (found.run, found.state) == (OTHER, "live")


def test_only_what_expired_goes_where_that_is_asked(client):
    fault(client, "11111111", host="a")  # without a Lease
    for run, renewed in (("22222222", -60.0), ("33333333", 0.0)):
        lease(client, run, renewed=renewed)
        fault(client, run, host=run)
    recovered = undo_runs(client, expired=True)
    assert recovered.runs == ("11111111", "22222222")
    assert [found.run for found in runs(client)] == ["33333333"]
    assert undo_runs(client, expired=True).runs == ()
    assert undo_runs(client).runs == ("33333333",)
    assert held(client) == set()


def test_a_wrong_clock_of_this_machine_expires_nothing(client):
    """Only the server's times are compared."""
    lease(client)
    fault(client)
    program = """
import time
time.time = lambda: 4e9
from chaosmesh_ext import mesh, run
client = mesh.connect()
print(run.undo_runs(client, expired=True).runs, run.runs(client)[0].state)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "() live\n"


def test_a_conflict_is_told_and_left_behind_and_all_else_goes(client):
    lease(client)
    fault(client, carrier="virtualservice", marker=None, source=None)
    fault(client, cell="2", host="ratings")
    obj = client.get("VirtualService", "default", "details")
    obj["spec"]["http"][0]["fault"]["abort"]["httpStatus"] = 503
    client.replace(obj)
    [found] = runs(client)
    assert "neither ours nor the original" in found.conflicts[0]
    with pytest.raises(errors.LeftBehind, match="neither ours nor the original"):
        recover(client, RUN)
    assert client.list("EnvoyFilter") == client.list("Lease", "default") == []
    assert client.get("VirtualService", "default", "details")["spec"] == obj["spec"]
    assert recover(client, RUN) == []
    assert runs(client) == []


def test_many_recoveries_at_once_end_every_run_without_an_error(mesh, client):
    for number in range(4):
        run = f"{number}" * 8
        mesh.apply(owner(f"host-{number}"))
        lease(client, run)
        lock(client, run, f"host-{number}")
        fault(client, run, host=f"host-{number}")
        fault(client, run, cell="2", host=f"host-{number}", carrier="virtualservice")
    failed: list[Exception] = []
    together = threading.Barrier(3)

    def one() -> None:
        own = connect()
        together.wait()
        try:
            recover(own)
        except errors.ChaosMeshError as error:
            failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert held(client) == set()
    assert injections(client).runs == ()


@pytest.mark.parametrize("run", ["nope;x", "zzz", OTHER, "ffffffff", 5, ["all"], "a,b=c", "all "])
def test_the_action_refuses_a_run_that_is_none_as_the_command_does(client, run):
    """A misspelt token in an experiment's rollbacks must not read as if all were undone."""
    lease(client)
    fault(client)
    with pytest.raises(errors.InvalidInput, match=r"no run .* has anything in the mesh; |run is .*: give a text"):
        actions.recover(run)
    assert [found.run for found in runs(client)] == [RUN]


@pytest.mark.parametrize("run", [RUN, "all"])
def test_the_action_recovers_another_run_by_its_token(client, run):
    fault(client)
    assert actions.recover(run) == {"run": run, "objects": [f"EnvoyFilter default/chaos-{RUN}-1"]}
    assert runs(client) == []
    assert actions.recover("all")["objects"] == []
