"""Threads that do what is asked of them, a few at once, and that nobody has to wait for."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

__all__ = ["Pool"]

T = TypeVar("T")
_Jobs = SimpleQueue[tuple[Future[T], Callable[[], T]] | None]


class Pool(Generic[T]):
    """At most WORKERS jobs at once, until it is closed or nobody has it any more.

    Unlike `ThreadPoolExecutor`, whose threads Python waits for before it exits: a request that hangs for its whole
    timeout must not keep an interrupted command from ending.
    """

    def __init__(self, workers: int, name: str) -> None:
        self._workers, self._name = workers, name
        self._jobs: _Jobs[T] = SimpleQueue()
        self._threads = 0
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _end, self._jobs, workers)
        self._end.atexit = False

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """What JOB gives, when it was its turn; cancelled where the pool is closed."""
        future: Future[T] = Future()
        with self._lock:
            if not self._end.alive:
                future.cancel()
                return future
            self._jobs.put((future, job))
            if self._threads < self._workers:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True).start()
        return future

    def close(self) -> None:
        """Begin nothing more, and cancel what waits; what is under way ends by itself."""
        with self._lock:
            self._end()


def _end(jobs: _Jobs[T], workers: int) -> None:
    try:
        while True:
            if job := jobs.get_nowait():
                job[0].cancel()
    except Empty:
        pass
    for _ in range(workers):
        jobs.put(None)


def _work(jobs: _Jobs[T]) -> None:
    while (item := jobs.get()) is not None:
        future, job = item
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(job())
        except BaseException as error:
            future.set_exception(error)
        del item, future, job  # an answer is its asker's alone
