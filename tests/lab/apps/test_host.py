"""Applications are processes: they start quickly, die alone, come back, and never outlive the lab."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import aiohttp
import psutil
import pytest

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.apps import AppHost, AppSpec


async def answers(host: str, path: str = "/health", port: int = 9080) -> str:
    """The body of a GET, asked until something listens."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            try:
                async with session.get(f"http://{host}:{port}{path}") as response:
                    return await response.text()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.002)


class Ends:
    """An on_exit whose call can be awaited."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self._queue: asyncio.Queue[int] = asyncio.Queue()

    def __call__(self, status: int) -> None:
        self.statuses.append(status)
        self._queue.put_nowait(status)

    async def next(self) -> int:
        return await asyncio.wait_for(self._queue.get(), 60)


def command(words: list[str], addresses: tuple[str, str], **env: str) -> AppSpec:
    host, proxy = addresses
    return AppSpec("program-pod", "command", host, 9080, proxy, env, {"command": words})


def test_each_application_is_a_process_that_dies_alone_and_comes_back(kit, tmp_path):
    async def main():
        apps = AppHost(tmp_path)
        await apps.start()
        try:
            specs = [AppSpec(f"{n}-pod", f"bookinfo-{n}", *_at(kit)) for n in ("details", "ratings")]
            ends = [Ends(), Ends()]
            pids = [await apps.run(spec, end) for spec, end in zip(specs, ends, strict=True)]
            assert len({*pids, apps.pid, os.getpid()}) == 4
            await asyncio.gather(*(answers(spec.host) for spec in specs))

            os.kill(pids[0], signal.SIGKILL)
            assert await ends[0].next() == -signal.SIGKILL
            assert "healthy" in await answers(specs[1].host)
            again = await apps.run(specs[0], ends[0])
            assert again != pids[0]
            assert "healthy" in await answers(specs[0].host)

            await apps.kill(again)
            assert ends[0].statuses == [-signal.SIGKILL] * 2
            with pytest.raises(aiohttp.ClientConnectionError):
                async with aiohttp.ClientSession() as session, session.get(f"http://{specs[0].host}:9080/health"):
                    pass
            await apps.kill(again)  # gone already: nothing happens
        finally:
            await apps.stop()
        assert ends[1].statuses == [-signal.SIGKILL]
        assert not psutil.pid_exists(pids[1])
        with pytest.raises(LabError, match="stopped"):
            await apps.run(specs[0], ends[0])

    asyncio.run(main())


def _at(kit) -> tuple[str, int, str]:
    host, proxy = kit.free_addresses()
    return host, 9080, proxy


def test_bookinfo_is_small_and_starts_at_once(kit, tmp_path):
    """The whole lab has 400 MB and two seconds."""

    async def main():
        apps = AppHost(tmp_path)
        await apps.start()
        try:
            names = ["productpage", "details", "ratings", "reviews-v1", "reviews-v2", "reviews-v3"]
            specs = [AppSpec(name, f"bookinfo-{name}", *_at(kit)) for name in names]
            await apps.run(specs[0], print)
            took = []
            for spec in specs[1:]:
                began = time.monotonic()
                await apps.run(spec, print)
                await answers(spec.host)
                took.append(time.monotonic() - began)
            assert min(took) < 0.25  # 6 ms on an idle machine
            await answers(specs[0].host)
            total = sum(psutil.Process(pid).memory_full_info().pss for pid in (apps.pid, *apps.pids))
            assert total < 85e6  # 62 MB; more where no other Python shares the interpreter's pages
        finally:
            await apps.stop()

    asyncio.run(main())


def test_what_an_application_wrote_can_be_read_after_its_end(kit, tmp_path):
    async def main():
        apps = AppHost(tmp_path)
        try:
            ends = Ends()
            await apps.run(AppSpec("front-pod", "service", *_at(kit), {"CHAOSMESH_LAB_SERVICE": "{}"}), ends)
            assert await ends.next() == 1
            assert "CHAOSMESH_LAB_SERVICE is not a service's behaviour" in apps.last_words("front-pod")
        finally:
            await apps.stop()

    asyncio.run(main())


def test_a_port_that_is_taken_ends_the_application_and_says_so(kit, tmp_path):
    async def main():
        apps = AppHost(tmp_path)
        try:
            spec = AppSpec("details-pod", "bookinfo-details", *_at(kit))
            await apps.run(spec, Ends())
            await answers(spec.host)
            ends = Ends()
            await apps.run(spec, ends)
            assert await ends.next() == 1
            assert "Address already in use" in apps.last_words("details-pod")
        finally:
            await apps.stop()

    asyncio.run(main())


PROGRAM = """
import http.server, json, os, subprocess, sys
child = subprocess.Popen(["sleep", "600"])
words = {name: os.environ.get(name) for name in ("HOST", "PORT", "HTTP_PROXY", "http_proxy", "OWN", "NO_PROXY", "SSL_CERT_FILE")}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps({**words, "child": child.pid, "args": sys.argv[1:]}).encode())
http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_a_foreign_program_is_told_its_place_and_ends_with_all_it_started(kit, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    async def main():
        apps = AppHost(tmp_path)
        try:
            ends = Ends()
            spec = command([sys.executable, "-c", PROGRAM, "no shell; $HOME"], kit.free_addresses(), OWN="1")
            pid = await apps.run(spec, ends)
            told = json.loads(await answers(spec.host, "/"))
            proxy = f"http://{spec.proxy_host}:15001"
            child = told.pop("child")
            assert told == {
                "HOST": spec.host, "PORT": "9080", "HTTP_PROXY": proxy, "http_proxy": proxy, "OWN": "1",
                "NO_PROXY": None, "SSL_CERT_FILE": None, "args": ["no shell; $HOME"],
            }  # fmt: skip
            assert psutil.Process(child).pid == child
            await apps.kill(pid)
            assert ends.statuses == [-signal.SIGKILL]
            await gone(child)
        finally:
            await apps.stop()

    asyncio.run(main())


def test_a_program_that_is_not_there_is_refused(kit, tmp_path):
    async def main():
        apps = AppHost(tmp_path)
        try:
            with pytest.raises(LabError, match=r"program-pod: /no/such could not be started: No such file"):
                await apps.run(command(["/no/such"], kit.free_addresses()), Ends())
            host, proxy = kit.free_addresses()
            with pytest.raises(LabError, match="no program to run"):
                await apps.run(AppSpec("x", "command", host, 9080, proxy), Ends())
        finally:
            await apps.stop()

    asyncio.run(main())


def test_when_the_parent_dies_its_applications_die_and_the_next_one_gets_a_new_parent(kit, tmp_path):
    async def main():
        apps = AppHost(tmp_path)
        try:
            ends = Ends()
            spec = AppSpec("details-pod", "bookinfo-details", *_at(kit))
            pid = await apps.run(spec, ends)
            first = apps.pid
            os.kill(first, signal.SIGKILL)
            assert await ends.next() == -signal.SIGKILL
            await gone(pid)
            await apps.run(spec, ends)
            assert apps.pid not in {0, first}
            await answers(spec.host)
        finally:
            await apps.stop()

    asyncio.run(main())


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        with contextlib.suppress(psutil.NoSuchProcess):
            while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.005)


