"""A run's Lease: who holds it, until when, and when it is over."""

from __future__ import annotations

import time

import pytest

from chaosmesh_ext.mesh.lease import LeaseLost, RunLease, renew, time_text, when


@pytest.fixture
def lease(client):
    now = client.server_time()
    wanted = RunLease("0a1b2c3d", "default", "me@here:1", 6.0, now, now + 60, "What if details is slow?")
    found = RunLease.read(client.create(wanted.object()))
    assert found is not None
    return found


def test_what_is_written_is_what_is_read(client, lease):
    found = RunLease.read(client.get("Lease", "default", "chaosmesh-run-0a1b2c3d"))
    assert found == lease
    assert (found.run, found.holder, found.experiment) == ("0a1b2c3d", "me@here:1", "What if details is slow?")
    assert found.deadline - found.renewed == pytest.approx(60, abs=1e-3)


def test_another_lease_is_no_runs(client):
    made = client.create(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "election", "namespace": "default"},
        }
    )
    assert RunLease.read(made) is None


def test_a_renewal_moves_its_time_and_nothing_else(client, lease):
    time.sleep(0.05)
    found = renew(client, lease)
    assert found.renewed > lease.renewed
    assert found.deadline == lease.deadline
    assert found.version != lease.version


def test_somebodys_edit_does_not_stop_a_renewal(client, lease):
    note = [{"op": "add", "path": "/metadata/labels/mine", "value": "yes"}]
    client.json_patch("Lease", "default", lease.name, note, version=lease.version)
    found = renew(client, lease)
    assert found.renewed >= lease.renewed
    assert client.get("Lease", "default", lease.name)["metadata"]["labels"]["mine"] == "yes"


def test_a_lease_that_is_gone_is_lost(client, lease):
    client.delete("Lease", "default", lease.name, uid=lease.uid)
    with pytest.raises(LeaseLost, match="is gone"):
        renew(client, lease)


def test_another_of_its_name_is_lost_too(client, lease):
    client.delete("Lease", "default", lease.name, uid=lease.uid)
    client.create(lease.object())
    with pytest.raises(LeaseLost, match="replaced"):
        renew(client, lease)


def test_it_has_expired_when_it_was_not_renewed_for_its_duration(lease):
    assert not lease.expired(lease.renewed + 6)
    assert "me@here:1 has not renewed it" in lease.expired(lease.renewed + 9)


def test_it_has_expired_when_its_deadline_passed_however_new_it_is(lease):
    assert "its deadline passed" in lease.expired(lease.deadline + 3)


def test_one_that_makes_no_sense_has_expired(client):
    made = client.create(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "chaosmesh-run-0a1b2c3d", "namespace": "default"},
        }
    )
    found = RunLease.read(made)
    assert found is not None
    assert found.expired(client.server_time())


def test_a_time_is_written_as_kubernetes_does_and_read_back():
    assert time_text(0.25) == "1970-01-01T00:00:00.250000Z"
    assert when("1970-01-01T00:00:00.250000Z") == 0.25
    assert when("yesterday") == when(None) == 0.0
