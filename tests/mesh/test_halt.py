"""Halt: one object, seen by everybody."""

from __future__ import annotations

import threading

from chaosmesh_ext.mesh import Halt, connect, halt, halted, resume
from chaosmesh_ext.mesh.lease import when

SYSTEM = "chaosmesh-system"


def test_a_halt_says_who_when_and_why_until_it_is_taken_away(client):
    assert halted(client, SYSTEM) is None
    made = halt(client, SYSTEM, "sre@desk", "incident 4711")
    assert abs(when(made.at) - client.server_time()) < 2
    assert halted(client, SYSTEM) == made == Halt("sre@desk", made.at, "incident 4711")
    assert resume(client, SYSTEM) == made
    assert halted(client, SYSTEM) is None
    assert resume(client, SYSTEM) is None


def test_the_namespace_is_made_where_it_is_not_there(client, api):
    assert api.get("Namespace", "", "elsewhere") is None
    halt(client, "elsewhere", "sre@desk", "x")
    assert api.get("Namespace", "", "elsewhere") is not None
    assert halted(client, SYSTEM) is None


def test_who_halted_first_is_not_forgotten(client):
    first = halt(client, SYSTEM, "sre@desk", "incident 4711")
    assert halt(client, SYSTEM, "other@desk", "lunch") == first
    assert halted(client, SYSTEM) == first


def test_a_config_map_that_somebody_made_by_hand_halts_too(client, api):
    """`kubectl create configmap chaosmesh-halt` must do in an emergency, and nonsense in it must not undo that."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    meta = {"name": "chaosmesh-halt", "namespace": SYSTEM}
    made = client.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    found = halted(client, SYSTEM)
    assert found == Halt("somebody", made["metadata"]["creationTimestamp"], "no reason given")


def test_many_that_halt_at_once_all_succeed_and_agree(client, kubeconfig):
    found: list[Halt] = []
    together = threading.Barrier(4)

    def one(who: str) -> None:
        own = connect()
        together.wait()
        found.append(halt(own, SYSTEM, who, "x"))

    threads = [threading.Thread(target=one, args=(f"sre{number}@desk",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(repr, found))) == 1
