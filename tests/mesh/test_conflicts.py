"""What an owner changed of ours stays as he wants it, is said, and is findable until a person heard of it."""

from __future__ import annotations

from copy import deepcopy

import pytest
from overlays import EVERYBODY, RUN, place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import View, envoyfilter, ledger, overlay
from chaosmesh_ext.mesh.pointer import apply

TO = [{"destination": {"host": "details"}}]
THEIRS = {"delay": {"fixedDelay": "9s", "percentage": {"value": 1}}}


def lay(owner: dict, where=None, fault=None) -> dict:
    (change,) = overlay.plan(fault or Abort(507), where or place(), View(owner=owner))
    return apply(owner, change.compute(owner))


def lift(obj: dict, cell: str | None = None, **how) -> tuple[dict, tuple[str, ...]]:
    undone = ledger.undo(obj, RUN, cell, **how)
    assert not undone.delete
    return apply(obj, undone.ops), undone.conflicts


def test_its_note_stays_until_it_was_told(make):
    owner = make.virtual_service()
    obj = lay(owner, place(**EVERYBODY))
    obj["spec"]["http"][0]["fault"] = THEIRS
    left, said = lift(obj)
    theirs = '{"delay":{"fixedDelay":"9s","percentage":{"value":1}}}'
    assert said == (f"/spec/http/0/fault is now {theirs}, which is neither ours nor the original; left",)
    assert ledger.runs_in(left) == {RUN}
    assert ledger.undo(left, RUN).ops == ()
    assert ledger.undo(left, RUN).conflicts == said
    with pytest.raises(InvalidInput, match=f"recover --run {RUN}"):
        overlay.plan(Abort(507), place(run="11111111"), View(owner=left))
    after, again = lift(left, told=True)
    assert again == said
    assert after["metadata"] == owner["metadata"]
    assert after["spec"]["http"][0]["fault"] == THEIRS


def test_one_that_the_owner_settled_meanwhile_is_none_any_more(make):
    obj = lay(make.virtual_service(), place(**EVERYBODY))
    obj["spec"]["http"][0]["fault"] = THEIRS
    left, _ = lift(obj)
    del left["spec"]["http"][0]["fault"]
    assert lift(left) == (make.virtual_service(), ())


def test_our_value_that_comes_back_later_is_taken_out(make):
    """An owner applies an older export: the note of the conflict still says what to do."""
    obj = lay(make.virtual_service(), place(**EVERYBODY))
    ours = deepcopy(obj["spec"])
    obj["spec"]["http"][0]["fault"] = THEIRS
    left, _ = lift(obj)
    left["spec"] = ours
    assert lift(left) == (make.virtual_service(), ())


@pytest.mark.parametrize(
    "more",
    [
        lambda http: http[1].update(timeout="3s"),
        lambda http: http.reverse(),
        lambda http: http.insert(0, {"name": "first", "route": TO}),
        lambda http: (http[1].pop("name"), http.reverse(), http[0].update(timeout="3s")),
    ],
)
def test_it_is_found_wherever_the_owner_moved_the_route(make, more):
    http = [{"match": [{"uri": {"exact": "/a"}}], "route": TO}, {"name": "all", "route": TO}]
    obj = lay(make.virtual_service(http=http), place(**EVERYBODY))
    obj["spec"]["http"][1]["fault"] = THEIRS
    more(obj["spec"]["http"])
    alone = deepcopy(obj["spec"])
    for route in alone["http"]:
        if route.get("fault") != THEIRS:
            route.pop("fault", None)
    after, said = lift(obj)
    assert len(said) == 1
    assert "9s" in said[0]
    assert after["spec"] == alone


def test_a_fault_that_another_route_always_had_is_no_conflict_when_ours_goes_with_its_route(make):
    edge = {"match": [{"gateways": ["edge"]}], "fault": THEIRS, "route": TO}
    obj = lay(make.virtual_service(http=[{"route": TO}, edge]), place(**EVERYBODY))
    del obj["spec"]["http"][0]
    assert lift(obj) == (make.virtual_service(http=[edge]), ())


def test_a_route_that_looked_like_ours_but_for_its_fault_is_no_conflict_when_ours_goes(make):
    """Found by random owners: two routes of one name and content."""
    twins = [{"name": "a", "route": TO}, {"name": "a", "route": TO, "fault": THEIRS}]
    obj = lay(make.virtual_service(http=twins), place(**EVERYBODY))
    del obj["spec"]["http"][0]
    assert lift(obj) == (make.virtual_service(http=twins[1:]), ())


def test_another_cells_value_in_our_place_is_no_conflict(make):
    """Found by random owners: an older copy took the first cell's value out, and a second cell set its own there."""
    owner = make.virtual_service()
    memory = ledger.entries(lay(owner, place(**EVERYBODY)), RUN)
    second = lay(owner, place("2", **EVERYBODY), Abort(508))
    assert lift(second, "1", memory=memory) == (second, ())
    assert lift(second, memory=memory) == (owner, ())


def test_a_fault_of_the_owners_that_is_exactly_ours_is_refused(make):
    """Undo could not tell them apart, and would take the owner's."""
    ours = Abort(507).for_virtual_service()
    edge = {"match": [{"gateways": ["edge"]}], "fault": ours, "route": TO}
    owner = make.virtual_service(http=[{"route": TO}, edge])
    with pytest.raises(InvalidInput, match="route 1 has exactly this fault already"):
        overlay.plan(Abort(507), place(**EVERYBODY), View(owner=owner))
    assert lift(lay(owner, place(**EVERYBODY), Abort(508))) == (owner, ())
    assert lift(lay(owner)) == (owner, ())


