"""EnvoyFilter patches that put HTTP filters into listeners, or change those there, as and in the order istiod does."""

from __future__ import annotations

from collections.abc import Iterable

from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patch
from chaosmesh_ext.lab.controlplane.embedded.merging import merge
from chaosmesh_ext.lab.controlplane.embedded.wire import of_url
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["HTTP_MANAGER", "with_inserted"]

HTTP_MANAGER = "envoy.filters.network.http_connection_manager"


def with_inserted(filters: list[Obj], context: str, listener: str, port: int, patches: Iterable[Patch]) -> list[Obj]:
    """FILTERS of the HTTP connection manager of a LISTENER (by name, on PORT) with those of PATCHES among them.

    Each is inserted beside the first filter that it names, those inserted before included, or else in front of all
    (INSERT_AFTER: behind all, which Envoy refuses); one that names a filter that is not there is not inserted. A MERGE
    changes the configuration of the filters that it names.
    """
    out = list(filters)
    for patch in patches:
        if patch.apply_to != "HTTP_FILTER" or not patch.reaches_listener(context, listener, port, HTTP_MANAGER):
            continue
        if patch.operation == "MERGE":
            out = [_merged(one, patch) for one in out]
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


def _merged(one: Obj, patch: Patch) -> Obj:
    """ONE with PATCH merged into its configuration, where it is meant; istiod leaves one of another type as it is."""
    ours, theirs = patch.value["typed_config"], one.get("typed_config") or {}
    if one["name"] != patch.sub_filter or theirs.get("@type") != ours["@type"]:
        return one
    url = {"@type": ours["@type"]}
    return {**one, "typed_config": url | merge(of_url(ours["@type"]), _rest(theirs), _rest(ours))}


def _rest(config: Obj) -> Obj:
    return {key: value for key, value in config.items() if key != "@type"}
