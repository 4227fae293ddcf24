"""Mutual TLS while it changes."""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from echo_mesh import PORT
from fault_words import abort
from mtls import DISABLE, STRICT, called, peer, plain, settled, takes
from waiting import until

HOST = f"details:{PORT}"


@pytest.fixture
def mesh(mesh):
    """The mesh, PERMISSIVE afterwards too."""
    yield mesh
    mesh.clean()
    settled(mesh, {"details": ["details-v1"]})


def counter(mesh, name, source="sleep-v1"):
    stats = mesh.stats(source, f"/stats?filter={name.rpartition('.')[2]}")
    found = re.search(rf"^{re.escape(name)}: (\d+)$", stats, re.MULTILINE)
    assert found, f"no {name}"
    return int(found[1])


def test_a_pod_that_comes_back(mesh, seen):
    """Service whose only pod is replaced: callers keep the cluster, and know the new pod"""
    mesh.service("comeback")
    first = mesh.pod("comeback", "v1")
    mesh.synced()
    host = f"comeback:{PORT}"
    called(mesh, "200 as default/sleep", host)
    before = counter(mesh, "cluster_manager.cluster_modified")
    mesh.remove(first)
    between = called(mesh, "503 UH", host)
    second = mesh.pod("comeback", "v2")
    mesh.synced()
    after = called(mesh, "200 as default/sleep", host)
    try:
        assert counter(mesh, "cluster_manager.cluster_modified") == before
        seen(f"{between} between, then {after}; no cluster modified")
    finally:
        mesh.remove(second)
        mesh.delete("Service", "comeback")


def test_a_sidecar_that_comes_back(mesh, seen, victim):
    """Pod whose sidecar is killed and comes back is called by mutual TLS"""
    host = f"victim:{PORT}"
    victim.envoy_down()
    between = called(mesh, "503 URX,UF", host)
    victim.mend()
    seen(f"{between} between, then {called(mesh, '200 as default/sleep', host)}")


def test_strict_does_not_replace_the_callers_clusters(mesh, seen):
    """PeerAuthentication that becomes STRICT modifies no cluster of the callers"""
    before = counter(mesh, "cluster_manager.cluster_modified")
    peer(mesh, "STRICT")
    takes(mesh, STRICT)
    assert counter(mesh, "cluster_manager.cluster_modified") == before
    seen("none modified")


def test_a_fault_leaves_the_listeners_alone(mesh, seen):
    """VirtualService fault modifies no listener"""
    before = counter(mesh, "listener_manager.listener_modified")
    mesh.route("details", {"fault": abort(507)})
    until(lambda: mesh.call("sleep-v1", HOST).status == 507, "the abort is live")
    assert counter(mesh, "listener_manager.listener_modified") == before
    seen("none modified")


@pytest.mark.parametrize(("mode", "wanted"), [("STRICT", STRICT), ("DISABLE", DISABLE)])
def test_new_connections_meet_the_change_soon(mesh, seen, mode, wanted):
    """PeerAuthentication that becomes {mode} holds for new connections within a second"""
    started = time.monotonic()
    peer(mesh, mode)
    takes(mesh, wanted)
    assert time.monotonic() - started < 1
    seen("within a second")


@pytest.mark.parametrize("mode", ["STRICT", "DISABLE"])
def test_a_connection_from_before(mesh, seen, mode):
    """PeerAuthentication that becomes {mode} leaves an open connection in plain text one more request"""
    with contextlib.closing(http.client.HTTPConnection(mesh.addresses["details-v1"].inbound, PORT, timeout=5)) as one:
        assert ask(one) == "200"
        peer(mesh, mode)
        takes(mesh, {"STRICT": STRICT, "DISABLE": DISABLE}[mode])
        one.auto_open = 0
        found = ask(one)
        assert found == "200, connection: close"
        assert one.sock is None
    seen(found)


def ask(connection):
    connection.request("GET", "/", headers={"Host": "details"})
    answer = connection.getresponse()
    answer.read()
    close = answer.getheader("connection")
    return f"{answer.status}, connection: {close}" if close else str(answer.status)


def test_no_call_fails_while_strict_comes_and_goes(mesh, seen):
    """PeerAuthentication that becomes STRICT and PERMISSIVE in turn costs the mesh's calls nothing"""
    going, found = threading.Event(), Counter()

    def load():
        while not going.is_set():
            found[mesh.call("sleep-v1", HOST).status] += 1

    with ThreadPoolExecutor(3) as pool:
        callers = [pool.submit(load) for _ in range(3)]
        try:
            for mode in ("STRICT", "PERMISSIVE", "STRICT", "PERMISSIVE"):
                peer(mesh, mode)
                until(lambda mode=mode: (plain(mesh, "details-v1") == "closed") == (mode == "STRICT"), mode)
                before = found.total()
                until(lambda before=before: found.total() >= before + 20, f"20 calls under {mode}")
        finally:
            going.set()
    for one in callers:
        one.result()
    assert set(found) == {200}
    seen("only 200")
