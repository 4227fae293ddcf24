"""What the rest of the lab asks of its Kubernetes API, whichever it is.

A module beside this one is a Kubernetes API when it has ``create(place: Place) -> Kube``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

__all__ = ["Kube", "Obj", "Watcher"]

Obj = dict[str, Any]
"""A Kubernetes object as JSON."""

Watcher = Callable[[str, Obj], None]
"""Called on the event loop with ADDED, MODIFIED or DELETED and the object, in order; must not block or change it."""


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

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete it; nothing happens when it is gone already."""

    async def record(self, about: Obj, reason: str, message: str, kind: str = "Warning") -> None:
        """Write an Event (Normal or Warning) about an object."""

    def subscribe(self, kinds: Collection[str], watcher: Watcher) -> None:
        """Call WATCHER with every object of KINDS that is there (ADDED), then with every change."""
