"""A trace store for each side, made once; every test has services and trace ids of its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import loops
import pytest
from trace_store import Store, an_id

from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.network import JAEGER_PORT, OTLP_PORT
from chaosmesh_ext.lab.parts import part
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.traces import jaeger
from chaosmesh_ext.lab.traces.embedded import EmbeddedTraces

PARTS = {"embedded": "embedded", "real": "jaeger"}


def free_place(directory: Path) -> Place:
    """An address on which a store can listen."""
    while True:
        host = f"127.{random.randint(64, 254)}.{random.randint(1, 254)}.10"
        with contextlib.suppress(OSError), contextlib.closing(socket.socket()) as probe:
            probe.bind((host, 16686))
            return Place(control=host, directory=directory)


@pytest.fixture(scope="package")
def running():
    """`running(side, part)` holds a part of a lab in a loop of its own, as a `Store`."""

    @contextlib.contextmanager
    def hold(side: str, store) -> Iterator[Store]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(store.start(), loop).result(30)
            yield Store(side, store.url, "http://{}:{}".format(*store.otlp))
            assert store.dead() == ""
        finally:
            asyncio.run_coroutine_threadsafe(store.stop(), loop).result(30)
            loops.stop(loop)
            thread.join()
            loop.close()

    return hold


@pytest.fixture(scope="package")
def store(side: str, running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The store of this side."""
    place = free_place(tmp_path_factory.mktemp(f"traces-{side}"))
    with running(side, part("traces", PARTS[side]).create(place)) as held:
        yield held


@pytest.fixture
def small_store(side: str, running, tmp_path: Path) -> Iterator[Store]:
    """A store of this side that holds no more than ten spans, or three traces."""
    place = free_place(tmp_path)
    if side == "real":
        made = jaeger.Jaeger(tools.need("jaeger"), place.control, place.log("jaeger"), max_traces=3)
    else:
        made = EmbeddedTraces((place.control, JAEGER_PORT), (place.control, OTLP_PORT), max_spans=10)
    with running(side, made) as held:
        yield held


@pytest.fixture
def trace() -> bytes:
    """The id of a trace that is this test's alone."""
    return an_id()


@pytest.fixture
def service() -> str:
    """The name of a service that is this test's alone."""
    return f"s{secrets.token_hex(6)}.default"
