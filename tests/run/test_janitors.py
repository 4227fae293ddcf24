"""Several janitors: one leads, another takes over; and as a process, which a signal ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from janitors import DURATION, SYSTEM, janitor, leads, remains, renewed
from leftovers import OTHER, RUN, fault, held, lease
from numbered_api import hanging
from waiting import PATIENCE_S, until

from chaosmesh_ext import mesh
from chaosmesh_ext.mesh import connect, janitor_alive


def test_one_leads_and_another_follows_at_once_when_it_ends(cluster):
    """It gives the Lease up: nobody waits until that is over."""
    client, duration = cluster.client, 2 * PATIENCE_S
    with janitor(duration=duration) as first:
        until(lambda: leads(client))
        one = leads(client)
        with janitor(duration=duration):
            time.sleep(2.0)
            assert leads(client) == one
            assert janitor_alive(client, SYSTEM) == ""
            first()
            until(lambda: leads(client) not in ("", one))
        assert client.get("Lease", SYSTEM, mesh.JANITOR)["spec"]["leaseTransitions"] == 1
    assert leads(client) == ""
    assert "it was stopped" in janitor_alive(client, SYSTEM)


def test_another_takes_over_from_one_that_died(cluster):
    """Nobody gives the Lease up; it is over when it has not changed for its duration."""
    client = cluster.client
    dead = mesh.Leadership(SYSTEM, "dead@desk:1", DURATION)
    assert dead.keep(client)
    began = time.monotonic()
    with janitor():
        until(lambda: leads(client) != "dead@desk:1")
        assert time.monotonic() - began > DURATION
        assert not dead.held()
        assert not dead.keep(client)
        lease(client, duration=DURATION)
        fault(client)
        until(remains(client))


def test_of_many_that_begin_at_once_one_leads(cluster):
    client = cluster.client
    found: list[bool] = []
    together = threading.Barrier(5)

    def one(number: int) -> None:
        candidate = mesh.Leadership(SYSTEM, f"janitor-{number}", 15)
        own = connect()
        together.wait()
        found.append(candidate.keep(own))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 4 + [True]
    assert leads(client).startswith("janitor-")


def test_whoever_asks_hears_whether_a_janitor_lives(cluster):
    client = cluster.client
    assert "there is none" in janitor_alive(client, SYSTEM)
    leadership = mesh.Leadership(SYSTEM, "one@desk:1", 3 * DURATION)
    leadership.keep(client)
    assert janitor_alive(client, SYSTEM) == ""
    until(lambda: "one@desk:1 has not renewed" in janitor_alive(client, SYSTEM))


@pytest.fixture
def process(cluster, tmp_path) -> Iterator[subprocess.Popen[str]]:
    """`chaos mesh janitor --watch`, whose clock tells the year 2096."""
    program = "import sys, time; real = time.time; time.time = lambda: real() + 2.2e9\nfrom chaosmesh_ext.cli import mesh; mesh(sys.argv[1:])"
    started = subprocess.Popen(
        [sys.executable, "-c", program, "janitor", "--watch"],
        env={**os.environ, "CHAOSMESH_LEASE_DURATION": "3"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield started
    if started.poll() is None:
        started.kill()
    started.communicate()


def test_a_sigterm_ends_it_cleanly_and_a_wrong_clock_is_no_matter(cluster, process):
    client = cluster.client
    until(lambda: leads(client))
    kept = lease(client, OTHER, duration=5 * DURATION, deadline=600)
    fault(client, OTHER)
    with renewed(client, kept):
        lease(client, duration=DURATION)
        fault(client, host="ratings")
        until(lambda: len(held(client)) == 2)
        time.sleep(DURATION)
        assert held(client) == {f"EnvoyFilter chaos-{OTHER}-1", f"Lease chaosmesh-run-{OTHER}"}
        assert janitor_alive(client, SYSTEM) == ""
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    assert out == (
        f"ended {RUN}: sre@desk:1 has not renewed it for 1 s; clean again: EnvoyFilter default/chaos-{RUN}-1\n"
    )
    assert leads(client) == ""


def test_a_sigterm_ends_it_while_the_api_hangs(cluster, process):
    client = cluster.client
    until(lambda: leads(client))
    cluster.proxy.treat = lambda exchange: hanging
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert time.monotonic() - began < 10
