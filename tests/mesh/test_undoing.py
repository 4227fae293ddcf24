"""One way to end a run."""

from __future__ import annotations

import threading
import time

import pytest

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import Conflict, Forbidden
from chaosmesh_ext.mesh import locks
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.lease import RunLease
from chaosmesh_ext.mesh.ledger import UNDO, Entry, Field, created, enter

RUN, OTHER = "0badcafe", "0ddba11c"
HOST = "details.default.svc.cluster.local"


def envoy_filter(run: str = RUN, cell: str = "1", namespace: str = "default") -> dict:
    obj = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": f"chaos-{run}-{cell}", "namespace": namespace},
        "spec": {"configPatches": []},
    }
    return created(obj, run, cell)


def lease(run: str = RUN) -> dict:
    now = time.time()
    return RunLease(run, "default", "sre@desk:1", 15, now, now + 60).object()


def faulted(client: Client, owner: dict, run: str = RUN) -> dict:
    """The OWNER's object with a fault of RUN's, written."""
    made = client.create(owner)
    fault = {"abort": {"httpStatus": 507, "percentage": {"value": 100.0}}}
    field = Field("/spec/http/0/fault", fault)
    ops = [{"op": "add", "path": field.at, "value": fault}, *enter(made, run, Entry("1", fields=(field,)))]
    meta = made["metadata"]
    return client.json_patch("VirtualService", meta["namespace"], meta["name"], ops, version=meta["resourceVersion"])


@pytest.fixture
def owner() -> dict:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "details", "namespace": "default"},
        "spec": {"hosts": ["details"], "http": [{"route": [{"destination": {"host": "details"}}]}]},
    }


def everything(client: Client) -> set[str]:
    kinds = ("EnvoyFilter", "VirtualService", "Lease")
    return {f"{kind} {obj['metadata']['name']}" for kind in kinds for obj in client.list(kind, "default")}


def test_a_run_is_ended_wholly_and_what_is_others_stays(client, owner):
    faulted(client, owner)
    client.create(envoy_filter())
    client.create(lease())
    locks.lock(client, "default", HOST, locks.Holder(RUN, exact=False))
    client.create(envoy_filter(OTHER))
    client.create(lease(OTHER))
    locks.lock(client, "default", "ratings", locks.Holder(OTHER, exact=False))
    ended = mesh.end(client, RUN)
    assert set(ended.undone) == {f"EnvoyFilter default/chaos-{RUN}-1", "VirtualService default/details"}
    assert (ended.conflicts, ended.left) == ((), ())
    assert client.get("VirtualService", "default", "details")["spec"] == owner["spec"]
    assert everything(client) == {
        "VirtualService details",
        f"EnvoyFilter chaos-{OTHER}-1",
        f"Lease chaosmesh-run-{OTHER}",
        f"Lease {locks.lock_name('default', 'ratings')}",
    }
    assert mesh.end(client, RUN) == mesh.Ended()


def test_a_lock_that_two_runs_share_stays_with_the_other_one(client):
    for run in (RUN, OTHER):
        locks.lock(client, "default", HOST, locks.Holder(run, exact=True))
    assert mesh.end(client, RUN).left == ()
    [obj] = client.list("Lease", "default")
    assert locks.runs_of(obj) == {OTHER}
    assert mesh.end(client, OTHER).left == ()
    assert client.list("Lease", "default") == []


def test_a_lock_whose_holders_somebody_broke_goes_with_the_run_that_its_label_names(client):
    locks.lock(client, "default", HOST, locks.Holder(RUN, exact=True))
    [obj] = client.list("Lease", "default")
    client.replace({**obj, "metadata": {**obj["metadata"], "annotations": {locks.HOLDERS: "[{"}}})
    mesh.end(client, OTHER)
    assert len(client.list("Lease", "default")) == 1
    mesh.end(client, RUN)
    assert client.list("Lease", "default") == []


