"""The lab's own Kubernetes API: in memory, in this process, and on a socket for everybody else's clients."""

from __future__ import annotations

from collections.abc import Callable, Collection

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab.kube.api import CONTEXT, Obj, PodLog, Watcher, kubeconfig, refused
from chaosmesh_ext.lab.kube.embedded import events
from chaosmesh_ext.lab.kube.embedded.deletion import DeleteOptions
from chaosmesh_ext.lab.kube.embedded.json_patch import merge_patch
from chaosmesh_ext.lab.kube.embedded.jsons import copied
from chaosmesh_ext.lab.kube.embedded.kinds import Kind, by_kind
from chaosmesh_ext.lab.kube.embedded.objects import Objects
from chaosmesh_ext.lab.kube.embedded.refusals import Refused
from chaosmesh_ext.lab.kube.embedded.seed import seed
from chaosmesh_ext.lab.kube.embedded.server import Server
from chaosmesh_ext.lab.kube.embedded.store import Change, Store
from chaosmesh_ext.lab.kube.embedded.verbs import Verbs

__all__ = ["CONTEXT", "EmbeddedKube"]


class EmbeddedKube:
    """A `Kube` for the lab's other parts, and a Kubernetes API server at `url` for clients.

    host, port: where to listen; port 0 is any free one, known once started. A kind is named by its Kind; ``Gateway``
    is Istio's, Gateway API's is ``Gateway.gateway.networking.k8s.io``. Objects handed out are copies, in the version
    that is stored (Istio's ``v1``); those that watchers get are not, and must not be changed.

    All methods raise InvalidInput for a kind that is not served, and writing ones the ApiError of what Kubernetes
    answers, e.g. Conflict for an object that exists.
    """

    def __init__(self, host: str, port: int) -> None:
        self._store = Store()
        self._objects = Objects(self._store)
        self._verbs = Verbs(self._objects)
        self._server = Server(self._verbs, host, port)
        self._host = host
        seed(self._objects)
        self._store.forget()

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return f"http://{self._host}:{self._server.port}"

    async def start(self) -> None:
        """Listen; raises LabError when the address is taken."""
        await self._server.start()

    async def stop(self) -> None:
        """Close every connection and watch; the objects stay."""
        await self._server.stop()

    def kubeconfig(self) -> Obj:
        """A kubeconfig of one context, `CONTEXT`, for the namespace default."""
        return kubeconfig({"server": self.url}, {})

    def serve_pod_logs(self, pod_log: PodLog) -> None:
        """Answer `kubectl logs` with what POD_LOG(pod, container) returns; without it logs are a 501."""
        self._verbs.pod_log = pod_log

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object, or None."""
        obj = self._store.get(*_place(_kind(kind), namespace), name)
        return None if obj is None else _copy(obj)

    async def list(self, kind: str, namespace: str = "") -> list[Obj]:
        """All objects of KIND, of one NAMESPACE or of all."""
        return [_copy(obj) for obj in self._store.list(_kind(kind), namespace)]

    async def create(self, obj: Obj) -> Obj:
        """Create OBJ with `metadata.name` or `generateName`, with its status if it has one."""
        kind, namespace = _of(obj)
        return _copy(_said(lambda: self._objects.create(kind, namespace, obj, status=obj.get("status"))))

    async def apply(self, obj: Obj) -> Obj:
        """Create OBJ, or replace what it has (metadata labels and annotations, and everything but status).

        Labels, annotations, finalizers and ownerReferences that OBJ does not mention at all stay as they are.
        """
        if (updated := await self.update(obj)) is not None:
            return updated
        return await self.create({key: value for key, value in obj.items() if key != "status"})

    async def update(self, obj: Obj) -> Obj | None:
        """Replace what OBJ has, as `apply` does; None when it, or the very one with its `metadata.uid`, is gone."""
        kind, old = self._found(obj)
        if old is None:
            return None
        new = {**obj, "metadata": _merged(old["metadata"], obj["metadata"])}
        if not kind.status:
            new.setdefault("status", old.get("status"))
        return _copy(_said(lambda: self._objects.replace(kind, old, new, strict=False)))

    async def patch_status(self, obj: Obj, status: Obj) -> Obj | None:
        """Merge STATUS into the status of OBJ (RFC 7396); None when that very object is gone."""
        kind, old = self._found(obj)
        if old is None:
            return None
        new = {**old, "status": merge_patch(old.get("status"), status)}
        return _copy(_said(lambda: self._objects.replace(kind, old, new, subresource="status")))

    async def annotate(self, obj: Obj, annotations: dict[str, str]) -> Obj | None:
        """Add ANNOTATIONS to OBJ, changing nothing else; None when that very object is gone."""
        kind, old = self._found(obj)
        if old is None:
            return None
        new = merge_patch(old, {"metadata": {"annotations": annotations}})
        return _copy(_said(lambda: self._objects.replace(kind, old, new)))

    async def bind(self, pod: Obj, node: str) -> Obj | None:
        """Put POD on NODE, as a scheduler does; see `Kube.bind`."""
        kind, old = self._found(pod)
        if old is None:
            return None
        present = old["spec"].get("nodeName")
        if present and present != node:
            name = old["metadata"]["name"]
            raise refused(409, "Conflict", f"pod {name} is already assigned to node {present!r}")
        new = merge_patch(old, {"spec": {"nodeName": node}})
        return _copy(_said(lambda: self._objects.replace(kind, old, new, strict=False)))

    async def delete(self, kind: str, namespace: str, name: str, *, grace: int | None = None, uid: str = "") -> None:
        """Delete it; see `Kube.delete`."""
        place = _place(_kind(kind), namespace)
        old = self._store.get(*place, name)
        if old is not None and (not uid or old["metadata"]["uid"] == uid):
            options = DeleteOptions(uid=uid, grace=grace)
            _said(lambda: self._objects.delete(*place, name, options).obj)

    def dead(self) -> str:
        """It has no program of its own that could die."""
        return ""

    def _found(self, obj: Obj) -> tuple[Kind, Obj | None]:
        """What is stored of OBJ; None when it, or the very one with its uid, is gone."""
        kind, namespace = _of(obj)
        old = self._store.get(kind, namespace, obj["metadata"]["name"])
        uid = obj["metadata"].get("uid", "")
        return kind, None if old is None or (uid and uid != old["metadata"]["uid"]) else old

    async def record(self, about: Obj, reason: str, message: str, kind: str = "Warning") -> None:
        """Write an Event (Normal or Warning) about an object; the same again raises its count."""
        _said(lambda: events.record(self._objects, about, reason, message, kind))

    def subscribe(self, kinds: Collection[str], watcher: Watcher) -> None:
        """Call WATCHER with every object of KINDS that is there (ADDED), then with every change, inside the write."""
        wanted = {_kind(kind) for kind in kinds}

        def told(change: Change) -> None:
            if change.kind in wanted:
                watcher(change.type, change.obj)

        for kind in kinds:
            for obj in self._store.list(_kind(kind)):
                watcher("ADDED", obj)
        self._store.listen(told)


def _kind(name: str, api_version: str = "") -> Kind:
    kind = by_kind(name, api_version)
    if kind is None:
        what = f"{name} of {api_version}" if api_version else name
        raise InvalidInput(
            f"the lab's Kubernetes API does not serve {what}: see `kubectl api-resources` for what it does"
        )
    return kind


def _of(obj: Obj) -> tuple[Kind, str]:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(obj.get("kind"), str) or not obj.get("apiVersion"):
        raise InvalidInput("an object needs apiVersion, kind and metadata: give it all three")
    return _place(_kind(obj["kind"], str(obj["apiVersion"])), metadata.get("namespace") or "default")


def _place(kind: Kind, namespace: str) -> tuple[Kind, str]:
    return kind, namespace if kind.namespaced else ""


def _copy(obj: Obj) -> Obj:
    made: Obj = copied(obj)
    return made


def _merged(old: Obj, new: Obj) -> Obj:
    fields = ("labels", "annotations", "finalizers", "ownerReferences")
    return {**old, **{field: new[field] for field in fields if field in new}}


def _said(write: Callable[[], Obj]) -> Obj:
    """What WRITE returns; what it refuses becomes the project's own error."""
    try:
        return write()
    except Refused as refusal:
        raise refused(refusal.code, refusal.reason, str(refusal)) from None
