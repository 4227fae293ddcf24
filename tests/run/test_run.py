from __future__ import annotations

import signal
import threading
import time

import msgspec
import pytest

from chaosmesh_ext import errors
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.model import Scope, Workload
from chaosmesh_ext.run import Run, recover, runs
from chaosmesh_ext.run.audit import allowed
from chaosmesh_ext.run.pool import Pool
from chaosmesh_ext.settings import Settings

SCOPE = Scope("details", source="productpage-v1")


def written(mesh) -> list[str]:
    """What is ours in the mesh, by object."""
    return [f"{one.run} {name}" for one in runs(connect()) for name in one.objects]


def test_a_fault_is_proven_and_its_removal_too(run, mesh):
    proof = run.inject(Abort(507), SCOPE)
    assert (proof.carrier, proof.by, proof.cell) == ("envoyfilter", "traces", "1")
    assert proof.objects == (f"EnvoyFilter default/chaos-{run.token}-1",)
    assert 0 <= proof.live_after < 2
    assert proof.traces
    assert proof.injected.sources == ("productpage-v1",)
    assert str(run.marker) == f"{run.token}-1"
    undone = run.undo()
    assert undone.cells == ("1",)
    assert undone.gone_after is not None
    assert written(mesh) == []
    assert str(run.marker) == f"{run.token}-0"


def test_how_long_it_took_is_measured_to_the_first_request_that_met_it(run, mesh):
    mesh.lag = 0.4
    assert 0.3 < run.inject(Abort(507), SCOPE).live_after < 1


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
    assert written(mesh) == []


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
    with pytest.raises(errors.NotProven, match=words):
        run.inject(Abort(507), SCOPE)
    assert written(mesh) == []
    assert str(run.marker) == f"{run.token}-0"
    assert [cell.id for cell in run.cells()] == ["0"]


def test_a_fault_that_stays_after_its_removal_is_left_behind_and_the_proxies_named(run, mesh):
    run.inject(Abort(507), SCOPE)
    mesh.sticks = True
    with pytest.raises(errors.LeftBehind, match=r"still inject it after 1 s: productpage-v1 \(trace"):
        run.undo()
    assert written(mesh) == []


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
    run.inject(Abort(507), Scope("details"))
    run._cells.live[-1].prover._callers = frozenset({"productpage-v1", "productpage-v2"})
    stuck.append(True)
    with pytest.raises(errors.LeftBehind, match=r"still inject it .*productpage-v2"):
        run.undo()


def test_a_url_that_does_not_lead_to_the_call_is_refused_before_anything_is_written(run, mesh):
    mesh.reviews = False
    with pytest.raises(errors.NotProven, match=r"no call productpage-v1 → reviews was seen in 40 requests to http"):
        run.inject(Abort(507), Scope("reviews", source="productpage-v1"))
    assert written(mesh) == []
    assert len(mesh.requests) == 40


def test_a_trace_store_that_knows_nothing_is_said_early(run, mesh, monkeypatch):
    monkeypatch.setattr("chaosmesh_ext.run.trace_proof.LATEST", 0.2)
    mesh.blind = True
    with pytest.raises(errors.NotProven, match="trace store has none of"):
        run.inject(Abort(507), SCOPE)
    assert written(mesh) == []


def test_an_application_that_does_not_answer_is_said(mesh):
    run = Run(settings=Settings(app_url="http://127.0.0.1:1"), traces=mesh)
    with pytest.raises(errors.NotProven, match="does not answer"):
        run.inject(Abort(507), SCOPE)
    assert written(mesh) == []


def test_without_url_or_store_nothing_is_injected_unless_asked(mesh):
    run = Run(settings=Settings(), traces=mesh)
    with pytest.raises(errors.NotProven, match="could not be proven, so it was not injected"):
        run.inject(Abort(507), SCOPE)
    assert written(mesh) == []
    proof = run.inject(Abort(507), SCOPE, prove=False)
    assert (proof.by, proof.live_after) == ("nothing", None)
    assert [(problem.exit_code, "not proven" in problem) for problem in run.problems] == [(3, True)]
    run.close()
    assert written(mesh) == []


def test_a_fault_for_nobody_is_written_and_met_by_nobody(run, mesh):
    mesh.deaf = True
    proof = run.inject(Abort(507, percentage=0), SCOPE)
    assert proof.live_after is None
    assert proof.requests >= 10
    assert len(written(mesh)) == 1
    assert run.notes == [
        "nobody meets the abort with 507, 0 %, on calls of details: percentage is 0, so it only rehearses it"
    ]


def test_a_fault_for_nobody_that_somebody_meets_is_rolled_back(run, mesh):
    with pytest.raises(errors.NotProven, match="0 %"):
        run.inject(Abort(507, percentage=0), SCOPE)
    assert written(mesh) == []


def test_a_fault_for_some_is_looked_for_long_enough(run, mesh):
    mesh.share = 7
    assert run.inject(Abort(507, percentage=14), SCOPE).traces


