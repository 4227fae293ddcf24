"""The janitor, on a real API and real clocks; Leases live 1 s here."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from itertools import cycle

import pytest
from janitors import DURATION, janitor, leads, remains, renewed
from leftovers import OTHER, RUN, baked_in, fault, faults, held, lease, lock, owner
from numbered_api import answering, half, reset
from waiting import until

from chaosmesh_ext import mesh
from chaosmesh_ext.run.janitor import Swept, sweep

# --- one shot ---------------------------------------------------------------------------------------------------------


def test_one_sweep_ends_what_is_over_by_the_servers_time_and_nothing_else(cluster):
    client = cluster.client
    for run, times in (("11111111", {"renewed": -9.0}), ("22222222", {"deadline": -9.0}), (RUN, {})):
        lease(client, run, **times, duration=DURATION if times.get("renewed") else 60)
        fault(client, run, host=run)
    fault(client, OTHER)
    swept = list(sweep(client))
    assert [(one.run, one.left) for one in swept] == [("0ddba11c", ()), ("11111111", ()), ("22222222", ())]
    assert [one.why.split(" at ")[0].split(" since ")[0] for one in swept] == [
        "its Lease is missing", "sre@desk:1 has not renewed it", "its deadline passed",
    ]  # fmt: skip
    assert held(client) == {f"EnvoyFilter chaos-{RUN}-1", f"Lease chaosmesh-run-{RUN}"}
    assert list(sweep(client)) == []


# --- whose Lease is over ----------------------------------------------------------------------------------------------


def test_a_run_that_is_not_renewed_is_gone_soon_after_its_lease_is_over(cluster):
    """Goal: within 5 s of the Lease's end; here a tick is a fifth of a second."""
    client = cluster.client
    lease(client, duration=DURATION)
    lock(client)
    fault(client)
    fault(client, cell="2", carrier="virtualservice")
    told: list[Swept] = []
    began = time.monotonic()
    with janitor(told):
        until(remains(client))
        took = time.monotonic() - began
    assert DURATION < took < DURATION + 5
    [swept] = told
    assert (swept.run, swept.why) == (RUN, "sre@desk:1 has not renewed it for 1 s")
    assert swept.undone == (f"EnvoyFilter default/chaos-{RUN}-1", "VirtualService default/details")
    assert client.get("VirtualService", "default", "details")["spec"] == owner()["spec"]


def test_a_run_that_lives_is_left_alone(cluster):
    client = cluster.client
    kept = lease(client, duration=3 * DURATION)
    fault(client)
    lock(client)
    told: list[Swept] = []
    with renewed(client, kept), janitor(told):
        time.sleep(4 * DURATION)
    assert told == []
    assert len(held(client)) == 3


def test_times_that_were_written_by_a_wrong_clock_expire_nothing_that_is_renewed(cluster):
    """What counts is that the Lease changes, not what it says."""
    client = cluster.client
    stop = threading.Event()
    kept = lease(client, duration=3 * DURATION, renewed=-9e6)
    fault(client)

    def renew() -> None:
        version = kept.version
        while not stop.wait(DURATION / 3):
            text = mesh.time_text(client.server_time() - 9e6)
            ops = [{"op": "add", "path": "/spec/renewTime", "value": text}]
            version = client.json_patch("Lease", "default", kept.name, ops, version=version)["metadata"][
                "resourceVersion"
            ]

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with janitor():
            time.sleep(4 * DURATION)
        assert len(held(client)) == 2
    finally:
        stop.set()
        thread.join()


def test_a_run_whose_deadline_passed_is_ended_though_it_is_renewed(cluster):
    """A runner that hangs may well renew for ever."""
    client = cluster.client
    told: list[Swept] = []
    kept = lease(client, duration=60, deadline=-9)
    fault(client)
    stop = threading.Event()

    def renew() -> None:
        current = kept
        while not stop.wait(DURATION / 3):
            try:
                current = mesh.renew(client, current)
            except mesh.LeaseLost:
                return

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with janitor(told):
            until(remains(client))
    finally:
        stop.set()
        thread.join()
    assert told[0].why.startswith("its deadline passed at ")


@pytest.mark.parametrize("left", [fault, faults, lock])
def test_what_has_no_lease_is_given_the_time_of_one_and_then_taken_out(cluster, left):
    client = cluster.client
    left(client)
    began = time.monotonic()
    with janitor():
        until(remains(client))
        took = time.monotonic() - began
    assert DURATION < took < DURATION + 5


