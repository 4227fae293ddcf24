"""A real Jaeger as the lab's trace store: its life, its ports and its last words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import psutil
import pytest

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.parts import names, part
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.traces import jaeger

pytestmark = pytest.mark.skipif(tools.find("jaeger") is None, reason="Jaeger is not built: chaos mesh lab tools")
TRACE = "11112222333344445555666677778801"
PORTS = {16686, 4318, 14269, 14250, 14268, 4317, 16685}


def place(folder: Path) -> Place:
    """An address of its own on which nobody listens."""
    while True:
        host = f"127.{random.randint(64, 254)}.{random.randint(1, 254)}.9"
        try:
            for port in PORTS:
                with contextlib.closing(socket.socket()) as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return Place(control=host, directory=folder)


@contextlib.asynccontextmanager
async def running(store):
    try:
        await store.start()
        yield store
    finally:
        await store.stop()


async def get(url: str, **query: str) -> tuple[int, dict]:
    async with aiohttp.ClientSession() as client, client.get(url, params=query) as answer:
        return answer.status, await answer.json(content_type=None)


async def send(store, otlp, count: int = 1, trace: str = TRACE) -> None:
    now = time.time_ns()
    times = {"startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 5_000_000)}
    spans = [{"traceId": trace, "spanId": f"{n:016x}", "name": "op", "kind": 2, **times} for n in range(1, count + 1)]
    name = {"key": "service.name", "value": {"stringValue": "front"}}
    body = otlp({"resourceSpans": [{"resource": {"attributes": [name]}, "scopeSpans": [{"spans": spans}]}]})
    host, port = store.otlp
    async with aiohttp.ClientSession() as client:
        url = f"http://{host}:{port}/v1/traces"
        headers = {"content-type": "application/x-protobuf"}
        async with client.post(url, data=body.SerializeToString(), headers=headers) as answer:
            assert answer.status == 200, await answer.text()


async def spans(store, count: int, trace: str = TRACE) -> int:
    """How many spans of TRACE are there, once there are COUNT or ten seconds are over."""
    found = 0
    for _ in range(500):
        _, body = await get(f"{store.url}/api/traces/{trace}")
        found = len(body["data"][0]["spans"]) if body["data"] else 0
        if found >= count:
            break
        await asyncio.sleep(0.02)
    return found


def test_both_stores_are_found_as_parts_of_a_lab(tmp_path):
    here = place(tmp_path)
    assert names("traces") == ["embedded", "jaeger"]
    for name in names("traces"):
        store = part("traces", name).create(here)
        assert (store.url, store.otlp) == (f"http://{here.control}:16686", (here.control, 4318))
        assert store.dead() == ""


async def test_spans_go_in_and_come_out(tmp_path, otlp):
    async with running(jaeger.create(place(tmp_path))) as store:
        await send(store, otlp)
        assert await spans(store, 1) == 1
        assert store.dead() == ""


async def test_all_of_its_ports_are_on_the_labs_address(tmp_path):
    """Nothing of a lab may be reached from another machine, nor stand in another lab's way."""
    here = place(tmp_path)
    async with running(jaeger.create(here)) as store:
        process = psutil.Process(store.pid)
        bound = {(c.laddr.ip, c.laddr.port) for c in process.net_connections("all") if c.status == "LISTEN"}
        assert bound == {(here.control, port) for port in PORTS}
        assert {c.status for c in process.net_connections("udp")} == set()


async def test_two_run_side_by_side(tmp_path, otlp):
    async with (
        running(jaeger.create(place(tmp_path / "a"))) as one,
        running(jaeger.create(place(tmp_path / "b"))) as other,
    ):
        await send(one, otlp)
        assert await spans(one, 1) == 1
        assert (await get(f"{other.url}/api/services"))[1]["data"] is None


@pytest.mark.parametrize("port", sorted(PORTS))
async def test_a_taken_port_is_named_in_one_line(tmp_path, port):
    here = place(tmp_path)
    with contextlib.closing(socket.socket()) as taken:
        taken.bind((here.control, port))
        taken.listen()
        store = jaeger.create(here)
        with pytest.raises(LabError, match=rf"{here.control}:{port} .*another program holds port") as error:
            await store.start()
        await store.stop()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("port", [14269, 4318, 16686])