def test_requests_meet_the_newest_fault_and_are_kept_in_its_cell(run, mesh):
    run.send("/", 2)
    run.inject(Delay(0.01), Scope("reviews", source="productpage-v1"), prove=False)
    mesh.flags = "FI"
    run.inject(Abort(507), SCOPE)
    assert {answer.status for answer in run.send("/", 3)} == {200}
    run.undo()
    run.send("/")
    control, delayed, aborted = run.cells()
    assert (control.injected, delayed.injected.kind, aborted.injected.kind) == (None, "delay", "abort")
    assert delayed.answers == ()
    assert len(aborted.answers) >= 4
    assert set(aborted.traces) == {answer.trace_id for answer in aborted.answers}
    shown = [any("FI" in span.flags for span in trace.spans) for trace in aborted.traces.values()]
    assert all(shown)
    assert not any("FI" in span.flags for trace in control.traces.values() for span in trace.spans)


def test_an_interrupted_probe_sends_no_more_requests(run, mesh):
    """Else they would load the users on, and go before those that show that the faults are gone."""

    def interrupt() -> None:
        while len(mesh.requests) < 5:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    soon = threading.Thread(target=interrupt)
    soon.start()
    with pytest.raises(KeyboardInterrupt):
        run.send("/", 1000)
    soon.join()
    time.sleep(0.3)
    seen = len(mesh.requests)
    time.sleep(0.3)
    assert len(mesh.requests) == seen < 1000
    assert seen - 2 <= len(run.requests.control) <= seen  # all but those that nobody waited for


def test_of_a_huge_batch_only_the_budget_is_under_way(run, mesh, monkeypatch):
    """A million requests that wait for their turn would be a gigabyte, and an interrupt would have to cancel each."""
    waiting: list[int] = []
    submit = Pool.submit

    def counted(pool, job):
        waiting.append(pool._jobs.qsize())
        return submit(pool, job)

    monkeypatch.setattr(Pool, "submit", counted)
    run.send("/", 50)
    assert max(waiting) <= run.requests.traffic.budget


def test_after_an_interrupt_requests_that_hang_take_no_place_in_the_budget(run, mesh, monkeypatch):
    """Those that are to show that the faults are gone would wait for them, and the run would end with exit code 5."""
    release = threading.Event()
    serve, hang = mesh.serve, [True, True]

    def serve_or_hang(headers):
        if hang:
            hang.pop()
            release.wait(20)
        serve(headers)

    monkeypatch.setattr(mesh, "serve", serve_or_hang)
    soon = threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    soon.start()
    with pytest.raises(KeyboardInterrupt):
        run.send("/", 1000)
    began = time.monotonic()
    assert [answer.status for answer in run.send("/", 2)] == [200, 200]
    assert time.monotonic() - began < 5
    release.set()


def test_every_request_that_was_sent_is_the_runs_own_whatever_became_of_its_answer(run, mesh):
    """Else its audit takes the faults that they met for somebody else's."""
    run.inject(Abort(507), SCOPE)
    proven = sum(sent.count for sent in run.requests.sent(run._cells.every))

    def interrupt() -> None:
        while len(mesh.requests) < seen + 5:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    seen = len(mesh.requests)
    soon = threading.Thread(target=interrupt)
    soon.start()
    with pytest.raises(KeyboardInterrupt):
        run.send("/", 1000)
    soon.join()
    run.close()
    [sent] = run.requests.sent(run._cells.every)
    marked = sum(f"chaosmesh={run.token}-1" in headers.get("tracestate", "") for headers in mesh.requests)
    assert sent.count == marked >= proven + 5
    met = sum(bool(span.flags) for trace in mesh.traces.values() for span in trace.spans)
    assert allowed([sent])["details"] >= met > 5


def test_traces_of_the_runs_own_requests_are_waited_for_no_longer_than_one_has_patience(run, mesh):
    """Somebody has pressed Ctrl-C: a verdict within seconds."""
    run.inject(Abort(507), SCOPE)
    mesh.blind = True
    run.send("/", 20)
    began = time.monotonic()
    [sent] = run.requests.sent(run._cells.every, 0.5)
    mesh.blind = False
    assert time.monotonic() - began < 3
    assert sent.count >= 20
    assert allowed([sent])["details"] >= 20  # what nobody can see may have met the fault


def test_a_second_fault_on_the_same_call_replaces_the_first(run, mesh):
    run.inject(Abort(507), SCOPE)
    proof = run.inject(Abort(503), SCOPE)
    assert written(mesh) == [f"{run.token} EnvoyFilter default/chaos-{run.token}-2"]
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
    assert len(written(mesh)) == 2
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
    assert written(mesh) == []


