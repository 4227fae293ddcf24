"""A wave: many cells in few writes, witnessed by its own requests, and out again as a whole or one by one."""

from __future__ import annotations

import asyncio
import time

import pytest
import yaml
from end_watchdogs import end_watchdogs
from small_mesh import Background, SmallMesh
from spans import span, trace
from waiting import until

from chaosmesh_ext import errors
from chaosmesh_ext.faults import Abort, Delay, Timeout
from chaosmesh_ext.mesh import Client, connect
from chaosmesh_ext.model import Answer, Edge, Marker, Scope, Workload
from chaosmesh_ext.observe.traces import Gathering, gather_all
from chaosmesh_ext.run import Run, runs
from chaosmesh_ext.run.aim import Aim
from chaosmesh_ext.run.evidence import Watched, on_arrival
from chaosmesh_ext.run.stimulus import Due
from chaosmesh_ext.run.traffic import Errand
from chaosmesh_ext.settings import Settings

DETAILS = Scope("details", source="productpage-v1")
REVIEWS = Scope("reviews", source="productpage-v1")
BOTH = [(Delay(0.05), DETAILS), (Delay(0.06), REVIEWS)]


@pytest.fixture(scope="module")
def background():
    there = Background()
    yield there
    there.close()


@pytest.fixture
def mesh(background, tmp_path, monkeypatch):
    """productpage-v1 → details, whose routes nobody owns, and reviews, whose routes somebody does."""
    for waits in (gather_all, Gathering.__init__):
        monkeypatch.setitem(waits.__kwdefaults__, "quiet", 0.05)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("chaosmesh_ext.mesh.watchdog.runner.LATE_S", 0.2)
    there = SmallMesh(background)
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(there.kubeconfig(direct=True)))
    monkeypatch.setenv("KUBECONFIG", str(file))
    yield there
    end_watchdogs()
    there.close()


@pytest.fixture
def run(mesh):
    one = Run(settings=Settings(app_url=mesh.url, jaeger_url=mesh.jaeger, proof_timeout=20.0, request_budget=4))
    yield one
    mesh.telemetry = ""
    one.close()


def ours(mesh) -> list[str]:
    return [name for one in runs(connect()) for name in one.objects]


@pytest.mark.parametrize(
    ("carrier", "objects"),
    [
        ("envoyfilter", ["EnvoyFilter default/chaos-{run}-1"]),
        ("virtualservice", ["VirtualService default/chaos-{run}-1", "VirtualService default/reviews"]),
    ],
)
def test_cells_are_written_together_met_apart_and_out_without_a_trace(run, mesh, carrier, objects):
    before = mesh.everything()
    wave = run.inject_wave(BOTH, carrier=carrier)
    assert sorted(wave.objects) == [one.format(run=run.token) for one in objects]
    assert sorted(ours(mesh)) == sorted(wave.objects)
    assert wave.carriers == {"1": carrier, "2": carrier}
    answers = wave.send(counts={"1": 3, "2": 2})
    assert {number: len(found) for number, found in answers.items()} == {"1": 3, "2": 2}
    assert wave.unmet == {}
    assert set(wave.live_after) == {"1", "2"}
    met = {
        cell.id: {span.peer for trace in cell.traces.values() for span in trace.calls() if "DI" in span.flags}
        for cell in wave.cells()
    }
    assert met == {"1": {"details"}, "2": {"reviews"}}
    assert [cell.id for cell in run.cells()] == ["0", "1", "2"]
    undone = wave.undo()
    assert undone.cells == ("1", "2")
    assert sorted(undone.objects) == sorted(wave.objects)
    assert undone.gone_after is not None
    run.close()
    assert mesh.everything() == before


def test_without_the_right_to_envoyfilters_virtual_services_carry_it_and_it_says_so(run, mesh, monkeypatch):
    create = Client.create

    def refusing(self, obj):
        if obj["kind"] == "EnvoyFilter":
            raise errors.Forbidden("may not create envoyfilters", status=403, reason="Forbidden")
        return create(self, obj)

    monkeypatch.setattr(Client, "create", refusing)
    wave = run.inject_wave(BOTH)
    assert set(wave.carriers.values()) == {"virtualservice"}
    assert "may not create envoyfilters" in wave.replaces[0]
    assert all(wave.send(counts=1).values())
    wave.undo()
    assert ours(mesh) == []


