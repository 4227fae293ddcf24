"""A run's life: a fault is written, proven, met by its own requests, removed, and proven gone."""

from __future__ import annotations

import time

import msgspec
import pytest
from leftovers import written

from chaosmesh_ext import errors
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.model import Scope, Workload
from chaosmesh_ext.run import Run
from chaosmesh_ext.settings import Settings

SCOPE = Scope("details", source="productpage-v1")


def test_a_fault_is_proven_and_its_removal_too(run, mesh):
    proof = run.inject(Abort(507), SCOPE)
    assert (proof.carrier, proof.by, proof.cell) == ("envoyfilter", "traces", "1")
    assert proof.objects == (f"EnvoyFilter default/chaos-{run.token}-1",)
    assert 0 <= proof.live_after < 15
    assert proof.traces
    assert proof.injected.sources == ("productpage-v1",)
    assert str(run.marker) == f"{run.token}-1"
    undone = run.undo()
    assert undone.cells == ("1",)
    assert undone.gone_after is not None
    assert written() == []
    assert str(run.marker) == f"{run.token}-0"


def test_how_long_it_took_is_measured_to_the_first_request_that_met_it(run, mesh):
    mesh.lag = 0.4
    began = time.time()
    assert 0.3 < run.inject(Abort(507), SCOPE).live_after < time.time() - began


def test_an_owners_virtual_service_is_as_it_was_afterwards(run, mesh, owner):
    mesh.apply(owner)
    before = mesh.objects("VirtualService")[0]
    proof = run.inject(Abort(507), SCOPE, carrier="virtualservice")
    assert proof.objects == ("VirtualService default/details",)
    run.undo()
    after = mesh.objects("VirtualService")[0]
    assert after["spec"] == before["spec"]
    assert after["metadata"].keys() == before["metadata"].keys()


def refuse(monkeypatch, kind: str) -> None:
    """The account may not write objects of KIND."""
    from chaosmesh_ext.mesh import Client

    create = Client.create

    def refusing(self, obj):
        if obj["kind"] == kind:
            raise errors.Forbidden(f"may not create {kind}", status=403, reason="Forbidden")
        return create(self, obj)

    monkeypatch.setattr(Client, "create", refusing)


def test_where_envoyfilters_may_not_be_written_a_virtual_service_carries_it_and_says_so(run, mesh, monkeypatch):
    refuse(monkeypatch, "EnvoyFilter")
    proof = run.inject(Abort(507), SCOPE)
    assert proof.carrier == proof.injected.carrier == "virtualservice"
    assert "envoyfilter: may not create" in proof.replaces
    with pytest.raises(errors.Forbidden):
        run.inject(Abort(507), Scope("reviews", source="productpage-v1"), carrier="envoyfilter")
    run.undo()
    assert written() == []


@pytest.mark.parametrize(
    ("knob", "words"),
    [
        ("deaf", "was not met within 1 s: .* calls productpage-v1 → details went through without it"),
        ("leaks", "was also met on productpage-v1 → details"),
        ("wanders", "also met on productpage-v1 → reviews"),
    ],
)
def test_what_cannot_be_proven_is_rolled_back_at_once(run, mesh, knob, words):
    """Never "completed" for a fault that did nothing, or hit others."""
    setattr(mesh, knob, True)
    if knob == "deaf":
        run.settings = msgspec.structs.replace(run.settings, proof_timeout=1.0)
    with pytest.raises(errors.NotProven, match=words):
        run.inject(Abort(507), SCOPE)
    assert written() == []
    assert str(run.marker) == f"{run.token}-0"
    assert [cell.id for cell in run.cells()] == ["0"]


def test_a_fault_that_stays_after_its_removal_is_left_behind_and_the_proxies_named(run, mesh):
    run.settings = msgspec.structs.replace(run.settings, proof_timeout=3.0)
    run.inject(Abort(507), SCOPE)
    mesh.sticks = True
    with pytest.raises(errors.LeftBehind, match=r"still inject it after 3 s: productpage-v1 \(trace"):
        run.undo()
    assert written() == []


