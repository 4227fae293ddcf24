"""`chaos mesh halt` and `resume`."""

from __future__ import annotations

import pytest

from chaosmesh_ext.mesh import halted
from chaosmesh_ext.mesh.halt import HALT


@pytest.fixture
def client(client, monkeypatch):
    monkeypatch.setenv("CHAOSMESH_SYSTEM_NAMESPACE", "ours")
    return client


def test_halt_and_resume(said, client):
    assert "Halted: incident 4711." in said("halt", "--reason", "incident 4711")
    found = halted(client, "ours")
    assert found.reason == "incident 4711"
    assert "@" in found.by
    again = said("halt", "--reason", "lunch")
    assert f"Halted already, by {found.by} at {found.at}: incident 4711." in again
    assert f"{found.by} had halted them at {found.at}: incident 4711." in said("resume")
    assert halted(client, "ours") is None
    assert said("resume") == "Nobody had halted runs.\n"


def test_scripts_read_them_as_json(told, client):
    made = told("halt", "--reason", "x")
    assert (made["reason"], made["already"]) == ("x", False)
    assert told("halt", "--reason", "y")["already"] is True
    assert told("resume") == {"resumed": True, "halt": {"by": made["by"], "at": made["at"], "reason": "x"}}
    assert told("resume") == {"resumed": False, "halt": None}


def test_a_halt_needs_no_reason(told, client):
    assert told("halt")["reason"] == "no reason given"


EVIL = "a\nError: all is well\x1b[2J\x9b31m\u202e"
SHOWN = r"a Error: all is well\x1b[2J\x9b31m\u202e"


def test_a_reason_does_nothing_on_the_terminals_of_others(said, told, client):
    assert f"Halted: {SHOWN}." in said("halt", "--reason", EVIL)
    assert told("halt")["reason"] == SHOWN
    assert f": {SHOWN}." in said("resume")


def test_nor_does_one_that_another_program_wrote(said, client):
    said("halt")
    there = client.get("ConfigMap", "ours", HALT)
    client.replace({**there, "data": {"by": EVIL, "at": EVIL, "reason": EVIL}})
    assert f"Halted already, by {SHOWN} at {SHOWN}: {SHOWN}." in said("halt")
    assert f"{SHOWN} had halted them at {SHOWN}: {SHOWN}." in said("resume")