def test_a_write_that_fails_half_way_takes_the_whole_wave_back(run, mesh, monkeypatch):
    before = mesh.everything()
    patch = Client.json_patch

    def refusing(self, kind, namespace, name, ops, **rest):
        if name == "reviews" and any("fault" in str(op.get("value")) for op in ops):
            raise errors.Unprocessable("no", status=422, reason="Invalid")
        return patch(self, kind, namespace, name, ops, **rest)

    monkeypatch.setattr(Client, "json_patch", refusing)
    with pytest.raises(errors.Unprocessable):
        run.inject_wave(BOTH, carrier="virtualservice")
    assert ours(mesh) == []
    assert run.cells()[1:] == []
    run.close()
    assert mesh.everything() == before


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([], "a wave without cells"),
        ([*BOTH, (Abort(507), DETAILS)], r"cell 3 \(productpage-v1 → details\): the cell 1 has a fault on these calls"),
        ([(Delay(1), Scope("details", requests="all", source="productpage-v1"))], "cell 1 .*requests: all cannot be"),
        ([(Timeout(1), DETAILS)], "cell 1 .*Timeout cannot be in a wave"),
        ([BOTH[0], (Delay(1), Scope("nobody", source="productpage-v1"))], "cell 2 .*: no service nobody"),
    ],
)
def test_what_cannot_be_in_a_wave_is_refused_with_its_cell_and_nothing_is_written(run, mesh, cells, words):
    before = mesh.everything()
    with pytest.raises(errors.InvalidInput, match=words):
        run.inject_wave(cells)
    assert mesh.everything() == before
    assert mesh.asked == 0


def test_a_cell_that_no_request_meets_is_told_and_the_others_stand(run, mesh):
    run.settings = Settings(app_url=mesh.url, jaeger_url=mesh.jaeger, proof_timeout=3.0)
    itself = Scope("productpage", source="productpage-v1")
    wave = run.inject_wave([BOTH[0], (Delay(0.05), itself)])
    answers = wave.send(counts=1)
    assert list(map(len, answers.values())) == [1, 0]
    assert list(wave.unmet) == ["2"]
    assert "no call productpage-v1 → productpage was made in" in wave.unmet["2"]
    wave.undo()


def test_what_the_scopes_say_is_expected_in_traces_whoever_answered_the_control(run, mesh):
    """A few control requests miss a version of a caller, and its held back call must be waited for all the same."""
    page = Workload("productpage", "v1", "default")
    wave = run.inject_wave([BOTH[0], (Delay(0.05), Scope("productpage", source="productpage-v1"))])
    (expected,) = wave._traces.expected.values()
    assert {Edge(page, "details"), Edge(page, "productpage")} <= expected.edges


def test_a_fault_that_is_met_where_it_was_not_meant_is_rolled_back_at_once(run, mesh, monkeypatch):
    wave = run.inject_wave(BOTH)

    async def everywhere(service, marker):
        return True

    monkeypatch.setattr(mesh, "_faulted", everywhere)
    with pytest.raises(errors.NotProven, match=r"the fault of the cell \d, .* was also met on productpage-v1 →"):
        wave.send(counts=1)
    assert ours(mesh) == []
    assert wave.injected == {}
    monkeypatch.undo()


def test_a_fault_that_stays_is_left_behind_and_the_proxies_are_named(run, mesh, monkeypatch):
    run.settings = Settings(app_url=mesh.url, jaeger_url=mesh.jaeger, proof_timeout=3.0)
    wave = run.inject_wave(BOTH)
    wave.send(counts=1)
    faulted = mesh._faulted

    async def sticks(service, marker):
        return (service == "details" and marker.endswith("-1")) or await faulted(service, marker)

    monkeypatch.setattr(mesh, "_faulted", sticks)
    with pytest.raises(errors.LeftBehind, match=r"productpage-v1 → details .* still inject it .*: productpage-v1"):
        wave.undo()
    assert ours(mesh) == []