def test_nothing_outlives_a_supervisor_that_is_killed(kit, tmp_path):
    """A lab that crashed must not leave listeners on the machine, foreign programs' children included."""
    (host, proxy), (other, _) = kit.free_addresses(), kit.free_addresses()
    script = textwrap.dedent(f"""
        import asyncio, sys
        from pathlib import Path
        from chaosmesh_ext.lab.apps import AppHost, AppSpec
        async def main():
            apps = AppHost(Path({str(tmp_path)!r}))
            one = await apps.run(AppSpec("a", "bookinfo-details", {host!r}, 9080, {proxy!r}), print)
            words = {{"command": ["sh", "-c", "sleep 600 & sleep 601"]}}
            two = await apps.run(AppSpec("b", "command", {other!r}, 9080, {proxy!r}, {{}}, words), print)
            print(apps.pid, one, two, flush=True)
            await asyncio.sleep(600)
        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(word) for word in supervisor.stdout.readline().split()]

        async def check():
            async with asyncio.timeout(60):
                while len(started := psutil.Process(pids[2]).children()) < 2:
                    await asyncio.sleep(0.005)
            supervisor.kill()
            await asyncio.gather(*(gone(pid) for pid in (*pids, *(child.pid for child in started))))

        asyncio.run(check())
    assert Path(tmp_path, "a.app.log").exists()
