"""A mesh of small echo applications behind real Envoys, configured by the control plane under test, whichever it is."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from pathlib import Path
from typing import Any

import loops
from aiohttp import web
from asking import Reply, get
from echo_apps import Echo, Otlp
from fault_words import marked
from waiting import PATIENCE_S, until

from chaosmesh_ext.lab.claim import claim
from chaosmesh_ext.lab.controlplane.istiod import IstiodControlPlane
from chaosmesh_ext.lab.envoy import Sidecar
from chaosmesh_ext.lab.envoy.node import APP, OUTBOUND, POD, WORKLOAD
from chaosmesh_ext.lab.identity import Authority, SdsServer
from chaosmesh_ext.lab.kube.api import NODE
from chaosmesh_ext.lab.network import API_PORT, OTLP_PORT, SDS_PORT, XDS_PORT
from chaosmesh_ext.lab.parts import part
from chaosmesh_ext.lab.place import Place

PORT = 9080
VERSIONS = {
    "Service": "v1",
    "EnvoyFilter": "networking.istio.io/v1alpha3",
    "PeerAuthentication": "security.istio.io/v1",
    "AuthorizationPolicy": "security.istio.io/v1",
    "RequestAuthentication": "security.istio.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "Gateway.gateway.networking.k8s.io": "gateway.networking.k8s.io/v1",
}
_CLEANED = (
    "VirtualService",
    "DestinationRule",
    "EnvoyFilter",
    "Gateway",
    "PeerAuthentication",
    "AuthorizationPolicy",
    "RequestAuthentication",
    "ServiceEntry",
    "Sidecar",
    "HTTPRoute",
    "Gateway.gateway.networking.k8s.io",
)
_QUIET_S = 0.12
"""istiod of these tests gathers changes for 10 ms before it sends them."""
_LOOKS = 8


class Mesh:
    """Pods of echo applications. All methods are for the test's thread; the mesh runs in one of its own.

    control_plane: of `chaosmesh_ext.lab.parts`, with the Kubernetes API that it needs.
    """

    def __init__(self, directory: Path, sampling: float = 100.0, control_plane: str = "embedded") -> None:
        self.directory = directory
        self.control_plane = control_plane
        self.sampling = sampling
        # held as a lab holds its own: nobody else takes these addresses meanwhile
        self.network, self._held = claim(random.randbytes(8).hex(), 1, (API_PORT, XDS_PORT, SDS_PORT, OTLP_PORT))
        self.apps: dict[str, Echo] = {}
        self.sidecars: dict[str, Sidecar] = {}
        self.addresses: dict[str, Any] = {}
        self.otlp = Otlp()
        self._runners: list[web.AppRunner] = []
        self._parts: list[Any] = []
        self._index = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def do(self, coroutine: Any, timeout: float = PATIENCE_S) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def start(self) -> None:
        self._thread.start()
        self.do(self._start(), timeout=90)

    async def _start(self) -> None:
        control = self.network.control
        controlplane = part("controlplane", self.control_plane)
        place = Place(control, self.directory, self.sampling)
        self.authority = Authority()
        self.kube = part("kube", controlplane.KUBE).create(place)
        self.plane = controlplane.create(place, self.kube, self.authority, (control, OTLP_PORT))
        self.sds = SdsServer(self.authority, control, SDS_PORT)
        self._parts += [self.plane, self.kube, self.sds]
        await self.sds.start()
        await self._serve(self.otlp.handle, control, OTLP_PORT)
        await self.kube.start()
        await self.plane.start()

    def stop(self) -> None:
        async def stop() -> None:
            await asyncio.gather(*(one.stop() for one in self.sidecars.values()))
            for one in self._parts:
                await one.stop()
            for runner in self._runners:
                await runner.cleanup()

        self.do(stop())
        loops.stop(self._loop)
        self._thread.join(PATIENCE_S)
        self._held.close()
        self._loop.close()

    async def _serve(self, handler: Any, host: str, port: int) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        self._runners.append(runner)

    def service(self, name: str, namespace: str = "default", port: int = PORT, target: int = PORT) -> None:
        self.apply(
            "Service",
            name,
            {"selector": {"app": name}, "ports": [{"name": "http", "port": port, "targetPort": target}]},
            namespace,
        )

    def pod(
        self,
        app: str,
        version: str = "v1",
        *,
        namespace: str = "default",
        gateway: bool = False,
        bare: bool = False,
        grpc: bool = False,
        impostor: str = "",
        **labels: str,
    ) -> str:
        """Add a ready pod, its application and its Envoy; its name is the application's and the version's.

        Its service account is named as the application; an IMPOSTOR shows the certificate of another one. bare: without
        an Envoy. grpc: its port is one of gRPC's, on which whoever adds it serves.
        """
        if bare:
            labels["sidecar.istio.io/inject"] = "false"
        return self.do(self._pod(app, version, namespace, gateway, bare, grpc, impostor, labels))

    async def _pod(
        self,
        app: str,
        version: str,
        namespace: str,
        gateway: bool,
        bare: bool,
        grpc: bool,
        impostor: str,
        labels: dict[str, str],
    ) -> str:
        index = next(self._index)
        name = f"{app}-{version}" if f"{app}-{version}" not in self.addresses else f"{app}-{version}-{index}"
        at = self.addresses[name] = self.network.pod(index)
        annotations = {OUTBOUND: at.outbound, APP: at.app, WORKLOAD: f"{app}-{version}"}
        port = {"containerPort": PORT, **({"name": "grpc"} if grpc else {})}
        # as Istio's injector leaves them
        labels = {"service.istio.io/canonical-name": app, "service.istio.io/canonical-revision": version, **labels}
        await self._namespace(namespace)
        if gateway:
            annotations["inject.istio.io/templates"] = "gateway"
        pod = await self.kube.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {"app": app, "version": version, POD: f"p{index}", **labels},
                    "annotations": annotations,
                },
                "spec": {
                    "nodeName": NODE,
                    "serviceAccountName": app,
                    "containers": [{"name": "app", "image": "echo", "ports": [port]}],
                },
            }
        )
        pod = await self.kube.patch_status(pod, {"podIP": at.inbound})
        if not gateway and not grpc:
            self.apps[name] = Echo(name)
            await self._serve(self.apps[name].handle, at.inbound if bare else at.app, PORT)
        if not bare:
            bootstrap = await self.plane.bootstrap(pod)
            if impostor:
                bootstrap["node"]["metadata"]["SERVICE_ACCOUNT"] = impostor
            sidecar = self.sidecars[name] = Sidecar(name, bootstrap, (at.outbound, 15000), self.directory)
            await sidecar.start()
            await sidecar.ready()
        await self.kube.patch_status(pod, {"conditions": [{"type": "Ready", "status": "True"}]})
        return name

    def remove(self, name: str, namespace: str = "default") -> None:
        """End the Envoy of a pod, if it has one, and delete the pod."""

        async def remove() -> None:
            if name in self.sidecars:
                await self.sidecars.pop(name).stop()
            await self.kube.delete("Pod", namespace, name, grace=0)

        self.do(remove())
        self.synced()

    async def _namespace(self, name: str) -> None:
        if await self.kube.get("Namespace", "", name) is None:
            await self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def ready(self, name: str, *, ready: bool, namespace: str = "default") -> None:
        async def patch() -> None:
            pod = await self.kube.get("Pod", namespace, name)
            await self.kube.patch_status(pod, {"conditions": [{"type": "Ready", "status": str(ready)}]})

        self.do(patch())
        self.synced()

    def apply(
        self, kind: str, name: str, spec: dict[str, Any], namespace: str = "default", *, wait: bool = True
    ) -> Any:
        """Write an object and wait until every Envoy has what follows from it."""
        version = VERSIONS.get(kind, "networking.istio.io/v1")
        obj = {
            "apiVersion": version,
            "kind": kind.partition(".")[0],
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }

        async def write() -> Any:
            await self._namespace(namespace)
            return await self.kube.apply(obj)

        out = self.do(write())
        if wait:
            self.synced(out)
        return out

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        self.do(self.kube.delete(kind, namespace, name))
        self.synced()

    def get(self, kind: str, name: str, namespace: str = "default") -> Any:
        return self.do(self.kube.get(kind, namespace, name))

    def synced(self, written: Any = None) -> None:
        """Wait until every Envoy has what was WRITTEN last."""
        if isinstance(self.plane, IstiodControlPlane):
            self._pushed(written)
        until(
            lambda: all(one.synced for one in self.proxies() if one.connected),
            lambda: f"the proxies are in sync: {self.problems()} {self.proxies()}",
        )

    def _pushed(self, written: Any) -> None:
        """Wait until istiod knows WRITTEN, and for longer than it gathers changes nothing was sent."""
        if written is not None and written["apiVersion"].partition("/")[0].endswith(
            ("istio.io", "gateway.networking.k8s.io")
        ):
            meta = written["metadata"]
            until(
                lambda: any(
                    (one["kind"], one["metadata"]["name"]) == (written["kind"], meta["name"])
                    # istiod writes a ServiceEntry's status itself
                    and int(one["metadata"].get("resourceVersion") or 0) >= int(meta["resourceVersion"])
                    for one in self._debug("configz")
                ),
                f"istiod knows {written['kind']} {meta['name']}",
            )
        quiet_since, before, looks = time.monotonic(), None, 0
        deadline = quiet_since + PATIENCE_S
        # an istiod that is short of time is slow to answer, too: so many answers of it must be the same
        while time.monotonic() - quiet_since < _QUIET_S or looks < _LOOKS:
            assert time.monotonic() < deadline, f"istiod keeps sending for {PATIENCE_S:g} s"
            # by name: istiod's order of proxies of several namespaces varies
            now = {
                proxy["proxy"]: {
                    kind: (one.get("sent"), one.get("acked")) for kind, one in proxy.get("resources", {}).items()
                }
                for proxy in self._debug("syncz")
            }
            looks += 1
            if now != before:
                quiet_since, before, looks = time.monotonic(), now, 0
            time.sleep(0.01)

    def _debug(self, page: str) -> Any:
        return get(self.network.control, port=8080, path=f"/debug/{page}", headers={}).json

    def proxies(self) -> list[Any]:
        async def ask() -> list[Any]:
            return await self.plane.proxies()

        return self.do(ask())

    def problems(self) -> list[str]:
        async def ask() -> list[str]:
            return await self.plane.problems()

        return self.do(ask())

    def clean(self) -> None:
        """Take back every Istio object and what was set at the applications."""

        async def clean() -> None:
            for kind in _CLEANED:
                for obj in await self.kube.list(kind):
                    if "app.kubernetes.io/managed-by" in obj["metadata"].get("labels", {}):
                        continue  # the lab's own
                    await self.kube.delete(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])

        self.do(clean())
        self.synced()
        for app in self.apps.values():
            app.reset()
        self.otlp.spans.clear()

    def call(
        self, source: str, host: str, path: str = "/", headers: dict[str, str] | None = None, **kwargs: Any
    ) -> Reply:
        """What the application of SOURCE gets from HOST through its sidecar."""
        kwargs.setdefault("port", PORT)
        return get(self.addresses[source].outbound, path=path, headers={"Host": host, **(headers or {})}, **kwargs)

    def traced(
        self, source: str, host: str, path: str = "/", headers: dict[str, str] | None = None, **kwargs: Any
    ) -> tuple[Reply, dict[str, str]]:
        """The same, and the tags of the span that SOURCE's sidecar made of the call."""
        headers = {**marked("nobody"), **(headers or {})}
        reply = self.call(source, host, path, headers, **kwargs)
        return reply, self.span(headers["traceparent"].split("-")[1], kind=3)["tags"]

    def span(self, trace: str, kind: int) -> dict[str, Any]:
        """The first span of KIND (2 server, 3 client) of a trace, once it is there."""
        return until(
            lambda: next((one for one in self.otlp.spans if one["trace"] == trace and one["kind"] == kind), None),
            f"a span of kind {kind} in trace {trace}",
        )

    def flags(self, source: str, host: str, path: str = "/", headers: dict[str, str] | None = None) -> tuple[int, str]:
        """The status that SOURCE got and Envoy's response flags for it."""
        reply, tags = self.traced(source, host, path, headers)
        return reply.status, tags["response_flags"]

    def hits(self, app: str) -> int:
        """How often any version of APP was reached."""
        return sum(one.hits for name, one in self.apps.items() if name.startswith(f"{app}-"))

    def route(self, host: str, *http: dict[str, Any], name: str = "", **spec: Any) -> None:
        """A VirtualService for HOST; routes without a destination lead to it."""
        entries = [{"route": [{"destination": {"host": host}}], **entry} for entry in http]
        self.apply("VirtualService", name or host, {"hosts": [host], "http": entries, **spec})

    def stats(self, source: str, path: str) -> str:
        return get(self.addresses[source].outbound, port=15000, path=path, headers={}).body.decode()
