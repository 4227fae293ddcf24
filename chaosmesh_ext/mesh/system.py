"""The system namespace, where a halt and the janitor's Lease are."""

from __future__ import annotations

from typing import Final

from chaosmesh_ext.errors import Conflict, NotFound
from chaosmesh_ext.mesh.client import Client, Obj

__all__ = ["MANAGED", "create_there"]

MANAGED: Final = {"app.kubernetes.io/managed-by": "chaosmesh-ext"}
"""The labels of what we make there."""


def create_there(client: Client, obj: Obj) -> Obj:
    """Create OBJ, and its namespace first where that is not there. Raises Conflict when its name is taken."""
    while True:
        try:
            return client.create(obj)
        except NotFound:
            meta = {"name": obj["metadata"]["namespace"], "labels": dict(MANAGED)}
            try:
                client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
            except Conflict:
                continue  # somebody made it meanwhile
