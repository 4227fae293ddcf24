"""The objects of a fault in a mesh under test, as the product's own code plans them, writes undo data into them, and
undoes them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from echo_mesh import PORT, Mesh

from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.mesh import CARRIERS, Create, Destination, Place, Source, View, ledger
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.model import Marker
from chaosmesh_ext.model.marker import new_trace_id

__all__ = ["MARKED", "Laid", "lay", "marks"]

_RUN = "0badcafe"
MARKED = Marker(_RUN, "1")


def marks(marker: Marker = MARKED) -> dict[str, str]:
    """The headers of a request with MARKER, in a trace of its own."""
    return marker.headers(new_trace_id())


class Laid:
    """A fault that is in force. words: what was written."""

    def __init__(self, mesh: Mesh, before: dict[tuple[str, str, str], Any]) -> None:
        self._mesh, self._before = mesh, before
        self.words = ", ".join(f"{kind} {'changed' if obj else 'made'}" for (kind, _, _), obj in before.items())

    def out(self) -> None:
        """Undo it; what was somebody's must be as it was."""
        for target, before in self._before.items():
            obj = self._mesh.get(target[0], target[2], target[1])
            undone = ledger.undo(obj, _RUN)
            assert not undone.conflicts
            assert undone.delete == (before is None)
            if undone.delete:
                self._mesh.delete(target[0], target[2], target[1])
                continue
            after = apply(obj, undone.ops)
            assert after["spec"] == before["spec"]
            assert not ledger.runs_in(after)
            # a write keeps labels and annotations that it says nothing of
            meta = {"labels": {}, "annotations": {}, **after["metadata"]}
            _write(self._mesh, {**after, "metadata": meta})


def lay(mesh: Mesh, fault: Any, host: str = "details", *, source: str = "", marker: Marker | None = MARKED) -> Laid:
    """Put FAULT into MESH for requests with MARKER (None: everybody's) of the app SOURCE (empty: everybody) to HOST, a
    service of default or a host outside, by its carrier of choice.

    Somebody's VirtualService for the host has its name.
    """
    whole = fqdn(host, "default")
    inside = whole.endswith(".svc.cluster.local")
    place = Place(
        run=_RUN,
        cell=MARKED.cell,
        namespace="default",
        source=Source(source, "default", {"app": source}, ()) if source else None,
        destination=Destination(
            whole, host, "default" if inside else "", PORT, (PORT,), {"app": host} if inside else {}
        ),
        marker=marker,
    )
    others = [_as_injected(obj) for kind in fault.kinds for obj in mesh.do(mesh.kube.list(kind))]
    view = View(owner=mesh.get("VirtualService", host), others=tuple(others))
    before: dict[tuple[str, str, str], Any] = {}
    for change in CARRIERS[fault.carriers[0]](fault, place, view):
        kind, namespace, name = change.target
        if isinstance(change, Create):
            before[change.target] = None
            _write(mesh, change.obj)
        else:
            owner = before[change.target] = mesh.get(kind, name, namespace)
            _write(mesh, apply(deepcopy(owner), change.compute(owner)))
    return Laid(mesh, before)


def _write(mesh: Mesh, obj: Any) -> None:
    written = mesh.do(mesh.kube.update(obj) if "uid" in obj["metadata"] else mesh.kube.create(obj))
    assert written is not None
    mesh.synced(written)


def _as_injected(obj: Any) -> Any:
    """A Pod of an echo mesh has its Envoy beside it, and nothing in it says so: as Istio's injector leaves Pods."""
    if obj.get("kind") != "Pod" or obj["metadata"].get("labels", {}).get("sidecar.istio.io/inject") == "false":
        return obj
    spec, status = obj["spec"], obj.get("status") or {}
    containers = [*spec["containers"], {"name": "istio-proxy", "image": "auto"}]
    statuses = [*(status.get("containerStatuses") or ()), {"name": "istio-proxy", "ready": True}]
    return {**obj, "spec": {**spec, "containers": containers}, "status": {**status, "containerStatuses": statuses}}
