"""An owner applies, exports, deletes and recreates on a real API server while we have something in it."""

from __future__ import annotations

from copy import deepcopy

import msgspec
import pytest
from overlays import EVERYBODY, RUN, place

from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import View, disturbed, end, entries, envoyfilter, holdings, overlay, put, take_out

SERVERS = ("resourceVersion", "uid", "generation", "managedFields", "creationTimestamp")


def export(obj: dict, *, notes: bool = True, name: str = "") -> dict:
    """As a person edits what `kubectl get -o yaml` printed. NOTES: label and annotation are left in."""
    meta = {key: value for key, value in obj["metadata"].items() if key not in SERVERS}
    if not notes:
        meta = {key: value for key, value in meta.items() if key not in ("labels", "annotations")}
    return {**deepcopy(obj), "metadata": {**meta, **({"name": name} if name else {})}}


def inject(client, carrier=overlay, owner: dict | None = None, **scope) -> dict:
    (change,) = carrier.plan(Abort(507), place(**scope), View(owner=owner))
    return put(client, change)


def now(client, name: str = "details", kind: str = "VirtualService") -> dict | None:
    return client.find(kind, "default", name)


def recover(client) -> list[str]:
    return [conflict for holding in holdings(client) for conflict in take_out(client, holding)]


@pytest.fixture
def owner(client, make) -> dict:
    return client.create(make.virtual_service())


@pytest.mark.parametrize("notes", [True, False], ids=["with our note", "without"])
def test_routes_of_ours_in_a_copy_that_the_owner_applied_are_found_and_removed(client, owner, notes):
    """`kubectl get -o yaml > file`, and after the run's end `kubectl replace -f file`."""
    file = export(inject(client, owner=owner), notes=notes)
    assert recover(client) == []
    clean = now(client)
    file["metadata"]["resourceVersion"] = clean["metadata"]["resourceVersion"]
    client.replace(file)
    (holding,) = holdings(client, run=RUN)
    assert take_out(client, holding) == ()
    assert export(now(client)) == export(owner)
    assert holdings(client) == []


@pytest.mark.parametrize("notes", [True, False], ids=["with our note", "without"])
def test_an_object_that_the_owner_deleted_and_made_again_from_a_copy_is_cleaned_and_kept(client, owner, notes):
    written = inject(client, owner=owner)
    client.delete("VirtualService", "default", "details", uid=written["metadata"]["uid"])
    assert disturbed(now(client), RUN) == "it was deleted"
    again = client.create(export(written, notes=notes))
    assert again["metadata"]["uid"] != written["metadata"]["uid"]
    assert disturbed(now(client), RUN) == (
        "it was deleted and made anew"
        if notes
        else "the note of what is ours in it is gone: somebody applied another copy"
    )
    assert recover(client) == []
    assert export(now(client)) == export(owner)
    assert now(client)["metadata"]["uid"] == again["metadata"]["uid"]


def test_a_field_of_ours_in_a_copy_without_our_note_is_taken_out_by_the_run_that_remembers_it(client, owner):
    """A value has no name by which anybody else could find it."""
    written = inject(client, owner=owner, **EVERYBODY)
    (holding,) = holdings(client)
    holding = msgspec.structs.replace(holding, entries=entries(written, RUN))
    file = export(written, notes=False)
    file["metadata"]["resourceVersion"] = now(client)["metadata"]["resourceVersion"]
    client.replace(file)
    assert "note of what is ours in it is gone" in disturbed(now(client), RUN)
    assert take_out(client, holding, "1") == ()
    assert export(now(client)) == export(owner)


@pytest.mark.parametrize("carrier", [overlay, envoyfilter], ids=["virtualservice", "envoyfilter"])
def test_an_object_of_ours_that_somebody_made_again_is_ours_still_by_its_name(client, carrier):
    written = inject(client, carrier)
    meta = written["metadata"]
    client.delete(written["kind"], "default", meta["name"], uid=meta["uid"])
    again = client.create(export(written))
    assert disturbed(again, RUN, uid=meta["uid"]) == "it was deleted and made anew"
    assert recover(client) == []
    assert now(client, meta["name"], written["kind"]) is None


