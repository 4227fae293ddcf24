"""A real Prometheus, as the lab runs it."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import urllib.request
from contextlib import closing

import psutil
import pytest
from aiohttp import web

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab import debian
from chaosmesh_ext.lab.metrics import Prometheus, fetch_prometheus, find_prometheus

METRICS = """# TYPE envoy_istio_requests_total counter
envoy_istio_requests_total{reporter="source",response_code="200"} 5
# TYPE envoy_server_live gauge
envoy_server_live 1
"""
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="session")
def binary():
    """The machine's Prometheus, or Debian's."""
    try:
        return find_prometheus() or fetch_prometheus()
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture
def host():
    """A loopback address on which port 9090 is free."""
    while True:
        address = f"127.{random.randint(64, 254)}.{random.randint(1, 254)}.9"
        with closing(socket.socket()) as probe:
            try:
                probe.bind((address, 9090))
            except OSError:
                continue
            return address


async def serve(host: str) -> web.AppRunner:
    """A sidecar's metrics and their discovery, at one address."""
    app = web.Application()
    targets = [{"targets": [f"{host}:15000"], "labels": {"workload": "details-v1"}}]

    async def discovery(_request: web.Request) -> web.Response:
        return web.json_response(targets)

    async def stats(_request: web.Request) -> web.Response:
        return web.Response(text=METRICS)

    app.add_routes([web.get("/targets", discovery), web.get("/stats/prometheus", stats)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 15000).start()
    return runner


def query(url: str, promql: str) -> list[dict]:
    with OPENER.open(f"{url}/api/v1/query?query={urllib.request.quote(promql)}", timeout=60) as answer:
        return json.load(answer)["data"]["result"]


async def test_envoys_metrics_arrive_under_istios_names_with_the_pods_labels(binary, host, tmp_path):
    """What people know from a cluster must work on the lab as it is."""
    runner = await serve(host)
    prometheus = Prometheus(binary, host, 9090, tmp_path, f"http://{host}:15000/targets")
    try:
        await prometheus.start()
        async with asyncio.timeout(60):
            while not (found := await asyncio.to_thread(query, prometheus.url, "istio_requests_total")):
                await asyncio.sleep(0.05)
        assert found[0]["value"][1] == "5"
        assert found[0]["metric"]["workload"] == "details-v1"
        assert await asyncio.to_thread(query, prometheus.url, "envoy_server_live")
        assert not await asyncio.to_thread(query, prometheus.url, "envoy_istio_requests_total")
    finally:
        await prometheus.stop()
        await runner.cleanup()
    assert not psutil.pid_exists(prometheus.pid)


async def test_a_taken_port_is_told_with_prometheus_own_words(binary, host, tmp_path):
    with closing(socket.socket()) as holder:
        holder.bind((host, 9090))
        holder.listen()
        prometheus = Prometheus(binary, host, 9090, tmp_path, f"http://{host}:15000/targets")
        try:
            with pytest.raises(LabError, match="address already in use"):
                await prometheus.start()
        finally:
            await prometheus.stop()


async def test_somebody_elses_prometheus_on_our_port_is_not_taken_for_ours(binary, host, tmp_path):
    """On shared machines a port that answers proves nothing."""
    theirs = Prometheus(binary, host, 9090, tmp_path / "theirs", f"http://{host}:15000/theirs")
    ours = Prometheus(binary, host, 9090, tmp_path / "ours", f"http://{host}:15000/ours")
    try:
        await theirs.start()
        with pytest.raises(LabError, match=r"another Prometheus answers|address already in use"):
            await ours.start()
    finally:
        await ours.stop()
        await theirs.stop()


def test_a_machine_without_apt_is_told_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_prometheus() is None
    with pytest.raises(LabError, match="install prometheus"):
        fetch_prometheus()


def test_a_package_that_apt_refuses_is_told_in_apts_words(monkeypatch, tmp_path):
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package prometheus' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(LabError, match="Unable to locate package prometheus"):
        debian.unpack("prometheus", "prometheus")
    assert not list((tmp_path / "cache" / "chaosmesh-ext" / "debian").iterdir())