async def test_a_port_taken_at_the_last_moment_is_told_in_jaegers_words(tmp_path, monkeypatch, port):
    """The port is looked at first, but somebody may be quicker; Jaeger says so in three different ways."""
    here = place(tmp_path)
    store = jaeger.create(here)
    taken = socket.socket()

    def too_early(addresses) -> None:
        taken.bind((here.control, port))
        taken.listen()

    monkeypatch.setattr(jaeger, "check_free", too_early)
    with contextlib.closing(taken), pytest.raises(LabError, match=f"{here.control}:{port}: bind: address") as error:
        await store.start()
    await store.stop()
    assert str(error.value).startswith("Jaeger died at its start with status 1; its last words: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


async def test_another_jaeger_on_the_port_is_not_taken_for_this_one(tmp_path, monkeypatch):
    here = place(tmp_path)
    async with running(jaeger.create(here)):
        second = jaeger.create(here)
        monkeypatch.setattr(jaeger, "check_free", lambda addresses: None)
        with pytest.raises(LabError, match="address already in use"):
            await second.start()
        await second.stop()


async def test_a_killed_jaeger_is_told_and_a_stopped_one_is_not(tmp_path):
    store = jaeger.create(place(tmp_path))
    async with running(store):
        os.kill(store.pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while not store.dead():
                await asyncio.sleep(0.01)
        assert store.dead() == "Jaeger died of SIGKILL; its last words: none"
    await store.stop()
    assert store.dead() == ""


async def test_a_panic_is_its_last_words_and_not_its_stack(tmp_path):
    store = jaeger.create(place(tmp_path))
    async with running(store):
        os.kill(store.pid, signal.SIGQUIT)
        async with asyncio.timeout(60):
            while not store.dead():
                await asyncio.sleep(0.01)
        log = (tmp_path / "logs" / "jaeger.log").read_text()
        assert "goroutine 1" in log
        assert store.dead() == "Jaeger died with status 2; its last words: SIGQUIT: quit"


async def test_the_users_variables_do_not_change_it(tmp_path, monkeypatch):
    """Each of Jaeger's flags can be set by a variable, and some have common names."""
    for name, value in {
        "QUERY_BASE_PATH": "/elsewhere",
        "SPAN_STORAGE_TYPE": "cassandra",
        "CONFIG_FILE": str(tmp_path / "none.yaml"),
        "LOG_LEVEL": "shout",
        "COLLECTOR_OTLP_ENABLED": "false",
    }.items():
        monkeypatch.setenv(name, value)
    async with running(jaeger.create(place(tmp_path))) as store:
        assert (await get(f"{store.url}/api/services"))[0] == 200


async def test_it_traces_nothing_of_its_own(tmp_path):
    """Untold, Jaeger reports its own requests to localhost:4317, which is the user's or another program's."""
    async with (
        running(jaeger.create(place(tmp_path))) as store,
        aiohttp.ClientSession() as client,
        client.get(f"{store.url}/api/services") as answer,
    ):
        sampled = answer.headers["Traceresponse"].rpartition("-")[2]
    assert sampled == "00"


async def test_a_large_export_is_kept_whole(tmp_path, otlp):
    """It queues what it receives, and drops what its queue cannot hold."""
    async with running(jaeger.create(place(tmp_path))) as store:
        await send(store, otlp, count=8000)
        assert await spans(store, 8000) == 8000


async def test_its_memory_is_bounded_by_traces(tmp_path, otlp):
    here = place(tmp_path)
    store = jaeger.Jaeger(tools.need("jaeger"), here.control, here.log("jaeger"), max_traces=3)
    async with running(store):
        for number in range(1, 6):
            await send(store, otlp, trace=f"{number:032x}")
            assert await spans(store, 1, f"{number:032x}") == 1
        there = [(await get(f"{store.url}/api/traces/{number:032x}"))[0] for number in range(1, 6)]
        assert there == [404, 404, 200, 200, 200]


def test_it_dies_with_the_lab(tmp_path):
    here = place(tmp_path)
    program = (
        "import asyncio, pathlib, sys\n"
        "from chaosmesh_ext.lab.place import Place\n"
        "from chaosmesh_ext.lab.traces import jaeger\n"
        "async def main():\n"
        "    store = jaeger.create(Place(control=sys.argv[1], directory=pathlib.Path(sys.argv[2])))\n"
        "    await store.start()\n"
        "    print(store.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, here.control, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as lab:
        child = psutil.Process(int(lab.stdout.readline()))
        lab.kill()
    _, alive = psutil.wait_procs([child], timeout=60)
    assert alive == []


async def test_a_jaeger_that_was_not_built_is_said_with_the_command_that_builds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAOSMESH_TOOLS", str(tmp_path))
    with pytest.raises(LabError, match="chaos mesh lab tools --only jaeger"):
        jaeger.create(place(tmp_path))
