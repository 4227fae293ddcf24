"""EnvoyFilter patches to route configurations, in the order and with the merging of istiod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.lab.controlplane.embedded.messages import canonical
from chaosmesh_ext.lab.controlplane.embedded.snapshot import ROOT_NAMESPACE, Snapshot, Workload
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["Patch", "Patches", "merge", "patched"]


class Patch(msgspec.Struct, frozen=True):
    """One entry of `configPatches`.

    value: the JSON of Envoy's message with its own field names. port: 0 for any. name, vhost: empty for any.
    """

    apply_to: str
    context: str
    value: dict[str, Any]
    name: str = ""
    port: int = 0
    vhost: str = ""

    def reaches(self, context: str, configuration: str, port: int) -> bool:
        """Whether it is meant for a route configuration of that name and port in that context."""
        return (
            self.context in ("ANY", context)
            and self.name in ("", configuration)
            and (not self.port or self.port == port)
        )


class Patches:
    """The patches of all EnvoyFilters; what an object says is read once."""

    def __init__(self) -> None:
        self._read: dict[int, tuple[Obj, tuple[Patch, ...]]] = {}

    def of(self, snapshot: Snapshot, pod: Workload) -> tuple[Patch, ...]:
        """The patches for the proxy of POD, in the order in which they are applied."""
        out: list[Patch] = []
        for obj in snapshot.envoy_filters:
            selector = obj["spec"].get("workloadSelector", {}).get("labels", {})
            in_reach = obj["metadata"]["namespace"] in (ROOT_NAMESPACE, pod.node.namespace)
            if in_reach and selects(selector, pod.node.labels):
                out += self._patches(obj)
        return tuple(out)

    def keep(self, snapshot: Snapshot) -> None:
        """Forget objects that are not in SNAPSHOT."""
        alive = {id(obj) for obj in snapshot.envoy_filters}
        self._read = {key: value for key, value in self._read.items() if key in alive}

    def _patches(self, obj: Obj) -> tuple[Patch, ...]:
        known = self._read.get(id(obj))
        if known is None or known[0] is not obj:
            known = self._read[id(obj)] = (obj, tuple(_patch(entry) for entry in obj["spec"]["configPatches"]))
        return known[1]


def _patch(entry: Mapping[str, Any]) -> Patch:
    match = entry.get("match") or {}
    routes = match.get("routeConfiguration") or {}
    return Patch(
        apply_to=entry["applyTo"],
        context=match.get("context", "ANY"),
        value=canonical(entry["applyTo"], entry["patch"]["value"]),
        name=routes.get("name", ""),
        port=routes.get("portNumber", 0),
        vhost=(routes.get("vhost") or {}).get("name", ""),
    )


def patched(configuration: dict[str, Any], context: str, patches: tuple[Patch, ...], port: int = 0) -> dict[str, Any]:
    """CONFIGURATION with PATCHES applied; it is not changed itself.

    Merges come before insertions. Each inserted route goes in front of those inserted before it.
    """
    name = configuration["name"]
    mine = [patch for patch in patches if patch.reaches(context, name, port)]
    if not mine:
        return configuration
    hosts = [_patched_host(host, mine) for host in configuration["virtual_hosts"]]
    return {**configuration, "virtual_hosts": hosts}


def _patched_host(host: dict[str, Any], patches: list[Patch]) -> dict[str, Any]:
    mine = [patch for patch in patches if patch.vhost in ("", host["name"])]
    for patch in mine:
        if patch.apply_to == "VIRTUAL_HOST":
            host = merge(host, patch.value)
    inserted = [patch.value for patch in mine if patch.apply_to == "HTTP_ROUTE"]
    if inserted:
        host = {**host, "routes": [*reversed(inserted), *host["routes"]]}
    return host


_MAPS = ("typed_per_filter_config", "filter_metadata", "typed_filter_metadata", "exact_match_map")


def merge(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """TARGET with PATCH merged as protobuf messages are in istiod.

    Scalars and durations are replaced, lists appended to, messages merged field by field; an entry of a map is
    replaced whole, so that of two patches for one filter's settings the last one has them all.
    """
    return dict(_merged(target, patch))


def _merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in {**target, **patch}:
        old, new = target.get(key), patch.get(key)
        if key not in patch:
            yield key, old
        elif isinstance(new, list) and isinstance(old, list):
            yield key, [*old, *new]
        elif isinstance(new, dict) and isinstance(old, dict):
            yield key, {**old, **new} if key in _MAPS else merge(old, new)
        else:
            yield key, new