def test_each_caller_that_met_the_fault_must_be_seen_without_it(run, mesh, monkeypatch):
    """One call in five comes from v2, whose sidecar is behind: three clean calls of v1 prove nothing of it."""
    versions, stuck, make = [], [], mesh._span

    def of_versions(trace_id, span_id, peer, now, flags):
        versions.append("v2" if len(versions) % 5 == 4 else "v1")
        if stuck and versions[-1] == "v2":
            flags = frozenset({"FI"})
        workload = Workload("productpage", versions[-1])
        return msgspec.structs.replace(make(trace_id, span_id, peer, now, flags), workload=workload)

    mesh.reviews = False
    monkeypatch.setattr(mesh, "_span", of_versions)
    run.settings = msgspec.structs.replace(run.settings, proof_timeout=3.0)
    run.inject(Abort(507), Scope("details"))
    run._cells.live[-1].prover._callers = frozenset({"productpage-v1", "productpage-v2"})
    stuck.append(True)
    with pytest.raises(errors.LeftBehind, match=r"still inject it .*productpage-v2"):
        run.undo()


def test_a_url_that_does_not_lead_to_the_call_is_refused_before_anything_is_written(run, mesh):
    mesh.reviews = False
    with pytest.raises(errors.NotProven, match=r"no call productpage-v1 → reviews was seen in 40 requests to http"):
        run.inject(Abort(507), Scope("reviews", source="productpage-v1"))
    assert written() == []
    assert len(mesh.requests) == 40


def test_a_trace_store_that_knows_nothing_is_said_early(run, mesh, monkeypatch):
    monkeypatch.setattr("chaosmesh_ext.run.healthy.LATEST", 0.2)
    mesh.blind = True
    with pytest.raises(errors.NotProven, match="trace store has none of"):
        run.inject(Abort(507), SCOPE)
    assert written() == []


def test_an_application_that_does_not_answer_is_said(mesh):
    run = Run(settings=Settings(app_url="http://127.0.0.1:1"), traces=mesh)
    with pytest.raises(errors.NotProven, match="does not answer"):
        run.inject(Abort(507), SCOPE)
    assert written() == []


def test_without_url_or_store_nothing_is_injected_unless_asked(mesh):
    run = Run(settings=Settings(), traces=mesh)
    with pytest.raises(errors.NotProven, match="could not be proven, so it was not injected"):
        run.inject(Abort(507), SCOPE)
    assert written() == []
    proof = run.inject(Abort(507), SCOPE, prove=False)
    assert (proof.by, proof.live_after) == ("nothing", None)
    assert [(problem.exit_code, "not proven" in problem) for problem in run.problems] == [(3, True)]
    run.close()
    assert written() == []


def test_a_fault_for_nobody_is_written_and_met_by_nobody(run, mesh):
    mesh.deaf = True
    proof = run.inject(Abort(507, percentage=0), SCOPE)
    assert proof.live_after is None
    assert proof.requests >= 10
    assert len(written()) == 1
    assert run.notes == [
        "nobody meets the abort with 507, 0 %, on calls of details: percentage is 0, so it only rehearses it"
    ]


def test_a_fault_for_nobody_that_somebody_meets_is_rolled_back(run, mesh):
    with pytest.raises(errors.NotProven, match="0 %"):
        run.inject(Abort(507, percentage=0), SCOPE)
    assert written() == []


def test_a_fault_for_some_is_looked_for_long_enough(run, mesh):
    mesh.share = 7
    assert run.inject(Abort(507, percentage=14), SCOPE).traces


def test_a_second_fault_on_the_same_call_replaces_the_first(run, mesh):
    run.inject(Abort(507), SCOPE)
    proof = run.inject(Abort(503), SCOPE)
    assert written() == [f"{run.token} EnvoyFilter default/chaos-{run.token}-2"]
    assert proof.cell == "2"
    assert [injected.status for injected in run.live] == [503]
    [note] = run.notes
    assert note == (
        "the abort with 507 on productpage-v1 → details (cell 1) was replaced by the abort with 503 on productpage-v1 → "
        "details (cell 2): of one sort, a call has one fault of a run at a time"
    )


