"""What ends an open run although its experiment goes on, and that nothing is left then."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from waiting import PATIENCE_S, until

from chaosmesh_ext import errors
from chaosmesh_ext import mesh as cluster
from chaosmesh_ext.faults import Abort, Connections, PodFailure
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import Run, runs
from chaosmesh_ext.settings import Settings

SCOPE = Scope("details", source="productpage-v1")
ABORT = Abort(507)


@pytest.fixture
def open_run(mesh):
    """Runs with a live fault; `ended` is set when one ends its experiment, with the error."""
    made = []

    def begin(length=None, carrier="envoyfilter", fault=ABORT, scope=SCOPE, **settings):
        run = Run(settings=Settings(app_url=mesh.url, **settings), traces=mesh, connect=connect)
        run.length = length
        run.ended, run.errors = threading.Event(), []
        run.interrupt = lambda error: (run.errors.append(error), run.ended.set())
        run.inject(fault, scope, carrier=carrier, prove=False)
        run.problems.clear()
        made.append(run)
        return run

    yield begin
    for run in made:
        run.close()


def ended(run):
    """The error that ended RUN, when its faults were out already."""
    assert run.ended.wait(PATIENCE_S)
    client = connect()
    assert not [one.objects for one in runs(client) if one.run == run.token and one.objects]
    with pytest.raises(type(run.errors[0]), match="nothing is injected any more"):
        run.inject(Abort(507), SCOPE, prove=False)
    return run.errors[0]


def lease_of(client, run):
    return client.get("Lease", "default", f"chaosmesh-run-{run.token}")


def test_an_open_run_has_a_lease_with_holder_deadline_and_experiment(mesh, open_run):
    run = open_run(length=30)
    lease = cluster.RunLease.read(lease_of(connect(), run))
    assert lease.holder.endswith(f":{os.getpid()}")
    assert 100 < lease.deadline - lease.renewed < 200
    run.close()
    assert connect().list("Lease", labels="chaosmesh-ext/run") == []


def test_a_halt_stops_a_running_run_within_a_second_and_refuses_new_ones(open_run, mesh):
    run = open_run()
    client = connect()
    began = time.monotonic()
    cluster.halt(client, "chaosmesh-system", "ann@desk", "customers complain")
    error = ended(run)
    assert time.monotonic() - began < 4.0  # long before the Lease is renewed
    assert isinstance(error, errors.Aborted)
    assert "ann@desk" in str(error)
    assert "customers complain" in str(error)
    other = Run(settings=Settings(app_url=mesh.url), traces=mesh, connect=connect)
    with pytest.raises(errors.Aborted, match=r"halted by ann@desk .* chaos mesh resume"):
        other.inject(Abort(507), Scope("reviews", source="productpage-v1"), prove=False)
    cluster.resume(client, "chaosmesh-system")
    other.inject(Abort(507), Scope("reviews", source="productpage-v1"), prove=False)
    other.close()


def test_a_run_whose_lease_somebody_deleted_is_inconclusive(open_run):
    run = open_run(lease_duration=3.0)
    client = connect()
    meta = lease_of(client, run)["metadata"]
    client.delete("Lease", "default", meta["name"], uid=meta["uid"])
    error = ended(run)
    assert isinstance(error, cluster.LeaseLost)
    assert error.exit_code == 3


def test_a_run_that_is_recovered_from_elsewhere_stops(open_run):
    from chaosmesh_ext.run import recover

    run = open_run(lease_duration=3.0)
    recover(connect(), run.token)
    assert isinstance(ended(run), errors.Inconclusive)


def test_the_lease_is_renewed_as_long_as_the_run_lives(open_run):
    run = open_run(lease_duration=3.0)
    client = connect()
    first = lease_of(client, run)["spec"]["renewTime"]
    until(lambda: lease_of(client, run)["spec"]["renewTime"] != first)
    assert not run.ended.is_set()


def test_a_run_ends_at_its_deadline(open_run):
    run = open_run(max_run=3.0)
    error = ended(run)
    assert isinstance(error, errors.Inconclusive)
    assert "deadline passed" in str(error)


def test_a_run_whose_watchdog_dies_undoes_by_itself(open_run):
    run = open_run()
    os.kill(run._opening.opened._watchdog._process.pid, signal.SIGKILL)
    assert "watchdog died" in str(ended(run))


@pytest.mark.parametrize("carrier", ["envoyfilter", "virtualservice"])
def test_a_fault_that_somebody_removes_makes_the_run_inconclusive(open_run, carrier, mesh, owner):
    mesh.apply(owner)
    run = open_run(carrier=carrier)
    client = connect()
    if carrier == "envoyfilter":
        (obj,) = client.list("EnvoyFilter", "default")
        client.delete("EnvoyFilter", "default", obj["metadata"]["name"], uid=obj["metadata"]["uid"])
        assert "was deleted" in str(ended(run))
    else:
        obj = client.get("VirtualService", "default", "details")
        ops = [{"op": "add", "path": "/spec/http/1/timeout", "value": "3s"}]
        client.json_patch("VirtualService", "default", "details", ops, version=obj["metadata"]["resourceVersion"])
        assert "on which ours stands" in str(ended(run))
        assert mesh.objects("VirtualService")[0]["spec"]["http"] == [{**owner["spec"]["http"][0], "timeout": "3s"}]


def test_a_fault_whose_pod_is_killed_makes_the_run_inconclusive(open_run, mesh):
    """The pod that follows has another name, and nobody meets the fault."""
    run = open_run(fault=PodFailure(), scope=Scope("details", requests="run"), carrier="")
    assert run._cells.disturbed(connect()) == ""
    client = connect()
    pod = client.get("Pod", "default", "details-v1-x")
    client.delete("Pod", "default", "details-v1-x", uid=pod["metadata"].get("uid", ""))
    error = ended(run)
    assert isinstance(error, errors.Inconclusive)
    assert "its pod details-v1-x is gone or ending: requests need not meet it any more; the fault was removed" in str(
        error
    )


def test_a_pod_that_is_killed_just_before_the_end_is_noticed_too(open_run, mesh, monkeypatch):
    monkeypatch.setattr("chaosmesh_ext.run.keeper._LOOK", 60.0)
    run = open_run(fault=PodFailure(), scope=Scope("details", requests="run"), carrier="")
    client = connect()
    pod = client.get("Pod", "default", "details-v1-x")
    client.delete("Pod", "default", "details-v1-x", uid=pod["metadata"].get("uid", ""))
    run.undo()
    [problem] = run.problems
    assert problem.exit_code == 3
    assert "its pod details-v1-x is gone or ending" in problem


def test_a_policy_whose_rule_its_owner_has_for_another_host_makes_the_run_inconclusive(open_run, mesh):
    """The fault was in calls that nobody meant to harm: it goes at once, and the owner's edit stays."""
    meta = {"name": "details", "namespace": "default"}
    rule = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": meta}
    mesh.apply({**rule, "spec": {"host": "details"}})
    run = open_run(fault=Connections(1, 3), scope=Scope("details", requests="all"), carrier="")
    (obj,) = mesh.objects("DestinationRule")
    assert "trafficPolicy" in obj["spec"]
    ops = [{"op": "add", "path": "/spec/host", "value": "ratings"}]
    connect().json_patch("DestinationRule", "default", "details", ops, version=obj["metadata"]["resourceVersion"])
    error = ended(run)
    assert isinstance(error, errors.Inconclusive)
    assert "DestinationRule default/details" in str(error)
    assert "its host, exportTo or workloadSelector changed" in str(error)
    assert mesh.objects("DestinationRule")[0]["spec"] == {"host": "ratings"}


