"""Faults reach a real API server, and leave it as it was."""

from __future__ import annotations

import pytest

from chaosmesh_ext import errors
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.mesh import Edit, View, envoyfilter, holdings, overlay, put, take_out

VOLATILE = ("resourceVersion", "generation", "managedFields")


def plain(obj: dict) -> dict:
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key not in VOLATILE}}


def test_an_overlay_goes_in_and_out_and_leaves_the_object_as_it_was(client, make, place_of):
    before = client.create(make.virtual_service())
    for change in overlay.plan(Abort(507), place_of(), View(owner=before)):
        put(client, change)
    (holding,) = holdings(client)
    assert str(holding) == "VirtualService default/details"
    assert take_out(client, holding) == ()
    assert plain(client.get("VirtualService", "default", "details")) == plain(before)
    assert holdings(client) == []
    assert take_out(client, holding) == ()


def test_an_object_of_ours_is_deleted(client, place_of):
    for change in envoyfilter.plan(Delay(7), place_of(), View()):
        put(client, change)
    (holding,) = holdings(client, run="0badcafe")
    assert holding.created
    assert holdings(client, run="11111111") == []
    assert take_out(client, holding, "2") == ()
    assert client.find("EnvoyFilter", "default", "chaos-0badcafe-1")
    assert take_out(client, holding, "1") == ()
    assert client.find("EnvoyFilter", "default", "chaos-0badcafe-1") is None


def test_an_edit_that_comes_between_reading_and_writing_is_kept(client, make, place_of):
    """The first write conflicts, the second is computed again from the fresh object."""
    before = client.create(make.virtual_service())
    (change,) = overlay.plan(Abort(507), place_of(), View(owner=before))
    calls = []

    def compute(obj):
        if not calls:
            timeout = [{"op": "add", "path": "/spec/http/0/timeout", "value": "5s"}]
            client.json_patch(
                "VirtualService", "default", "details", timeout, version=obj["metadata"]["resourceVersion"]
            )
        calls.append(obj)
        return change.compute(obj)

    written = put(client, Edit(change.kind, change.namespace, change.name, compute))
    assert len(calls) == 2
    assert [one.get("timeout") for one in written["spec"]["http"]] == ["5s", "5s"]
    (holding,) = holdings(client)
    take_out(client, holding)
    assert client.get("VirtualService", "default", "details")["spec"]["http"][0]["timeout"] == "5s"


def test_somebody_who_never_stops_writing_is_reported(client, make, place_of):
    before = client.create(make.virtual_service())
    (change,) = overlay.plan(Abort(507), place_of(), View(owner=before))

    def compute(obj):
        value = {"n": obj["metadata"]["resourceVersion"]}
        label = [{"op": "add", "path": "/metadata/labels", "value": value}]
        client.json_patch("VirtualService", "default", "details", label, version=obj["metadata"]["resourceVersion"])
        return change.compute(obj)

    with pytest.raises(errors.Conflict, match="find out who rewrites it"):
        put(client, Edit(change.kind, change.namespace, change.name, compute))


def test_a_conflict_names_the_object(client, make, place_of):
    before = client.create(make.virtual_service())
    (change,) = overlay.plan(Delay(1, 5), place_of(source=None, marker=None), View(owner=before))
    written = put(client, change)
    theirs = [{"op": "replace", "path": "/spec/http/0/fault/delay/fixedDelay", "value": "9s"}]
    client.json_patch("VirtualService", "default", "details", theirs, version=written["metadata"]["resourceVersion"])
    (holding,) = holdings(client)
    (conflict,) = take_out(client, holding)
    assert conflict.startswith("VirtualService default/details: /spec/http/0/fault")


def test_an_object_of_ours_that_cannot_be_deleted_is_never_called_clean(client, place_of, monkeypatch):
    for change in envoyfilter.plan(Delay(7), place_of(), View()):
        put(client, change)
    (holding,) = holdings(client)

    def conflict(*_args, **_kw):
        raise errors.Conflict("another uid", status=409, reason="Conflict")

    monkeypatch.setattr(client, "delete", conflict)
    with pytest.raises(errors.Conflict, match="find out who rewrites it"):
        take_out(client, holding)


def test_an_object_of_ours_whose_metadata_was_wiped_is_found_and_deleted(client, place_of):
    """A `kubectl replace` of an edited copy drops what it does not mention."""
    for change in envoyfilter.plan(Delay(7), place_of(), View()):
        written = put(client, change)
    client.replace(
        {**written, "metadata": {k: written["metadata"][k] for k in ("name", "namespace", "resourceVersion")}}
    )
    (holding,) = holdings(client, run="0badcafe")
    assert take_out(client, holding) == ()
    assert client.find("EnvoyFilter", "default", "chaos-0badcafe-1") is None
