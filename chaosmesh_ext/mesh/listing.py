"""Listing: objects of the whole cluster, as far as the account may read them."""

from __future__ import annotations

from collections.abc import Iterable

from chaosmesh_ext.errors import Forbidden
from chaosmesh_ext.mesh.client import Client, Obj

__all__ = ["everywhere"]


def everywhere(client: Client, kind: str, namespaces: Iterable[str], *, labels: str = "") -> list[Obj]:
    """All objects of KIND with LABELS in the cluster, or, where that is not permitted, those of NAMESPACES.

    Raises Forbidden where the account may list none of them.
    """
    try:
        return client.list(kind, labels=labels)
    except Forbidden:
        if not namespaces:
            raise
        return [obj for namespace in sorted(namespaces) for obj in client.list(kind, namespace, labels=labels)]