def test_a_second_fault_of_the_run_on_the_same_route_is_called_its_own(make):
    obj = lay(make.virtual_service(), place(**EVERYBODY))
    with pytest.raises(InvalidInput, match="has a fault of this run already"):
        overlay.plan(Abort(507), place("2"), View(owner=obj))


def test_the_only_route_left_stays_without_its_fault_until_the_owner_was_told(make):
    """Istio takes no VirtualService without routes: the API would refuse our undo, and the fault would stay."""
    obj = lay(make.virtual_service())
    obj["spec"]["http"] = [one for one in obj["spec"]["http"] if one.get("name")]
    left, said = lift(obj)
    assert [one.get("fault") for one in left["spec"]["http"]] == [None]
    assert "the only route left" in said[0]
    assert ledger.runs_in(left) == {RUN}
    assert ledger.undo(left, RUN).ops == ()
    settled = deepcopy(left)
    settled["spec"]["http"].append({"route": TO})
    assert lift(settled) == (make.virtual_service(), ())
    after, _ = lift(left, told=True)
    assert len(after["spec"]["http"]) == 1
    assert ledger.runs_in(after) == set()
    tcp = {**obj, "spec": {**obj["spec"], "tcp": [{"route": TO}]}}
    assert lift(tcp)[0]["spec"]["http"] == []


def test_an_owners_field_with_a_value_of_his_own_gets_it_back_wherever_it_was_moved(make):
    before = make.virtual_service(http=[{"name": "a", "timeout": "1s"}, {"name": "b", "timeout": "2s"}])
    changes = [{"op": "replace", "path": f"/spec/http/{index}/timeout", "value": "5s"} for index in (0, 1)]
    fields = (
        ledger.Field("/spec/http/0/timeout", "5s", ("1s",)),
        ledger.Field("/spec/http/1/timeout", "5s", ("2s",)),
    )
    obj = apply(before, ledger.enter(before, RUN, ledger.Entry("1", fields=fields), changes))
    obj["spec"]["http"].reverse()
    after, said = lift(obj)
    assert said == ()
    assert after["spec"]["http"] == list(reversed(before["spec"]["http"]))


# --- copies ---------------------------------------------------------------------------------------------------------


def test_a_field_in_a_copy_without_our_note_is_taken_out_by_what_the_run_remembers(make):
    """A value bears no name of ours; while the run lives it knows what it wrote."""
    obj = lay(make.virtual_service(), place(**EVERYBODY))
    memory = ledger.entries(obj, RUN)
    del obj["metadata"]["labels"], obj["metadata"]["annotations"]
    assert lift(obj, memory=memory) == (make.virtual_service(), ())
    assert lift(obj, "1", memory=memory) == (make.virtual_service(), ())


@pytest.mark.parametrize("scope", [{}, {"marker": None}], ids=["marked", "of one caller"])
def test_a_route_of_ours_that_the_owner_renamed_is_known_again(make, scope):
    obj = lay(make.virtual_service(), place(**scope))
    obj["spec"]["http"][0]["name"] = "mine"
    assert lift(obj) == (make.virtual_service(), ())


def test_a_marked_route_under_any_name_tells_its_run_without_label_or_note(make):
    obj = lay(make.virtual_service())
    obj["spec"]["http"][0]["name"] = "mine"
    del obj["metadata"]["labels"], obj["metadata"]["annotations"]
    assert ledger.runs_in(obj) == {RUN}
    assert lift(obj) == (make.virtual_service(), ())


@pytest.mark.parametrize("keep", ["name", "label and note", "label", "nothing"])
def test_an_owners_copy_of_our_virtual_service_under_his_own_name_is_never_deleted(keep):
    """`created` in a copied note means the object that we made, not the owner's."""
    (change,) = overlay.plan(Abort(507), place(), View())
    copy = deepcopy(change.obj)
    if keep == "name":
        assert ledger.ours(copy)
        assert ledger.undo(copy, RUN).delete
        return
    copy["metadata"]["name"] = "details"
    if keep in ("label", "nothing"):
        del copy["metadata"]["annotations"]
    if keep == "nothing":
        del copy["metadata"]["labels"]
    assert not ledger.ours(copy)
    after, said = lift(copy)
    assert said == ()
    assert [one.get("name") for one in after["spec"]["http"]] == [None]
    assert ledger.runs_in(after) == set()


def test_an_owners_copy_of_our_envoy_filter_under_his_own_name_is_left_and_said():
    (change,) = envoyfilter.plan(Abort(507), place(), View())
    copy = deepcopy(change.obj)
    copy["metadata"]["name"] = "details"
    assert not ledger.ours(copy)
    after, said = lift(copy)
    assert after == copy
    assert "copy of an object of ours under another name" in said[0]
    del copy["metadata"]["labels"], copy["metadata"]["annotations"]
    assert ledger.runs_in(copy) == {RUN}
    assert lift(copy)[1] == said


def test_a_note_that_cannot_be_read_is_not_written_over(make):
    owner = make.virtual_service()
    owner["metadata"]["annotations"] = {ledger.UNDO: "{"}
    with pytest.raises(InvalidInput, match="could not be read"):
        overlay.plan(Abort(507), place(), View(owner=owner))
    owner["metadata"]["annotations"] = {ledger.UNDO: '{"run":"0badcafe","entries":7}'}
    assert ledger.runs_in(owner) == {RUN}
    assert "could not be read" in ledger.undo(owner, RUN).conflicts[0]
