"""What the rest of the lab asks of its Kubernetes API, whichever it is.

A module beside this one is a Kubernetes API when it has ``create(place: Place) -> Kube``.
It may have ``TOOLS``, which of `lab.tools` it needs, ``PORTS``, those of the control address that it takes, and
``LOOPBACK_ENDPOINTS``, whether its Endpoints take loopback addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from chaosmesh_ext import errors
from chaosmesh_ext.errors import ApiError

__all__ = ["CONTEXT", "ISTIO_NAMESPACE", "NODE", "Kube", "Obj", "PodLog", "Watcher", "kubeconfig", "refused"]

CONTEXT = "chaosmesh-lab"
"""The name of the kubeconfig's context, cluster and user."""

NODE = "lab"
"""The name of the Node of the control plane; `lab.nodes` has them all."""

ISTIO_NAMESPACE = "istio-system"
"""There from the start, as default is."""

Obj = dict[str, Any]
"""A Kubernetes object as JSON."""

Watcher = Callable[[str, Obj], None]
"""Called on the event loop with ADDED, MODIFIED or DELETED and the object, in order; must not block or change it."""

PodLog = Callable[[Obj, str], str]
"""The output of a Pod's container so far ("" is its first)."""


class Kube(Protocol):
    """A Kubernetes API server of the lab's; kinds are named by their Kind, e.g. ``VirtualService``."""

    @property
    def url(self) -> str:
        """Where it answers, once it was started."""

    async def start(self) -> None:
        """Listen; raises LabError when the address is taken."""

    async def stop(self) -> None:
        """Close every connection and watch."""

    def kubeconfig(self) -> Obj:
        """A kubeconfig of one context."""

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object, or None."""

    async def list(self, kind: str, namespace: str = "") -> list[Obj]:
        """All objects of KIND, of one NAMESPACE or of all."""

    async def apply(self, obj: Obj) -> Obj:
        """Create OBJ, or replace what it has (metadata labels and annotations, and everything but status)."""

    async def update(self, obj: Obj) -> Obj | None:
        """Replace what OBJ has, as `apply` does; None when it, or the very one with its `metadata.uid`, is gone."""

    async def create(self, obj: Obj) -> Obj:
        """Create OBJ with `metadata.name` or `generateName`."""

    async def patch_status(self, obj: Obj, status: Obj) -> Obj | None:
        """Merge STATUS into the status of OBJ; None when it is gone."""

    async def annotate(self, obj: Obj, annotations: dict[str, str]) -> Obj | None:
        """Add ANNOTATIONS to OBJ, changing nothing else; None when it, or the very one with its `metadata.uid`, is
        gone.
        """

    async def bind(self, pod: Obj, node: str) -> Obj | None:
        """Put POD on NODE, as a scheduler does; one that is there already stays.

        None when it, or the very one with its `metadata.uid`, is gone. Raises Conflict when it is on another node.
        """

    async def delete(self, kind: str, namespace: str, name: str, *, grace: int | None = None, uid: str = "") -> None:
        """Delete it; nothing happens when it, or the very one with UID, is gone already.

        A Pod on a node is only marked by `metadata.deletionTimestamp` (MODIFIED), GRACE seconds ahead or what its spec
        says; with a GRACE of 0 it is gone (DELETED). Its kubelet does that once its processes have ended. What has
        finalizers is only marked until they are removed.
        """

    async def record(self, about: Obj, reason: str, message: str, kind: str = "Warning") -> None:
        """Write an Event (Normal or Warning) about an object."""

    def subscribe(self, kinds: Collection[str], watcher: Watcher) -> None:
        """Call WATCHER with every object of KINDS that is there (ADDED), then with every change."""

    def serve_pod_logs(self, pod_log: PodLog) -> None:
        """Answer `kubectl logs` with what POD_LOG(pod, container) returns."""

    def dead(self) -> str:
        """Which program of it died by itself, and its last words; empty while all is well, and after `stop`."""


_ERRORS: dict[int, type[ApiError]] = {
    400: errors.Unprocessable,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    409: errors.Conflict,
    410: errors.Gone,
    415: errors.Unprocessable,
    422: errors.Unprocessable,
    429: errors.TooManyRequests,
}


def refused(status: int, reason: str, message: str) -> ApiError:
    """The error for what an API server answers: its HTTP STATUS, and its own REASON and MESSAGE."""
    kind = errors.ServerError if status >= 500 else _ERRORS.get(status, ApiError)
    return kind(message, status=status, reason=reason)


def kubeconfig(cluster: Obj, user: Obj) -> Obj:
    """A kubeconfig of one context, `CONTEXT`, for the namespace default."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": CONTEXT, "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}],
        "current-context": CONTEXT,
    }
