"""EnvoyFilter patches that put HTTP filters into listeners, where and in the order in which istiod puts them."""

from __future__ import annotations

from collections.abc import Iterable

from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patch
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["HTTP_MANAGER", "with_inserted"]

HTTP_MANAGER = "envoy.filters.network.http_connection_manager"


def with_inserted(filters: list[Obj], context: str, listener: str, port: int, patches: Iterable[Patch]) -> list[Obj]:
    """FILTERS of the HTTP connection manager of a LISTENER (by name, on PORT) with those of PATCHES among them.

    Each is inserted beside the first filter that it names, those inserted before included, or else in front of all
    (INSERT_AFTER: behind all, which Envoy refuses); one that names a filter that is not there is not inserted.
    """
    out = list(filters)
    for patch in patches:
        if patch.apply_to != "HTTP_FILTER" or not patch.reaches_listener(context, listener, port, HTTP_MANAGER):
            continue
        at = 0
        if patch.sub_filter and patch.operation != "INSERT_FIRST":
            found = next((index for index, one in enumerate(out) if one["name"] == patch.sub_filter), None)
            if found is None:
                continue
            at = found + (patch.operation == "INSERT_AFTER")
        elif patch.operation == "INSERT_AFTER":
            at = len(out)
        out.insert(at, patch.value)
    return out
