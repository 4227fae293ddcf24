"""What the API server asks a node's kubelet for: the logs of its Pods, for `kubectl logs`, and ports of theirs."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.kube.api import Obj, PodLog
from chaosmesh_ext.lab.kube.apiserver.port_forwards import forwarding
from chaosmesh_ext.lab.kube.apiserver.programs import Secrets
from chaosmesh_ext.lab.network import KUBELET_PORT

__all__ = ["PodLogs"]


class PodLogs:
    """A kubelet's ``/containerLogs`` and ``/portForward``, for nobody but the API server.

    It must show a certificate of the lab's.

    find: the Pod of a namespace and name. pod_log: where logs come from, None when the lab keeps none.
    """

    def __init__(self, host: str, secrets: Secrets, find: Callable[[str, str], Awaitable[Obj | None]]) -> None:
        self._host = host
        self._secrets = secrets
        self._find = find
        self.pod_log: PodLog | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; raises LabError when the address is taken."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self._secrets.root.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._secrets.certificate, self._secrets.key)
        app = web.Application()
        app.add_routes(
            [
                web.get("/containerLogs/{namespace}/{pod}/{container}", self._answer),
                web.get("/portForward/{namespace}/{pod}", forwarding(self._find)),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, KUBELET_PORT, ssl_context=context).start()
        except OSError as error:
            raise LabError(f"{self._host}:{KUBELET_PORT} cannot be had: {error.strerror}") from error

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        asked = request.match_info
        pod = await self._find(asked["namespace"], asked["pod"])
        if pod is None or self.pod_log is None:
            why = f'pod "{asked["pod"]}" not found' if pod is None else "this lab keeps no logs of its Pods"
            return web.Response(status=400, text=why)
        if request.query.get("previous") == "true":
            why = f'previous terminated container "{asked["container"]}" in pod "{asked["pod"]}" not found'
            return web.Response(status=400, text=why)
        lines = self.pod_log(pod, asked["container"]).splitlines(keepends=True)
        tail = request.query.get("tailLines", "")
        return web.Response(text="".join(lines[len(lines) - min(int(tail), len(lines)) :] if tail else lines))
