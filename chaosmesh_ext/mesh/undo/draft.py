"""A draft: the operations of an undo, each computed on the object as the ones before left it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from chaosmesh_ext.mesh.pointer import ABSENT, Op, perform

__all__ = ["Draft", "Obj"]

Obj = dict[str, Any]


class Draft:
    """How OBJ gets rid of RUN, so far. obj: as it is after ops. conflicts: what is left as it is, and why."""

    def __init__(self, obj: Obj, run: str) -> None:
        self.obj, self.run = deepcopy(obj), run
        self.ops: list[Op] = []
        self.conflicts: list[str] = []

    def do(self, op: str, path: str, value: Any = ABSENT) -> None:
        """Have the operation, as JSON Patch writes it."""
        step: Op = {"op": op, "path": path} if value is ABSENT else {"op": op, "path": path, "value": value}
        perform(self.obj, step)
        self.ops.append(step)
