"""The Services of the lab's Prometheus and trace store, reached through its API."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import aiohttp
from aiohttp import web

from chaosmesh_ext.lab.addons import PROMETHEUS, TRACING, addon
from chaosmesh_ext.lab.controlplane.embedded.snapshot import service
from chaosmesh_ext.lab.kube.embedded import EmbeddedKube


async def _told(request: web.Request) -> web.Response:
    return web.Response(text=f"{request.method} {request.path_qs}")


def test_what_runs_beside_the_cluster_is_reached_through_the_apis_proxy():
    """As with nothing but a kubeconfig; by number, by name, and in vain when nothing runs there."""

    async def scenario() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", _told)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        kube = EmbeddedKube("127.0.0.1", 0)
        await kube.start()
        try:
            for obj in addon(TRACING, f"http://127.0.0.1:{runner.addresses[0][1]}"):
                await kube.apply(obj)
            base = f"{kube.url}/api/v1/namespaces/istio-system/services"
            async with aiohttp.ClientSession() as client:
                for port in ("80", "http-query"):
                    async with client.get(f"{base}/tracing:{port}/proxy/api/services?a=b") as answer:
                        assert await answer.text() == "GET /api/services?a=b"
                async with client.get(f"{base}/prometheus:9090/proxy/") as answer:
                    assert answer.status == HTTPStatus.NOT_FOUND
                await runner.cleanup()
                async with client.get(f"{base}/tracing:80/proxy/") as answer:
                    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
                    assert "connection refused" in (await answer.json())["message"]
        finally:
            await kube.stop()
            await runner.cleanup()

    asyncio.run(scenario())


def test_nobody_in_the_mesh_is_told_of_them():
    """A port 80 for every sidecar could not be had without root."""
    for one in (PROMETHEUS, TRACING):
        assert service(addon(one, "http://127.0.0.1:1")[0]).exported == ("~",)