def test_at_the_callees_side_a_wave_stands_beside_what_the_callers_sidecars_do(run, mesh):
    """So a timeout of the mesh meets a slow callee; in the caller's sidecar a fault would take its place."""
    before = mesh.everything()
    run.inject(Timeout(1.0), Scope("reviews", requests="run"), prove=False)
    for carrier in ("envoyfilter", "virtualservice"):
        with pytest.raises(errors.InvalidInput, match=r"cell 2 .*: the cell 1 has a fault on these calls"):
            run.inject_wave([(Delay(0.05), REVIEWS)], carrier=carrier)
    every = [(Delay(0.05), Scope("reviews")), (Delay(0.06), Scope("details"))]
    wave = run.inject_wave(every, carrier="inbound")
    assert wave.carriers == {"2": "inbound", "3": "inbound"}
    assert [one.partition("/")[0] for one in wave.objects] == ["EnvoyFilter default"] * 2, "its own for each callee"
    with pytest.raises(errors.InvalidInput, match=r"cell 4 .*: the cell 2 has a fault on these calls"):
        run.inject_wave(every[:1], carrier="inbound")
    with pytest.raises(errors.InvalidInput, match=r"cannot tell productpage-v1 from other callers"):
        run.inject_wave([(Delay(0.05), Scope("ratings", source="productpage-v1"))], carrier="inbound")
    wave.undo()
    run.close()
    assert mesh.everything() == before


def test_at_the_callees_side_a_call_tells_nothing_before_its_arrival_is_reported():
    """Else it is taken for one that went by the fault, and a fault that stays for one that is gone."""
    shows = on_arrival(Delay(1).shows_in)
    watched = Watched((), "details", "default")
    aim = Aim(Marker("0a1b2c3d", "1"), (), watched=watched, shows=shows, injected=None, want=1, arrives=True)
    answer = Answer("1" * 32, "http://x/", time.time(), 0.0, 200)
    aim.answers.append(answer)
    call = span(2, 1, "CLIENT", "productpage-v1 → details", 0.0, 1.0)
    for arrival, waiting, verdict in (((), True, "unknown"), (("DI",), True, "met"), (("DI",), False, "met")):
        found = trace(call, *(span(3, 2, "SERVER", "details-v1", 0.0, 1.0, flags=flag) for flag in arrival))
        aim.judge({answer.trace_id: found}, {answer.trace_id} if waiting else (), time.time())
        assert [one.trace_id for one in aim.of(verdict)] == [answer.trace_id]


def test_one_cell_comes_out_alone_and_the_others_stay_undisturbed(run, mesh):
    wave = run.inject_wave(BOTH, carrier="envoyfilter")
    wave.send(counts=1)
    first, second = run._cells.live
    run._undo([first])
    assert run._cells.disturbed(connect()) == ""
    assert ours(mesh) == list(wave.objects)
    assert wave.send(counts={"2": 1})["2"]
    run.undo()
    assert second.ended
    assert ours(mesh) == []


def test_a_cell_may_need_another_fault_to_be_met(run, mesh):
    """Both have its marker; the last is what it is about."""
    wave = run.inject_wave([[(Delay(0.05), DETAILS), (Delay(0.06), REVIEWS)]])
    assert wave.injected["1"].destination == "reviews"
    assert len(wave.objects) == 1
    wave.send(counts=2)
    (cell,) = wave.cells()
    peers = {span.peer for trace in cell.traces.values() for span in trace.calls() if "DI" in span.flags}
    assert peers == {"details", "reviews"}
    wave.undo()


def test_requests_that_come_before_the_fault_is_there_are_made_up_for_and_do_not_count(run, mesh, monkeypatch):
    wave = run.inject_wave(BOTH)
    faulted, since = mesh._faulted, time.time() + 2.0

    async def late(service, marker):
        return time.time() > since and await faulted(service, marker)

    monkeypatch.setattr(mesh, "_faulted", late)
    answers = wave.send(counts=2)
    assert {number: len(found) for number, found in answers.items()} == {"1": 2, "2": 2}
    assert all(answer.started > since - 1.0 for found in answers.values() for answer in found)
    assert all(after > 0.5 for after in wave.live_after.values())
    wave.undo()


