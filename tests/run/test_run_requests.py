"""The requests of a run: how many are under way, whose they are, and that an interrupt ends them."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from waiting import until

from chaosmesh_ext import errors
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import Run
from chaosmesh_ext.run.audit import allowed
from chaosmesh_ext.run.pool import Pool
from chaosmesh_ext.settings import Settings

SCOPE = Scope("details", source="productpage-v1")


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
            release.wait(100)
        serve(headers)

    monkeypatch.setattr(mesh, "serve", serve_or_hang)
    soon = threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    soon.start()
    with pytest.raises(KeyboardInterrupt):
        run.send("/", 1000)
    began = time.monotonic()
    assert [answer.status for answer in run.send("/", 2)] == [200, 200]
    assert time.monotonic() - began < 50
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
    assert time.monotonic() - began < 10  # who has all patience waits for 20 s and more
    assert sent.count >= 20
    assert allowed([sent])["details"] >= 20  # what nobody can see may have met the fault


def test_requests_stay_within_the_budget(mesh):
    run = Run(settings=Settings(app_url=mesh.url, request_budget=1), traces=mesh)
    assert len(run.send(count=5)) == 5
    for count in (0, 10**30):
        with pytest.raises(errors.InvalidInput, match=f"count {count} .*send 1 to 1000000"):
            run.send(count=count)
    run.close()
    with pytest.raises(errors.InvalidInput, match="request_budget 0"):
        Run(settings=Settings(app_url=mesh.url, request_budget=0), traces=mesh).send()


def test_a_closed_run_keeps_no_threads(run, mesh):
    run.inject(Abort(507), SCOPE)
    run.close()
    until(lambda: not any(thread.name.startswith("marked-request") for thread in threading.enumerate()))