def test_a_conflict_is_left_behind_and_named_with_how_to_recover(run, mesh, owner):
    mesh.apply(owner)
    run.inject(Delay(1, 5), Scope("details", requests="all"), carrier="virtualservice", prove=False)
    client = connect()
    now = client.get("VirtualService", "default", "details")
    theirs = [{"op": "replace", "path": "/spec/http/0/fault/delay/fixedDelay", "value": "9s"}]
    client.json_patch("VirtualService", "default", "details", theirs, version=now["metadata"]["resourceVersion"])
    with pytest.raises(errors.LeftBehind, match=rf"/spec/http/0/fault is now .* chaos mesh recover --run {run.token}"):
        run.undo()
    # the owner's value stays, and so does the note, until a person was told
    assert written(mesh) == [f"{run.token} VirtualService default/details"]
    with pytest.raises(errors.LeftBehind, match="/spec/http/0/fault is now"):
        recover(connect(), run.token)
    assert written(mesh) == []
    assert mesh.objects("VirtualService")[0]["spec"]["http"][0]["fault"]["delay"]["fixedDelay"] == "9s"


def test_another_process_recovers_what_a_run_left(run, mesh, owner):
    """The cluster alone knows enough."""
    mesh.apply(owner)
    run.inject(Abort(507), SCOPE, carrier="virtualservice", prove=False)
    run.inject(Abort(507), Scope("reviews", source="productpage-v1"), prove=False)
    client = connect()
    (found,) = runs(client)
    assert found.run == run.token
    assert len(found.objects) == 2
    assert recover(client, "11111111") == []
    assert len(recover(client, run.token)) == 2
    assert runs(client) == []
    assert mesh.objects("VirtualService")[0]["spec"] == owner["spec"]
    assert recover(client) == []


def test_a_closed_run_injects_nothing_more(run, mesh):
    run.inject(Abort(507), SCOPE, prove=False)
    run.close()
    run.close()
    assert written(mesh) == []
    with pytest.raises(errors.Inconclusive, match="is closed"):
        run.inject(Abort(507), SCOPE)


def test_a_write_whose_answer_never_comes_is_looked_for_and_removed(run, mesh, monkeypatch):
    """The object may arrive after the error did."""
    import threading

    from chaosmesh_ext.mesh import Client

    create = Client.create
    late = []

    def cut_off(self, obj):
        timer = threading.Timer(0.5, create, (connect(), obj))
        timer.start()
        late.append(timer)
        raise errors.Unreachable("the connection broke")

    monkeypatch.setattr(Client, "create", cut_off)
    with pytest.raises(errors.Unreachable, match="broke"):
        run.inject(Abort(507), SCOPE, prove=False)
    late[0].join()
    assert written(mesh) == []


def test_an_exception_of_any_kind_rolls_back(run, mesh, monkeypatch):
    """Chaos Toolkit ends activities by SystemExit, a person by KeyboardInterrupt."""

    def interrupted(self, written):
        raise KeyboardInterrupt

    monkeypatch.setattr("chaosmesh_ext.run.trace_proof.TraceProver.live", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.inject(Abort(507), SCOPE)
    assert written(mesh) == []


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


def test_requests_stay_within_the_budget(mesh):
    run = Run(settings=Settings(app_url=mesh.url, request_budget=1), traces=mesh)
    began = time.time()
    assert len(run.send(count=5)) == 5
    assert time.time() - began < 2
    for count in (0, 10**30):
        with pytest.raises(errors.InvalidInput, match=f"count {count} .*send 1 to 1000000"):
            run.send(count=count)
    run.close()
    with pytest.raises(errors.InvalidInput, match="request_budget 0"):
        Run(settings=Settings(app_url=mesh.url, request_budget=0), traces=mesh).send()


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


def test_a_write_that_the_api_server_failed_on_is_removed_beside_a_live_fault(run, mesh, monkeypatch):
    """A 504 does not say whether etcd has it."""
    from chaosmesh_ext.mesh import Client

    run.inject(Abort(507), Scope("reviews", source="productpage-v1"), prove=False)
    create = Client.create

    def timed_out(self, obj):
        create(self, obj)
        raise errors.ServerError("request did not complete within the timeout", status=504, reason="Timeout")

    monkeypatch.setattr(Client, "create", timed_out)
    with pytest.raises(errors.ServerError):
        run.inject(Abort(507), SCOPE, prove=False)
    assert written(mesh) == [f"{run.token} EnvoyFilter default/chaos-{run.token}-1"]


def test_an_emergency_waits_for_a_write_that_is_under_way(run, mesh, monkeypatch):
    """The signal comes between a request and its answer; whoever handles it next may end the process at once."""
    import threading

    from chaosmesh_ext.mesh import Client

    create = Client.create

    def interrupted(self, obj):
        late = threading.Timer(0.4, create, (connect(), obj))
        late.start()
        run._stopping.emergency()
        late.join()
        assert written(mesh) == []
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.inject(Abort(507), SCOPE, prove=False)


def test_a_closed_run_keeps_no_threads(run, mesh):
    import threading

    run.inject(Abort(507), SCOPE)
    run.close()
    deadline = time.time() + 30
    while any(thread.name.startswith("marked-request") for thread in threading.enumerate()):
        assert time.time() < deadline
        time.sleep(0.01)
