"""One way to end a run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
import yaml
from numbered_api import Exchange, NumberedApi, Treatment, answering

from chaosmesh_ext import mesh
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


@pytest.fixture
def proxy(api) -> Iterator[NumberedApi]:
    """Between `hindered` and the API; its `treat` says what becomes of a request."""
    there = NumberedApi(api.kube.url)
    api.call(there.start())
    yield there
    api.call(there.stop())


@pytest.fixture
def hindered(proxy, api, tmp_path) -> Client:
    config = api.kube.kubeconfig()
    config["clusters"][0]["cluster"]["server"] = proxy.url
    file = tmp_path / "hindered"
    file.write_text(yaml.safe_dump(config))
    return mesh.connect({"KUBECONFIG": str(file)})


def refusing(method: str, plural: str):
    """403 for that."""
    return lambda exchange: answering(403) if exchange.method == method and f"/{plural}" in exchange.path else None


@pytest.mark.parametrize("method", ["DELETE", "GET"])
def test_while_a_fault_may_be_left_the_lease_and_the_lock_stay_and_all_else_goes(
    client, owner, proxy, hindered, method
):
    faulted(client, owner)
    client.create(envoy_filter())
    client.create(lease())
    locks.lock(client, "default", HOST, locks.Holder(RUN, exact=False))
    proxy.treat = refusing(method, "envoyfilters")
    ended = mesh.end(hindered, RUN)
    assert ended.undone == ("VirtualService default/details",)
    [left] = ended.left
    assert "EnvoyFilter" in left
    assert len(client.list("Lease", "default")) == 2
    assert mesh.end(client, RUN).left == ()
    assert everything(client) == {"VirtualService details"}


def test_a_lock_that_cannot_be_released_keeps_the_lease(client, proxy, hindered):
    """Else nothing would say any more whose lock it is."""
    client.create(lease())
    locks.lock(client, "default", HOST, locks.Holder(RUN, exact=False))
    proxy.treat = refusing("DELETE", "leases")
    ended = mesh.end(hindered, RUN)
    assert [locks.lock_name("default", HOST) in left for left in ended.left] == [True]
    proxy.treat = refusing("GET", "leases")
    assert "could not be looked for" in mesh.end(hindered, RUN).left[0]
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


def test_an_object_that_another_made_anew_is_read_again(client, proxy, hindered):
    """The uid that was read is not the one that is there when it is deleted."""
    made = client.create(envoy_filter())
    deletions: list[str] = []

    def anew() -> None:
        client.delete("EnvoyFilter", "default", made["metadata"]["name"], uid=made["metadata"]["uid"])
        client.create(envoy_filter())

    async def meddle(exchange: Exchange) -> None:
        await asyncio.to_thread(anew)
        await exchange.answer(await exchange.forward())

    def treat(exchange: Exchange) -> Treatment | None:
        if exchange.method == "DELETE":
            deletions.append(exchange.path)
        return meddle if len(deletions) == 1 and exchange.method == "DELETE" else None

    proxy.treat = treat
    assert mesh.end(hindered, RUN).left == ()
    assert len(deletions) == 2
    assert client.list("EnvoyFilter") == []


def test_one_object_that_makes_no_sense_keeps_no_other(client):
    """Whatever is in somebody's object: all others are undone, and it is told."""
    client.create({**envoy_filter(), "spec": {"configPatches": []}})
    odd = client.create(envoy_filter(cell="2"))
    odd["metadata"]["annotations"][UNDO] = f'{{"run":"{RUN}","entries":[{{"cell":7}}]}}'
    client.replace(odd)
    ended = mesh.end(client, RUN)
    assert f"EnvoyFilter default/chaos-{RUN}-1" in ended.undone