def test_a_run_that_gets_its_lease_in_time_goes_on(cluster):
    """Seen between two writes of a run that opens."""
    client = cluster.client
    fault(client)
    told: list[Swept] = []
    with janitor(told, duration=4 * DURATION):
        time.sleep(DURATION)
        kept = lease(client, duration=3 * DURATION)
        with renewed(client, kept):
            time.sleep(4 * DURATION)
            assert held(client) == {f"EnvoyFilter chaos-{RUN}-1", f"Lease chaosmesh-run-{RUN}"}
            assert told == []


def test_routes_that_an_owner_baked_in_are_found_by_name(cluster):
    client = cluster.client
    fault(client, carrier="virtualservice")
    baked_in(client)
    with janitor():
        until(lambda: client.get("VirtualService", "default", "details")["spec"] == owner()["spec"])


# --- what fails -------------------------------------------------------------------------------------------------------


def test_it_survives_an_api_that_fails_in_every_way_and_goes_on(cluster):
    client = cluster.client
    told: list[Swept] = []
    ways = cycle([answering(503), answering(429, headers={"Retry-After": "1"}), answering(401), reset, half])
    with janitor(told):
        until(lambda: leads(client))
        cluster.proxy.begin()
        cluster.proxy.treat = lambda exchange: next(ways)
        lease(client, duration=DURATION)
        fault(client)
        until(lambda: cluster.proxy.count > 5)
        assert len(held(client)) == 2
        cluster.proxy.treat = lambda exchange: None
        until(remains(client))
    assert told[-1].run == RUN
    assert any(swept.error for swept in told)


def test_what_it_may_not_look_at_is_said_and_all_else_is_ended(cluster):
    """A janitor with the Role of an earlier version."""
    client = cluster.client
    cluster.proxy.treat = lambda exchange: answering(403) if "/sidecars" in exchange.path else None
    told: list[Swept] = []
    with janitor(told):
        until(lambda: told)
        fault(client)
        until(lambda: not client.list("EnvoyFilter", "default"))
    assert "may not list objects of kind Sidecar" in told[0].error
    [ended] = [swept for swept in told if swept.run]
    assert "objects of kind Sidecar could not be looked for" in ended.left[0]


def test_an_error_that_stays_is_not_said_again_and_again(cluster):
    cluster.proxy.treat = lambda exchange: answering(503)
    told: list[Swept] = []
    with janitor(told):
        until(lambda: cluster.proxy.count > 3)
    assert len(told) == 1


def test_what_could_not_be_removed_is_tried_again(cluster):
    client = cluster.client
    refused = Counter()

    def treat(exchange):
        if exchange.method == "DELETE" and "envoyfilters" in exchange.path and refused["n"] < 3:
            refused["n"] += 1
            return answering(403, "no")
        return None

    cluster.proxy.treat = treat
    lease(client, duration=DURATION)
    lock(client)
    fault(client)
    told: list[Swept] = []
    with janitor(told):
        until(remains(client))
    assert [bool(swept.left) for swept in told] == [True, False]
    assert f"EnvoyFilter default/chaos-{RUN}-1" in told[0].left[0]


def test_a_conflict_is_told_once(cluster):
    """Its note stays for a person to see; nothing is written or said again and again."""
    client = cluster.client
    lease(client, duration=DURATION)
    fault(client, carrier="virtualservice", marker=None, source=None)
    obj = client.get("VirtualService", "default", "details")
    obj["spec"]["http"][0]["fault"]["abort"]["httpStatus"] = 503
    client.replace(obj)
    told: list[Swept] = []
    with janitor(told):
        until(lambda: told)
        time.sleep(4 * DURATION)
        cluster.proxy.begin()
        time.sleep(DURATION)
        assert [exchange for exchange in cluster.proxy.log if exchange.writes and "leases" not in exchange.path] == []
    assert len([swept for swept in told if swept.run]) == 1
    assert "neither ours nor the original" in told[0].conflicts[0]


def test_it_asks_little(cluster):
    """Five ticks a Lease: Leases and the time at each, its own Lease as often; by label three times the kinds that hold
    delays and aborts, and once the others, whose faults are found by their Lease all the same.
    """
    client = cluster.client
    with janitor():
        until(lambda: leads(client))
        time.sleep(DURATION)
        cluster.proxy.begin()
        began = time.monotonic()
        time.sleep(3 * DURATION)
        asked = list(cluster.proxy.log)
        leases = math.ceil((time.monotonic() - began) / DURATION)
    others = len(mesh.CARRIED_BY) - len(mesh.ROUTED_BY)
    assert len(asked) <= leases * (6 + 2 * 4 + 2 * 4) + (leases + 1) * others
    assert 1 <= sum(exchange.path.endswith("/sidecars") for exchange in asked) <= leases + 1
    assert all("labelSelector" in exchange.target for exchange in asked if exchange.path.endswith("services"))
