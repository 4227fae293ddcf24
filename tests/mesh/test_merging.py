"""The changes of a wave as few writes; each cell of it comes out alone, or with any others, and leaves what was."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overlays import RUN, place, source, virtual_services

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.mesh import Create, Destination, Edit, View, envoyfilter, ledger, merge, overlay
from chaosmesh_ext.mesh.notes import marked
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.model import Marker

HOSTS = ("details", "reviews", "ratings")
CALLERS = ("productpage", "reviews", "shop")
everywhere = [(caller, host) for caller in CALLERS for host in HOSTS]
edges = st.lists(st.sampled_from(everywhere), min_size=1, max_size=6, unique=True)


def at(cell: int, caller: str, host: str = "details"):
    there = Destination(f"{host}.default.svc.cluster.local", host, "default", 9080, (9080,))
    return place(str(cell), source=source(caller), destination=there, marker=Marker(RUN, str(cell)))


def filtered(calls) -> list[tuple[str, Create]]:
    """A delay on each of CALLS, as changes of cells."""
    found = []
    for cell, (caller, host) in enumerate(calls, 1):
        (change,) = envoyfilter.plan(Delay(cell), at(cell, caller, host), View())
        found.append((str(cell), change))
    return found


def spec_without(obj, cells) -> dict:
    return apply(obj, ledger.undo(obj, RUN, cells).ops)


@settings(max_examples=40, deadline=None)
@given(edges, st.data())
def test_an_envoyfilter_holds_the_cells_of_its_callers_and_any_of_them_come_out(calls, data):
    merged = merge(filtered(calls))
    assert len(merged) == len({caller for caller, _ in calls})
    assert sorted(cell for one in merged for cell in one.cells) == sorted(str(n) for n in range(1, len(calls) + 1))
    for one in merged:
        obj = one.change.obj
        assert len(obj["spec"]["configPatches"]) == len(one.cells)
        assert ledger.disturbed(obj, RUN) == ""
        gone = data.draw(st.sets(st.sampled_from(one.cells)))
        undone = ledger.undo(obj, RUN, gone)
        assert undone.conflicts == ()
        assert undone.delete == (gone == set(one.cells))
        if undone.delete:
            continue
        left = apply(obj, undone.ops)
        alone = [change for cell, change in filtered(calls) if cell in set(one.cells) - gone]
        patches = [patch for change in alone for patch in change.obj["spec"]["configPatches"]]
        assert left["spec"] == {**obj["spec"], "configPatches": patches}
        assert ledger.disturbed(left, RUN) == ""
        assert {entry.cell for entry in ledger.entries(left, RUN)} == set(one.cells) - gone


def test_whoever_changes_the_patches_of_one_cell_disturbs_it():
    (merged,) = merge(filtered([("productpage", "details"), ("productpage", "reviews")]))
    text = json.dumps(merged.change.obj)
    assert ledger.disturbed(json.loads(text.replace('"2s"', '"3s"')), RUN) == "its spec changed"


def test_an_envoyfilter_that_lost_its_note_goes_with_what_the_run_remembers_of_it():
    (merged,) = merge(filtered([("productpage", "details"), ("productpage", "reviews")]))
    memory = ledger.entries(merged.change.obj, RUN)
    bare = json.loads(json.dumps(merged.change.obj))
    bare["metadata"].pop("annotations")
    assert ledger.undo(bare, RUN, ("1", "2"), memory=memory).delete
    left = apply(bare, ledger.undo(bare, RUN, ("1",), memory=memory).ops)
    assert [patch["match"] for patch in left["spec"]["configPatches"]] == [
        patch["match"] for patch in bare["spec"]["configPatches"][1:]
    ]


def test_two_faults_of_one_cell_are_one_entry_and_go_together():
    """A second-order cell: the call that is looked at is made only while another one fails."""
    (_, first), (_, second) = filtered([("productpage", "details"), ("productpage", "reviews")])
    again = envoyfilter.plan(Abort(507), at(1, "productpage", "reviews"), View())[0]
    with pytest.raises(ValueError, match="two changes make"):
        merge([("1", first), ("1", again)])
    again.obj["metadata"]["name"] = second.obj["metadata"]["name"]
    (merged,) = merge([("1", first), ("1", again)])
    assert merged.cells == ("1",)
    assert len(merged.change.obj["spec"]["configPatches"]) == 2
    assert ledger.disturbed(merged.change.obj, RUN) == ""
    assert ledger.undo(merged.change.obj, RUN, "1").delete


def test_filters_at_the_inbound_side_stay_apart():
    """What is inserted before a router is no merge: the order would matter."""
    from chaosmesh_ext.mesh import inbound

    there = Destination("details.default.svc.cluster.local", "details", "default", 9080, (9080,), {"app": "details"})
    changes = [
        (cell, inbound.plan(Delay(1), place(cell, source=None, destination=there, marker=Marker(RUN, cell)), View())[0])
        for cell in ("1", "2")
    ]
    assert len(merge(changes)) == 2


def laid(owner, callers) -> tuple[list[tuple[str, Edit]], dict]:
    """Cells of CALLERS over OWNER, one after the other: the edits, and what they would leave."""
    edits, now = [], owner
    for cell, caller in enumerate(callers, 1):
        try:
            (change,) = overlay.plan(Delay(cell), at(cell, caller), View(owner=now))
        except InvalidInput:
            continue
        edits.append((str(cell), change))
        now = apply(now, change.compute(now))
    return edits, now


@settings(max_examples=60, deadline=None)
@given(virtual_services(), st.lists(st.sampled_from(CALLERS), min_size=1, unique=True), st.data())
def test_a_virtual_service_takes_all_cells_in_one_patch_and_any_of_them_come_out(owner, callers, data):
    edits, one_by_one = laid(owner, callers)
    if not edits:
        return
    (merged,) = merge(edits)
    ops = merged.change.compute(owner)
    whole = apply(owner, ops)
    assert whole == one_by_one
    assert sum(op["path"] == "/metadata/annotations/chaosmesh-ext~1undo" for op in ops) == 1
    cells = [cell for cell, _ in edits]
    gone = data.draw(st.sets(st.sampled_from(cells)))
    undone = ledger.undo(whole, RUN, gone)
    left = apply(whole, undone.ops)
    assert undone.conflicts == ()
    assert ledger.disturbed(left, RUN) == "" or gone == set(cells)
    assert {entry.cell for entry in ledger.entries(left, RUN)} == set(cells) - gone
    assert apply(left, ledger.undo(left, RUN, set(cells)).ops) == owner
    assert apply(left, ledger.undo(left, RUN).ops) == owner


def test_where_nobody_owns_the_host_one_virtual_service_holds_the_cells_of_all_callers():
    (first,) = overlay.plan(Delay(1), at(1, "productpage"), View())
    (second,) = overlay.plan(Delay(2), at(2, "shop"), View(owner=first.obj))
    (merged,) = merge([("1", first), ("2", second)])
    obj = merged.change.obj
    assert isinstance(merged.change, Create)
    assert [("fault" in route, route.get("match", [{}])[0].get("sourceLabels")) for route in obj["spec"]["http"]] == [
        (True, {"app": "productpage"}),
        (True, {"app": "shop"}),
        (False, None),
    ]
    assert ledger.disturbed(obj, RUN) == ""
    left = spec_without(obj, "1")
    assert [route["name"] for route in left["spec"]["http"] if "fault" in route] == [obj["spec"]["http"][1]["name"]]
    assert ledger.disturbed(left, RUN) == ""
    assert ledger.undo(obj, RUN, ("1", "2")).delete


@pytest.mark.parametrize("cells", [("1",), ("1", "2")])
def test_an_owners_copy_of_a_waves_envoyfilter_is_his(cells):
    (merged,) = merge(filtered([("productpage", "details"), ("productpage", "reviews")]))
    copy = {**merged.change.obj, "metadata": {**merged.change.obj["metadata"], "name": "mine"}}
    undone = ledger.undo(copy, RUN, cells)
    assert not undone.delete
    assert "made by somebody else" in undone.conflicts[0]
    assert apply(copy, undone.ops)["spec"] == copy["spec"]
    assert msgspec.json.decode(copy["metadata"]["annotations"][ledger.UNDO])["created"]


@pytest.mark.parametrize("header", ["tracestate", "baggage", "cookie", "end-user", "user-agent"])
def test_cells_are_told_apart_whatever_header_carries_their_marker(header):
    changes = []
    for cell, host in ((1, "details"), (2, "reviews")):
        where = msgspec.structs.replace(at(cell, "productpage", host), marker=Marker(RUN, str(cell), header))
        changes.append((str(cell), envoyfilter.plan(Delay(cell), where, View())[0]))
    (merged,) = merge(changes)
    left = apply(merged.change.obj, ledger.undo(merged.change.obj, RUN, "1").ops)
    assert [patch["match"] for patch in left["spec"]["configPatches"]] == [
        patch["match"] for patch in changes[1][1].obj["spec"]["configPatches"]
    ]
    assert ledger.disturbed(left, RUN) == ""
    where = msgspec.structs.replace(at(1, "productpage"), marker=Marker(RUN, "1", header))
    (route,) = overlay.plan(Delay(1), where, View())
    assert marked(route.obj["spec"]["http"][0]) == (RUN, "1")
