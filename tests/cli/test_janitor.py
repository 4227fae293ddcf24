"""`chaos mesh janitor`, one shot."""

from __future__ import annotations

import json

from leftovers import OTHER, RUN, fault, held, lease, owner


def test_it_says_what_it_did(said, client):
    lease(client)
    fault(client)
    lease(client, OTHER, renewed=-60)
    fault(client, OTHER, host="ratings")
    line = said("janitor")
    assert line.startswith(f"ended {OTHER}: sre@desk:1 has not renewed it since 20")
    assert line.endswith(f"; clean again: EnvoyFilter default/chaos-{OTHER}-1\n")
    assert held(client) == {f"EnvoyFilter chaos-{RUN}-1", f"Lease chaosmesh-run-{RUN}"}
    assert said("janitor") == "No run is over that left something.\n"


def test_scripts_read_a_line_for_each_run(said, client):
    assert said("janitor", "--json") == ""
    for run in (RUN, OTHER):
        fault(client, run, host=run)
    lines = [json.loads(line) for line in said("janitor", "--json").splitlines()]
    assert [(line["run"], line["why"]) for line in lines] == [
        (RUN, "its Lease is missing"),
        (OTHER, "its Lease is missing"),
    ]


def test_what_is_left_exits_5(said, client):
    client.create(owner())
    fault(client, carrier="virtualservice", marker=None, source=None)
    obj = client.get("VirtualService", "default", "details")
    obj["spec"]["http"][0]["fault"]["abort"]["httpStatus"] = 503
    client.replace(obj)
    for _ in range(2):
        assert "left in the mesh: VirtualService default/details: " in said("janitor", exits=5)
    said("recover", "--all", exits=5)
    assert said("janitor") == "No run is over that left something.\n"
