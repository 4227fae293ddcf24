"""A change that puts a fault in its place: an object of ours, or an edit to somebody's."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.pointer import Op

__all__ = ["Change", "Create", "Edit"]


class Create(msgspec.Struct, frozen=True):
    """An object of ours that shall be made."""

    obj: Obj

    @property
    def target(self) -> tuple[str, str, str]:
        """Kind, namespace and name."""
        return self.obj["kind"], self.obj["metadata"]["namespace"], self.obj["metadata"]["name"]


class Edit(msgspec.Struct, frozen=True):
    """A change to somebody's object: a pure function of its fresh state, called again after each conflict.

    stored: raises InvalidInput where what it wrote is not whole in the object as the API server would keep it.
    """

    kind: str
    namespace: str
    name: str
    compute: Callable[[Obj], list[Op]]
    stored: Callable[[Obj], None] | None = None

    @property
    def target(self) -> tuple[str, str, str]:
        """Kind, namespace and name."""
        return self.kind, self.namespace, self.name


Change = Create | Edit