def test_an_owners_later_value_is_told_until_a_person_heard_of_it_and_the_run_is_over_all_the_same(client, owner):
    made = faulted(client, owner)
    made["spec"]["http"][0]["fault"]["abort"]["httpStatus"] = 503
    client.replace(made)
    client.create(lease())
    for told in (False, False, True):
        ended = mesh.end(client, RUN, told=told)
        assert ended.left == ()
        assert "neither ours nor the original" in ended.conflicts[0]
        assert everything(client) == {"VirtualService details"}
    assert mesh.end(client, RUN) == mesh.Ended()
    assert UNDO not in client.get("VirtualService", "default", "details")["metadata"].get("annotations", {})


class Refuses(Client):
    """Does not do what `how` says."""

    def __init__(self, other: Client, how: set[tuple[str, str]]) -> None:
        self.__dict__.update(other.__dict__)
        self.how = how

    def list(self, kind, *args, **kwargs):
        if ("list", kind) in self.how:
            raise Forbidden(f"{kind}: no", status=403)
        return super().list(kind, *args, **kwargs)

    def delete(self, kind, *args, **kwargs):
        if ("delete", kind) in self.how:
            raise Forbidden(f"{kind}: no", status=403)
        return super().delete(kind, *args, **kwargs)


@pytest.mark.parametrize("how", [("delete", "EnvoyFilter"), ("list", "EnvoyFilter")])
def test_while_a_fault_may_be_left_the_lease_and_the_lock_stay_and_all_else_goes(client, owner, how):
    faulted(client, owner)
    client.create(envoy_filter())
    client.create(lease())
    locks.lock(client, "default", HOST, locks.Holder(RUN, exact=False))
    ended = mesh.end(Refuses(client, {how}), RUN)
    assert ended.undone == ("VirtualService default/details",)
    [left] = ended.left
    assert "EnvoyFilter" in left
    assert len(client.list("Lease", "default")) == 2
    assert mesh.end(client, RUN).left == ()
    assert everything(client) == {"VirtualService details"}


def test_a_lock_that_cannot_be_released_keeps_the_lease(client):
    """Else nothing would say any more whose lock it is."""
    client.create(lease())
    locks.lock(client, "default", HOST, locks.Holder(RUN, exact=False))
    ended = mesh.end(Refuses(client, {("delete", "Lease")}), RUN)
    assert [locks.lock_name("default", HOST) in left for left in ended.left] == [True]
    assert "could not be looked for" in mesh.end(Refuses(client, {("list", "Lease")}), RUN).left[0]
    assert len(client.list("Lease", "default")) == 2


def test_two_at_once_end_it_once_without_an_error(client, owner, kubeconfig):
    """A watchdog, a janitor and a person may all do it at the same time."""
    for number in range(5):
        faulted(client, {**owner, "metadata": {**owner["metadata"], "name": f"details-{number}"}})
        client.create(envoy_filter(cell=str(number)))
        locks.lock(client, "default", f"host-{number}", locks.Holder(RUN, exact=False))
    client.create(lease())
    found: list[mesh.Ended] = []
    together = threading.Barrier(3)

    def one() -> None:
        own = mesh.connect()
        together.wait()
        found.append(mesh.end(own, RUN))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all((ended.left, ended.conflicts) == ((), ()) for ended in found)
    assert client.list("EnvoyFilter") == client.list("Lease", "default") == []
    assert all(obj["spec"] == owner["spec"] for obj in client.list("VirtualService"))


def test_an_object_that_another_made_anew_is_read_again(client):
    """The uid that was read is not the one that is there when it is deleted."""
    client.create(envoy_filter())

    class Recreated(Client):
        def __init__(self) -> None:
            self.__dict__.update(client.__dict__)
            self.deletions = 0

        def delete(self, kind, namespace, name, *, uid, version=""):
            self.deletions += 1
            if self.deletions == 1:
                super().delete(kind, namespace, name, uid=uid)
                super().create(envoy_filter())
            super().delete(kind, namespace, name, uid=uid, version=version)

    other = Recreated()
    assert mesh.end(other, RUN).left == ()
    assert other.deletions == 2
    assert client.list("EnvoyFilter") == []
    made = client.create(envoy_filter())
    with pytest.raises(Conflict):
        client.delete("EnvoyFilter", "default", made["metadata"]["name"], uid="another")