def test_a_second_overlay_on_the_same_call_replaces_the_first(run, mesh, owner):
    mesh.apply(owner)
    everybody = Scope("details", requests="all")
    run.inject(Abort(507, percentage=50), everybody, carrier="virtualservice", prove=False)
    run.inject(Abort(503, percentage=50), everybody, carrier="virtualservice", prove=False)
    (obj,) = mesh.objects("VirtualService")
    assert obj["spec"]["http"][0]["fault"]["abort"]["httpStatus"] == 503
    run.undo()
    assert mesh.objects("VirtualService")[0]["spec"] == owner["spec"]


def test_faults_on_two_calls_are_live_together(run, mesh):
    run.inject(Abort(507), SCOPE, prove=False)
    run.inject(Abort(503), Scope("reviews", source="productpage-v1"), prove=False)
    assert len(written()) == 2
    [note] = run.notes
    assert note == (
        "requests of probes meet the newest fault only, the abort with 503 on productpage-v1 → reviews (cell 2), and no "
        "more the abort with 507 on productpage-v1 → details (cell 1): for that to be met with it, inject it with "
        "requests: run"
    )
    assert run.undo().cells == ("1", "2")


def test_a_fault_for_all_requests_of_the_run_is_met_beside_the_newest_and_nothing_is_noted(run, mesh):
    run.inject(Abort(507), Scope("details", source="productpage-v1", requests="run"), prove=False)
    run.inject(Abort(503), Scope("reviews", source="productpage-v1"), prove=False)
    assert run.notes == []
    run.undo()
    assert written() == []


def test_a_closed_run_injects_nothing_more(run, mesh):
    run.inject(Abort(507), SCOPE, prove=False)
    run.close()
    run.close()
    assert written() == []
    with pytest.raises(errors.Inconclusive, match="is closed"):
        run.inject(Abort(507), SCOPE)


def test_the_proof_carries_the_headers_that_the_scope_asks_for(run, mesh):
    scope = Scope("details", source="productpage-v1", match={"headers": {"end-user": {"exact": "jason"}}})
    run.inject(Abort(507), scope, request_headers={"cookie": "session=1"})
    assert all(one["end-user"] == "jason" and one["cookie"] == "session=1" for one in mesh.requests)


def test_everybodys_requests_need_no_control(run, mesh):
    mesh.share = 2
    proof = run.inject(Abort(507, percentage=50), Scope("details", source="productpage-v1", requests="all"))
    assert proof.traces
    control, cell = run.cells()
    assert len(control.answers) == 1
    assert cell.answers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"carrier": "pigeon"}, "choose auto, envoyfilter or virtualservice"),
        ({"url": "ftp://x"}, "has no origin|URL"),
    ],
)
def test_wrong_arguments_are_refused(mesh, arguments, words):
    run = Run(settings=Settings(), traces=mesh)
    with pytest.raises(errors.InvalidInput, match=words):
        run.inject(Abort(507), SCOPE, **arguments)


def test_callers_of_another_namespace_that_meet_the_fault_are_not_its_target(run, mesh, monkeypatch):
    """A service of the same name calls a service of the same name, somewhere else."""
    elsewhere = Workload("productpage", "v1", "staging")
    make = mesh._span

    def both(trace_id, span_id, peer, now, flags):
        span = make(trace_id, span_id, peer, now, flags)
        return msgspec.structs.replace(span, workload=elsewhere) if peer == "reviews" else span

    monkeypatch.setattr(mesh, "_span", both)
    with pytest.raises(errors.NotProven, match="no call productpage-v1 → reviews was seen"):
        run.inject(Abort(507), Scope("reviews", source="productpage-v1"))
