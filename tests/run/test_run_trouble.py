"""Writes that fail half-way, edits that cross, runners that die: what a run undoes, and what it says it left."""

from __future__ import annotations

import threading

import pytest
from leftovers import written

from chaosmesh_ext import errors
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import recover, runs

SCOPE = Scope("details", source="productpage-v1")


def test_a_conflict_is_left_behind_and_named_with_how_to_recover(run, mesh, owner):
    mesh.apply(owner)
    run.inject(Delay(1, 5), Scope("details", requests="all"), carrier="virtualservice", prove=False)
    client = connect()
    now = client.get("VirtualService", "default", "details")
    theirs = [{"op": "replace", "path": "/spec/http/0/fault/delay/fixedDelay", "value": "9s"}]
    client.json_patch("VirtualService", "default", "details", theirs, version=now["metadata"]["resourceVersion"])
    with pytest.raises(errors.LeftBehind, match=rf"/spec/http/0/fault is now .* chaos mesh recover --run {run.token}"):
        run.undo()
    # the owner's value stays, and so does the note, until a person was told
    assert written() == [f"{run.token} VirtualService default/details"]
    with pytest.raises(errors.LeftBehind, match="/spec/http/0/fault is now"):
        recover(connect(), run.token)
    assert written() == []
    assert mesh.objects("VirtualService")[0]["spec"]["http"][0]["fault"]["delay"]["fixedDelay"] == "9s"


def test_another_process_recovers_what_a_run_left(run, mesh, owner):
    """The cluster alone knows enough."""
    mesh.apply(owner)
    run.inject(Abort(507), SCOPE, carrier="virtualservice", prove=False)
    run.inject(Abort(507), Scope("reviews", source="productpage-v1"), prove=False)
    client = connect()
    (found,) = runs(client)
    assert found.run == run.token
    assert len(found.objects) == 2
    assert recover(client, "11111111") == []
    assert len(recover(client, run.token)) == 2
    assert runs(client) == []
    assert mesh.objects("VirtualService")[0]["spec"] == owner["spec"]
    assert recover(client) == []


def test_a_write_whose_answer_never_comes_is_looked_for_and_removed(run, mesh, monkeypatch):
    """The object may arrive after the error did."""

    from chaosmesh_ext.mesh import Client

    create = Client.create
    late = []

    def cut_off(self, obj):
        timer = threading.Timer(0.5, create, (connect(), obj))
        timer.start()
        late.append(timer)
        raise errors.Unreachable("the connection broke")

    monkeypatch.setattr(Client, "create", cut_off)
    with pytest.raises(errors.Unreachable, match="broke"):
        run.inject(Abort(507), SCOPE, prove=False)
    late[0].join()
    assert written() == []


def test_an_exception_of_any_kind_rolls_back(run, mesh, monkeypatch):
    """Chaos Toolkit ends activities by SystemExit, a person by KeyboardInterrupt."""

    def interrupted(self, written):
        raise KeyboardInterrupt

    monkeypatch.setattr("chaosmesh_ext.run.trace_proof.TraceProver.live", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.inject(Abort(507), SCOPE)
    assert written() == []


def test_a_write_that_the_api_server_failed_on_is_removed_beside_a_live_fault(run, mesh, monkeypatch):
    """A 504 does not say whether etcd has it."""
    from chaosmesh_ext.mesh import Client

    run.inject(Abort(507), Scope("reviews", source="productpage-v1"), prove=False)
    create = Client.create

    def timed_out(self, obj):
        create(self, obj)
        raise errors.ServerError("request did not complete within the timeout", status=504, reason="Timeout")

    monkeypatch.setattr(Client, "create", timed_out)
    with pytest.raises(errors.ServerError):
        run.inject(Abort(507), SCOPE, prove=False)
    assert written() == [f"{run.token} EnvoyFilter default/chaos-{run.token}-1"]


def test_an_emergency_waits_for_a_write_that_is_under_way(run, mesh, monkeypatch):
    """The signal comes between a request and its answer; whoever handles it next may end the process at once."""

    from chaosmesh_ext.mesh import Client

    create = Client.create

    def interrupted(self, obj):
        late = threading.Timer(0.4, create, (connect(), obj))
        late.start()
        run._stopping.emergency()
        late.join()
        assert written() == []
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.inject(Abort(507), SCOPE, prove=False)