def test_a_run_that_cannot_renew_for_two_thirds_of_its_lease_stops(open_run, monkeypatch):
    run = open_run(lease_duration=6.0)
    renew, tried = cluster.renew, []

    def once_more(*args):
        tried.append(time.monotonic())
        if len(tried) > 1:
            raise errors.Forbidden("no more", status=403)
        return renew(*args)

    monkeypatch.setattr("chaosmesh_ext.mesh.renew", once_more)
    assert "could not be renewed for two thirds" in str(ended(run))
    assert time.monotonic() - tried[0] >= 4.0
    assert tried[-1] - tried[0] < 6.0


def test_two_runs_on_one_host_exclude_each_other_unless_both_have_markers(open_run, mesh):
    run = open_run()
    other = Run(settings=Settings(app_url=mesh.url, max_percentage=100.0), traces=mesh, connect=connect)
    with pytest.raises(cluster.Locked, match=run.token):
        other.inject(Abort(507, percentage=5), Scope("details", requests="all"), carrier="virtualservice", prove=False)
    assert [one.run for one in runs(connect()) if one.objects] == [run.token]
    other.close()


def test_whoever_is_on_call_sees_events_on_the_service(open_run):
    run = open_run(length=30)
    run.close()
    client = connect()
    told = [one for one in client.list("Event", "default") if one["involvedObject"]["name"] == "details"]
    told.sort(key=lambda one: one["reason"])
    injected, removed = told
    assert injected["involvedObject"]["kind"] == "Service"
    assert (injected["type"], injected["reason"]) == ("Warning", "ChaosFaultInjected")
    assert injected["message"].startswith(
        "abort with 507 on productpage-v1 → details, requests that the run marked: run"
    )
    assert f"chaos mesh recover --run {run.token}" in injected["message"]
    assert (removed["type"], removed["reason"]) == ("Normal", "ChaosFaultRemoved")
