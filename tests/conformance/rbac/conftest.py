"""One real API server for all tests of Roles, a janitor with its own account, and no watchdog left behind."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psutil
import pytest
from rbac_cluster import SYSTEM, Cluster
from waiting import until

from chaosmesh_ext.run.janitor import Janitor


@pytest.fixture(scope="package")
def cluster(real: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    there = Cluster(tmp_path_factory.mktemp("rbac"))
    yield there
    until(lambda: not _watchdogs())
    there.stop()


@pytest.fixture(scope="package")
def janitor(cluster: Cluster) -> Iterator[list]:
    """The janitor, with nothing but its own account; what it told."""
    client, _ = cluster.account("chaosmesh-janitor", SYSTEM)
    told: list = []
    stop = threading.Event()
    one = Janitor(lambda: client, system=SYSTEM, duration=6, tell=told.append)
    thread = threading.Thread(target=one.watch, args=(stop,))
    thread.start()
    until(lambda: cluster.admin.find("Lease", SYSTEM, "chaosmesh-janitor") or told)
    yield told
    stop.set()
    thread.join(20)


def _watchdogs() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("watchdog" in word for word in child.cmdline()):
                found.append(child)
    return found
