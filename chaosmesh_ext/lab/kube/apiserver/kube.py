"""The lab's real API server as its other parts see it."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Awaitable, Collection, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from chaosmesh_ext.errors import ApiError, Conflict, InvalidInput, LabError
from chaosmesh_ext.lab.kube.api import Obj, PodLog, Watcher, kubeconfig
from chaosmesh_ext.lab.kube.apiserver import definitions, seed
from chaosmesh_ext.lab.kube.apiserver.client import MERGE_PATCH, Client
from chaosmesh_ext.lab.kube.apiserver.events import Events
from chaosmesh_ext.lab.kube.apiserver.informer import Informer
from chaosmesh_ext.lab.kube.apiserver.pod_logs import PodLogs
from chaosmesh_ext.lab.kube.apiserver.programs import api_server, etcd, secrets_below
from chaosmesh_ext.lab.kube.apiserver.resources import Resource, Resources
from chaosmesh_ext.lab.network import API_PORT, ETCD_PEER_PORT, ETCD_PORT, KUBELET_PORT, check_free
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.process import Process

__all__ = ["ApiServer"]

_START_S = 30.0
"""Seconds that a start may take; 3 to 4 on two idle cores."""
_ATTEMPTS = 5
"""How often a replacement is tried on an object that others change meanwhile."""


class ApiServer:
    """A `Kube` over a kube-apiserver and an etcd of its own, and the kubelet's port for logs.

    definitions: files of resource definitions, which are served once `start` is through. Nothing is kept: each start
    begins with an empty etcd, another token and another certificate.
    """

    def __init__(self, place: Place, *, etcd: Path, program: Path, definitions: Sequence[Path]) -> None:
        self.url = f"https://{place.control}:{API_PORT}"
        self._place = place
        self._etcd_program = etcd
        self._program = program
        self._definitions = definitions
        self._programs: list[Process] = []
        self._kubeconfig: Obj = {}
        self._client: Client | None = None
        self._resources: Resources | None = None
        self._events: Events | None = None
        self._logs: PodLogs | None = None
        self._pod_log: PodLog | None = None
        self._informers: dict[str, Informer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start both programs and wait until every kind is served.

        Raises LabError: a port is taken, a program died (with its last words), or a definition was refused.
        """
        host = self._place.control
        check_free((host, port) for port in (API_PORT, KUBELET_PORT, ETCD_PORT, ETCD_PEER_PORT))
        try:
            async with asyncio.timeout(_START_S):
                await self._start(host)
        except TimeoutError:
            raise LabError(
                f"kube-apiserver is not ready after {_START_S:g} s; its last words: {self._programs[-1].last_words()}"
            ) from None

    async def _start(self, host: str) -> None:
        reading = asyncio.create_task(asyncio.to_thread(definitions.read, self._definitions))
        try:
            data = self._data()
            shutil.rmtree(data, ignore_errors=True)
            secrets = secrets_below(self._place.directory / "kube-apiserver", host)
            store = etcd(self._etcd_program, host, data, self._place.log("etcd"))
            server = api_server(self._program, host, secrets, self._place.log("kube-apiserver"))
            client = Client(self.url, secrets.token, secrets.root, self.dead)
            self._client, self._resources, self._events = client, Resources(client), Events(client)
            self._logs = PodLogs(host, secrets, partial(self.get, "Pod"))
            self._logs.pod_log = self._pod_log
            root = base64.b64encode(secrets.root).decode()
            self._kubeconfig = kubeconfig(
                {"server": self.url, "certificate-authority-data": root}, {"token": secrets.token}
            )
            await self._run(store)
            await store.ready(partial(_listens, host))
            await self._run(server)
            await self._logs.start()
            wanted = await reading
        finally:
            reading.cancel()
        await self._watched(self._fill(server, wanted))

    async def _fill(self, server: Process, wanted: Sequence[Obj]) -> None:
        """Give the starting SERVER what it is to have, and wait until it serves that to everybody."""
        assert self._client is not None, _UNSTARTED  # noqa: S101
        assert self._resources is not None, _UNSTARTED  # noqa: S101
        await definitions.apply(self._client, wanted)
        await server.ready(partial(self._client.answers, "/readyz"), _START_S)
        await seed.seed(self._client, self._place.control)
        await self._resources.discovered(wanted)

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Do WORK while both programs live; raises LabError with the last words of the one that dies."""
        doing = asyncio.create_task(work)
        ends = [asyncio.create_task(program.wait()) for program in self._programs]
        try:
            await asyncio.wait([doing, *ends], return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise LabError(self.dead())
            await doing
        finally:
            for task in (doing, *ends):
                task.cancel()
            await asyncio.gather(doing, *ends, return_exceptions=True)

    async def _run(self, program: Process) -> None:
        self._programs.append(program)
        await program.start()

    def _data(self) -> Path:
        return self._place.directory / "etcd"

    async def stop(self) -> None:
        """End the watches and both programs, and remove what they kept."""
        programs, self._programs = self._programs, []
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._informers.clear()
        if self._logs is not None:
            await self._logs.stop()
        if self._client is not None:
            await self._client.close()
        for program in reversed(programs):
            await asyncio.shield(program.stop())
        await asyncio.to_thread(shutil.rmtree, self._data(), ignore_errors=True)

    def kubeconfig(self) -> Obj:
        """A kubeconfig of one context, with the administrator's token and what the certificate is checked against."""
        return self._kubeconfig

    def dead(self) -> str:
        """Which program died by itself, and its last words; empty while both run, and after `stop`."""
        for program in self._programs:
            if program.pid and not program.running:
                return f"{program.name} died; its last words: {program.last_words()}"
        return ""

    def serve_pod_logs(self, pod_log: PodLog) -> None:
        """Answer `kubectl logs` with what POD_LOG(pod, container) returns."""
        self._pod_log = pod_log
        if self._logs is not None:
            self._logs.pod_log = pod_log

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object, or None."""
        resource = await self._resource(kind)
        return await self._if_there(resource, self._ask("GET", resource.path(namespace, name)))

    async def list(self, kind: str, namespace: str = "") -> list[Obj]:
        """All objects of KIND, of one NAMESPACE or of all."""
        resource = await self._resource(kind)
        return [resource.headed(obj) for obj in (await self._ask("GET", resource.path(namespace)))["items"]]

    async def create(self, obj: Obj) -> Obj:
        """Create OBJ with `metadata.name` or `generateName`, with its status if it has one."""
        resource, namespace = await self._of(obj)
        made = resource.headed(await self._ask("POST", resource.path(namespace), obj))
        if obj.get("status") and resource.status:
            return await self.patch_status(made, obj["status"]) or made
        return made

    async def apply(self, obj: Obj) -> Obj:
        """Create OBJ, or replace what it has (metadata labels and annotations, and everything but status).

        Labels, annotations, finalizers and ownerReferences that OBJ does not mention at all stay as they are.
        """
        try:
            return await self.create({key: value for key, value in obj.items() if key != "status"})
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise
        updated = await self.update(obj)
        return await self.apply(obj) if updated is None else updated

    async def update(self, obj: Obj) -> Obj | None:
        """Replace what OBJ has, as `apply` does; None when it, or the very one with its `metadata.uid`, is gone."""
        resource, namespace = await self._of(obj)
        path = resource.path(namespace, obj["metadata"]["name"])
        for attempt in range(_ATTEMPTS):
            old = await self._if_there(resource, self._ask("GET", path))
            if old is None or obj["metadata"].get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
                return None
            new = {**obj, "metadata": _merged(old["metadata"], obj["metadata"])}
            new.setdefault("status", old.get("status"))
            try:
                return await self._if_there(resource, self._ask("PUT", path, new))
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError

    async def patch_status(self, obj: Obj, status: Obj) -> Obj | None:
        """Merge STATUS into the status of OBJ (RFC 7396); None when that very object is gone."""
        resource, namespace = await self._of(obj)
        path = resource.path(namespace, obj["metadata"]["name"], "status" if resource.status else "")
        return await self._merge(resource, path, obj, {"status": status})

    async def annotate(self, obj: Obj, annotations: dict[str, str]) -> Obj | None:
        """Add ANNOTATIONS to OBJ, changing nothing else; None when that very object is gone."""
        resource, namespace = await self._of(obj)
        path = resource.path(namespace, obj["metadata"]["name"])
        return await self._merge(resource, path, obj, {"metadata": {"annotations": annotations}})

    async def bind(self, pod: Obj, node: str) -> Obj | None:
        """Put POD on NODE, as a scheduler does; see `Kube.bind`."""
        resource, namespace = await self._of(pod)
        name, uid = pod["metadata"]["name"], pod["metadata"].get("uid", "")
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        refusal: Conflict | None = None
        try:
            await self._ask("POST", resource.path(namespace, name, "binding"), binding)
        except Conflict as error:
            refusal = error
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        found = await self.get("Pod", namespace, name)
        if found is None or (uid and found["metadata"]["uid"] != uid):
            return None
        if refusal and found["spec"].get("nodeName") != node:
            raise refusal
        return found

    async def delete(self, kind: str, namespace: str, name: str, *, grace: int | None = None, uid: str = "") -> None:
        """Delete it; see `Kube.delete`."""
        resource = await self._resource(kind)
        options: Obj = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._ask("DELETE", resource.path(namespace, name), options)
        except Conflict:
            if not uid:
                raise
        except ApiError as error:
            if error.status != 404:
                raise

    async def record(self, about: Obj, reason: str, message: str, kind: str = "Warning") -> None:
        """Write an Event (Normal or Warning) about an object; the same again raises its count."""
        assert self._events is not None, _UNSTARTED  # noqa: S101
        await self._events.record(about, reason, message, kind)

    def subscribe(self, kinds: Collection[str], watcher: Watcher) -> None:
        """Call WATCHER on the event loop with every object of KINDS that is there (ADDED), then with every change.

        Each kind's changes come in their order; the order between kinds is not kept. One that is there is told of
        soon, not before this returns.
        """
        assert self._client is not None, _UNSTARTED  # noqa: S101
        for kind in kinds:
            informer = self._informers.get(kind)
            if informer is None:
                informer = self._informers[kind] = Informer(self._client, partial(self._resource, kind))
                task = asyncio.create_task(informer.run())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            informer.subscribe(watcher)

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        assert self._client is not None, _UNSTARTED  # noqa: S101
        return await self._client.ask(method, path, body)

    async def _merge(self, resource: Resource, path: str, obj: Obj, patch: Obj) -> Obj | None:
        """Merge PATCH into the very object OBJ; None when it is gone."""
        assert self._client is not None, _UNSTARTED  # noqa: S101
        if uid := obj["metadata"].get("uid"):
            patch = {**patch, "metadata": {**patch.get("metadata", {}), "uid": uid}}
        try:
            return await self._if_there(resource, self._client.ask("PATCH", path, patch, content_type=MERGE_PATCH))
        except Conflict:
            if not uid:
                raise
            return None

    @staticmethod
    async def _if_there(resource: Resource, asked: Awaitable[Any]) -> Obj | None:
        try:
            return resource.headed(await asked)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _resource(self, kind: str, api_version: str = "") -> Resource:
        assert self._resources is not None, _UNSTARTED  # noqa: S101
        return await self._resources.of(kind, api_version)

    async def _of(self, obj: Obj) -> tuple[Resource, str]:
        metadata = obj.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(obj.get("kind"), str) or not obj.get("apiVersion"):
            raise InvalidInput("an object needs apiVersion, kind and metadata: give it all three")
        resource = await self._resource(obj["kind"], str(obj["apiVersion"]))
        return resource, str(metadata.get("namespace") or "default") if resource.namespaced else ""


async def _listens(host: str) -> bool:
    """Whether etcd accepts clients, which it does once it has elected itself."""
    _, writer = await asyncio.open_connection(host, ETCD_PORT)
    writer.close()
    return True


_UNSTARTED = "the API server has not been started"


def _merged(old: Obj, new: Obj) -> Obj:
    fields = ("labels", "annotations", "finalizers", "ownerReferences")
    return {**old, **{field: new[field] for field in fields if field in new}}
