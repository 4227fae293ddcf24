"""Threads that send requests: few at once, and nobody has to wait for them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import wait

import pytest

from chaosmesh_ext.run.pool import Pool


def test_no_more_than_its_workers_work_at_once():
    under_way, most, lock = 0, 0, threading.Lock()

    def job() -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.01)
        with lock:
            under_way -= 1

    pool: Pool[None] = Pool(3, "of-this-test")
    wait([pool.submit(job) for _ in range(30)])
    pool.close()
    assert most == 3


def test_what_a_job_raises_is_its_askers():
    pool: Pool[float] = Pool(1, "of-this-test")
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result()
    assert pool.submit(lambda: 1.0).result() == 1.0
    pool.close()


def test_a_closed_pool_ends_what_is_under_way_and_cancels_the_rest():
    go, began = threading.Event(), threading.Event()
    pool: Pool[bool] = Pool(1, "of-this-test")
    first = pool.submit(lambda: began.set() or go.wait(60))
    second = pool.submit(lambda: True)
    began.wait(60)
    pool.close()
    assert second.cancelled()
    assert pool.submit(lambda: True).cancelled()
    go.set()
    assert first.result(60)


@pytest.mark.parametrize("end", ["close", "forget"])
def test_its_threads_end_with_it(end):
    name = f"ended-by-{end}"
    pool: Pool[int] = Pool(2, name)
    wait([pool.submit(lambda: 1) for _ in range(4)])
    if end == "close":
        pool.close()
    del pool
    deadline = time.monotonic() + 60
    while any(thread.name.startswith(name) for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_ends_without_waiting_for_a_job_that_hangs():
    """Ctrl-C while a request waits for its timeout: the report is written, and the prompt comes back."""
    program = """
import threading
from chaosmesh_ext.run.pool import Pool
began = threading.Event()
pool = Pool(1, "hangs")
pool.submit(lambda: began.set() or threading.Event().wait())
began.wait()
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 0
