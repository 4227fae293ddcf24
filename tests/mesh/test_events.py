"""Events for whoever is on call."""

from __future__ import annotations

import logging

import pytest
from leftovers import RUN, fault, lease

from chaosmesh_ext.mesh import Destination, announce
from chaosmesh_ext.mesh.lease import when


@pytest.fixture
def service(api) -> dict:
    obj = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "details", "namespace": "default"},
        "spec": {"selector": {"app": "details"}, "ports": [{"name": "http", "port": 9080}]},
    }
    api.apply(obj)
    return api.get("Service", "default", "details")


def events(client) -> list[dict]:
    return client.list("Event", "default")


def test_the_service_tells_who_faults_it_until_when_and_how_to_stop_it(client, service, place_of):
    held = lease(client)
    announce(client, place_of(), held, "Abort 507")
    [event] = events(client)
    about = event["involvedObject"]
    assert (about["kind"], about["name"], about["uid"]) == ("Service", "details", service["metadata"]["uid"])
    assert (event["type"], event["reason"]) == ("Warning", "ChaosFaultInjected")
    assert event["message"].startswith(
        "Abort 507 on productpage-v1 → details, requests that the run marked: run 0badcafe"
    )
    assert "by sre@desk:1 (what if details dies?), until 20" in event["message"]
    assert event["message"].endswith("at the latest; stop it: chaos mesh recover --run 0badcafe")
    assert abs(when(event["lastTimestamp"]) - client.server_time()) < 3
    assert client.list("Event", "default", labels=f"chaosmesh-ext/run={RUN}") == events(client)


def test_its_removal_is_told_too(client, service, place_of):
    held = lease(client)
    announce(client, place_of(), held, "Abort 507")
    announce(client, place_of(), held, "Abort 507", removed=True)
    found = {event["reason"]: event for event in events(client)}
    assert {reason: event["type"] for reason, event in found.items()} == {
        "ChaosFaultInjected": "Warning",
        "ChaosFaultRemoved": "Normal",
    }
    assert found["ChaosFaultRemoved"]["message"].startswith("Abort 507 on productpage-v1 → details was removed: run ")


def test_everybodys_requests_are_called_so(client, service, place_of):
    announce(client, place_of(marker=None, source=None), lease(client), "Abort 507, 10 %")
    assert "Abort 507, 10 % on every caller → details, everybody's requests: " in events(client)[0]["message"]


def test_a_long_title_does_not_push_out_how_to_stop_it(client, service, place_of):
    import msgspec

    held = msgspec.structs.replace(lease(client), experiment="does\nit " * 500)
    announce(client, place_of(), held, "Abort 507")
    message = events(client)[0]["message"]
    assert message.endswith("chaos mesh recover --run 0badcafe")
    assert "\n" not in message


def test_a_host_outside_is_told_on_what_carries_the_fault(client, place_of):
    """A ServiceEntry's host has no Service."""
    outside = place_of(destination=Destination("api.example.com", "api.example.com", "", 80, (80,)))
    held = lease(client)
    announce(client, outside, held, "Abort 507")
    assert events(client) == []
    announce(client, outside, held, "Abort 507", carried_by=fault(client))
    assert events(client)[0]["involvedObject"]["name"] == "chaos-0badcafe-1"


def test_a_service_that_is_gone_is_no_matter(client, place_of, caplog):
    announce(client, place_of(), lease(client), "Abort 507")
    assert events(client) == []
    assert caplog.records == []


def test_an_event_that_cannot_be_written_is_a_warning(client, service, place_of, api, caplog):
    held = lease(client)
    api.call(api.kube.stop())
    with caplog.at_level(logging.WARNING, "chaostoolkit"):
        announce(client, place_of(), held, "Abort 507")
    assert "no Event says that the run 0badcafe is at work on Service default/details" in caplog.text