@pytest.mark.parametrize("notes", [True, False], ids=["with our note", "without"])
def test_an_owners_copy_of_our_virtual_service_under_his_name_is_cleaned_and_kept(client, notes):
    """Our label and `created` in the note say what we made, and it was not this one: by uid and by name."""
    written = inject(client)
    copy = client.create(export(written, notes=notes, name="details"))
    assert {(str(one), one.created) for one in holdings(client)} == {
        ("VirtualService default/chaos-0badcafe-1", True),
        ("VirtualService default/details", False),
    }
    assert recover(client) == []
    assert now(client, "chaos-0badcafe-1") is None
    kept = now(client)
    assert kept["metadata"]["uid"] == copy["metadata"]["uid"]
    assert [route.get("fault") for route in kept["spec"]["http"]] == [None]
    assert holdings(client) == []


@pytest.mark.parametrize("notes", [True, False], ids=["with our note", "without"])
def test_an_owners_copy_of_our_envoy_filter_under_his_name_is_never_deleted_and_always_said(client, notes):
    written = inject(client, envoyfilter)
    client.create(export(written, notes=notes, name="details"))
    (conflict,) = recover(client)
    assert conflict.startswith("EnvoyFilter default/details: it is a copy of an object of ours under another name")
    assert now(client, "chaos-0badcafe-1", "EnvoyFilter") is None
    assert now(client, "details", "EnvoyFilter") is not None
    assert recover(client) == [conflict]


def test_an_object_of_the_owners_with_nothing_but_our_label_loses_that_and_nothing_else(client, make):
    obj = make.virtual_service()
    obj["metadata"]["labels"] = {"chaosmesh-ext/run": RUN, "team": "sre"}
    client.create(obj)
    assert recover(client) == []
    assert export(now(client))["metadata"]["labels"] == {"team": "sre"}


def test_what_was_written_stands_undisturbed_as_the_server_keeps_it(client, owner):
    written = inject(client, owner=owner)
    assert disturbed(written, RUN) == ""
    assert disturbed(now(client), RUN) == ""
    ours = inject(client, envoyfilter, cell="2")
    assert disturbed(now(client, "chaos-0badcafe-2", "EnvoyFilter"), RUN, uid=ours["metadata"]["uid"]) == ""
    edit = [{"op": "add", "path": "/spec/http/1/timeout", "value": "3s"}]
    client.json_patch("VirtualService", "default", "details", edit, version=written["metadata"]["resourceVersion"])
    assert disturbed(now(client), RUN) == "the owner's route 1, on which ours stands, was edited or removed"


def test_a_conflict_is_reported_by_every_undo_until_a_person_was_told(client, owner):
    """Runner, watchdog and janitor undo; only `chaos mesh recover` speaks to somebody."""
    written = inject(client, owner=owner, **EVERYBODY)
    theirs = [{"op": "replace", "path": "/spec/http/0/fault/abort/httpStatus", "value": 500}]
    client.json_patch("VirtualService", "default", "details", theirs, version=written["metadata"]["resourceVersion"])
    (holding,) = holdings(client)
    (said,) = take_out(client, holding, "1")
    assert said.startswith("VirtualService default/details: /spec/http/0/fault is now ")
    version = now(client)["metadata"]["resourceVersion"]
    assert end(client, RUN).conflicts == (said,)
    assert now(client)["metadata"]["resourceVersion"] == version
    assert [one.run for one in holdings(client)] == [RUN]
    assert end(client, RUN, told=True).conflicts == (said,)
    assert holdings(client) == []
    assert end(client, RUN).conflicts == ()
    kept = export(now(client))
    assert kept["spec"]["http"][0]["fault"]["abort"]["httpStatus"] == 500
    assert kept["metadata"] == export(owner)["metadata"]