def test_errands_go_by_cell_and_answers_come_by_url(run, mesh):
    one, other = (Errand.to(f"{mesh.url}/{path}", {}) for path in ("one", "other"))
    wave = run.inject_wave(BOTH, errands=[one, other])
    answers = wave.send({"1": one, "2": [one, other]}, 2)
    assert {answer.url for answer in answers["1"]} == {one.url}
    assert {answer.url for answer in answers["2"]} == {one.url, other.url}
    with pytest.raises(errors.InvalidInput, match="no cell 7 in this wave"):
        wave.send(one, {"7": 1})
    wave.undo()


def test_marked_requests_that_harm_others_become_fewer_and_then_none(run, mesh, monkeypatch):
    """The canary is slower than control requests were: the wave is out, and what it found stays."""
    monkeypatch.setattr("chaosmesh_ext.run.canary._EVERY", 0.05)
    wave = run.inject_wave(BOTH)

    async def slow(service, marker):
        if marker.endswith("-0"):
            await asyncio.sleep(0.2)
        return False

    monkeypatch.setattr("chaosmesh_ext.run.canary._SLACK", 0.05)
    monkeypatch.setattr(mesh, "_faulted", slow)
    wave._timeout = 20.0
    with pytest.raises(errors.Inconclusive, match=r"control requests to http.* are harmed: .* s, and .* s are allowed"):
        wave.send(counts=40)
    assert wave.canary
    assert ours(mesh) == []
    assert set(wave.injected) == {"1", "2"}


def test_a_halt_ends_a_wave_while_it_sends(run, mesh, monkeypatch):
    monkeypatch.setattr("chaosmesh_ext.run.keeper._HALT", 0.1)
    from chaosmesh_ext.mesh import halt

    wave = run.inject_wave(BOTH)

    def halting(_met):
        halt(connect(), run.settings.system_namespace, "me", "enough")

    async def nowhere(service, marker):
        return False

    monkeypatch.setattr(mesh, "_faulted", nowhere)
    with pytest.raises(errors.Inconclusive, match="was stopped"):
        wave.send(counts=5, seen=halting)
    until(lambda: not ours(mesh), what="what was halted goes by a thread of its own")


class Turns:
    """Asks for one request of the cell and one control request by turns, so many of each."""

    def __init__(self, count, url):
        self.left, self.errand, self.came_, self.cells = count, Errand(url), [], []

    @property
    def over(self):
        return len(self.came_) == 2 * self.left and bool(self.cells) and len(self.cells[-1].answers) == self.left

    def due(self, now, cell, others):
        if cell or others or len(self.came_) == 2 * self.left:
            return Due()
        return Due(others=(self.errand,)) if len(self.came_) % 2 else Due(cell=1)

    def came(self, answer, *, marked):
        self.came_.append(marked)

    def seen(self, cell, others):
        self.cells.append(cell)


def test_an_experiment_says_what_is_sent_when_and_sees_its_traces_meanwhile(run, mesh):
    wave = run.inject_wave(BOTH)
    turns = Turns(4, mesh.url)
    others = wave.drive("1", Errand(mesh.url), turns)
    assert turns.came_ == [True, False] * 4
    assert {number: len(found) for number, found in wave.answers.items()} == {"1": 4, "2": 0}
    assert len(others) == 4
    assert not {one.trace_id for one in others} & {one.trace_id for one in wave.answers["1"]}
    wave.undo()
    assert [(cell.id, len(cell.answers)) for cell in wave.cells()] == [("1", 4), ("2", 0)]


def test_an_experiment_ends_with_its_run(run, mesh):
    wave = run.inject_wave(BOTH)
    endless = Turns(10**6, mesh.url)
    wave._stopped = lambda: bool(endless.cells) and len(endless.cells[-1].answers) > 2
    with pytest.raises(errors.Inconclusive, match="was stopped"):
        wave.drive("1", Errand(mesh.url), endless)
    assert wave.answers["1"]
    wave.undo()
