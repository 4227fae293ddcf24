"""The objects that the control plane knows: what the API holds, and the last good version of what it refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.gateways import istio_gateways, listeners
from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.routes import virtual_services
from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.status import parents
from chaosmesh_ext.lab.controlplane.embedded.refusal import API_GATEWAY, DRY_RUN, kind_of, refusals
from chaosmesh_ext.lab.controlplane.embedded.reporter import Reporter
from chaosmesh_ext.lab.controlplane.embedded.serviceentries import services
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Service, Snapshot, Workload, by_age, service, workload
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["Inventory"]

_Key = tuple[str, str, str]


class Inventory:
    """Takes each object as it is written. reporter: is told what was refused."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._services: dict[_Key, Service] = {}
        self._workloads: dict[_Key, Workload] = {}
        self._seen: dict[_Key, Obj] = {}
        self._good: dict[_Key, Obj] = {}
        self._refused: dict[_Key, str] = {}
        self._last = Snapshot()

    def take(self, event: str, obj: Obj) -> Obj | None:
        """Learn of an ADDED, MODIFIED or DELETED object; what changed for proxies, or None when nothing did."""
        meta = obj["metadata"]
        key = (kind_of(obj), meta.get("namespace", "default"), meta["name"])
        if obj["kind"] == "Pod":
            return obj if _update(self._workloads, key, None if event == "DELETED" else workload(obj)) else None
        if obj["kind"] == "Service":
            return obj if _update(self._services, key, None if event == "DELETED" else service(obj)) else None
        return self._take_istio(event, key, _own(obj))

    def snapshot(self) -> Snapshot:
        """The state as it is now."""
        entries = by_age(obj for obj in self._good.values() if obj["kind"] == "ServiceEntry")
        found = [*self._services.values(), *services(entries, self._services.values())]
        last = Snapshot.of(found, self._workloads.values(), self._objects(), self._last)
        self._last = last
        return last

    def _objects(self) -> list[Obj]:
        """Every object in force in Istio's words, the Gateway API's too, whose owners are told what became of them."""
        routes = self._of("HTTPRoute")
        gateways = self._of(API_GATEWAY)
        if not routes and not gateways:
            return list(self._good.values())
        hosts, parents_there = {one.host for one in self._services.values()}, listeners(gateways)
        for one in routes:
            self._reporter.attached(one, parents(one, hosts, parents_there))
        said = [*istio_gateways(gateways), *virtual_services(routes, hosts, parents_there)]
        return [*(obj for key, obj in self._good.items() if key[0] != API_GATEWAY), *said]

    def _of(self, kind: str) -> list[Obj]:
        return [obj for key, obj in self._good.items() if key[0] == kind]

    def pod(self, namespace: str, name: str) -> Workload | None:
        """The pod, when it is there and has an address."""
        return self._workloads.get(("Pod", namespace, name))

    def problems(self) -> Iterator[str]:
        """What is not in force, one line each."""
        yield from self._refused.values()
        for one in self._services.values():
            if one.others:
                ports = ", ".join(one.others)
                yield (
                    f"Service {one.namespace}/{one.name}: the lab serves HTTP only, not its ports {ports}; name a port"
                    " http or grpc if that is what it speaks"
                )

    def _take_istio(self, event: str, key: _Key, obj: Obj) -> Obj | None:
        if event == "DELETED":
            self._seen.pop(key, None)
            self._refused.pop(key, None)
            self._reporter.gone(obj)
            return self._good.pop(key, None)
        known = self._seen.get(key)
        if known is not None and known == obj:
            return None
        self._seen[key] = obj
        wrong = refusals(obj)
        if wrong:
            message = "; ".join(str(one) for one in wrong)
            self._refused[key] = f"{key[0]} {key[1]}/{key[2]} refused: {message}"
            self._reporter.trouble(obj, wrong[0].reason, message)
            return None
        self._refused.pop(key, None)
        self._reporter.fine(obj)
        self._good[key] = obj
        return obj


def _update(store: dict[_Key, Any], key: _Key, value: Any) -> bool:
    """Put VALUE, or remove the entry for None; whether that changed anything."""
    if value is None:
        return store.pop(key, None) is not None
    changed: bool = store.get(key) != value
    store[key] = value
    return changed


def _own(obj: Obj) -> Obj:
    """A copy of what matters of an object: identity, age and `spec`, without what changes with every write.

    Of the annotations only the one that changes what the object does.
    """
    meta = obj["metadata"]
    kept = {key: meta[key] for key in ("name", "uid", "creationTimestamp", "generation") if key in meta}
    if DRY_RUN in (meta.get("annotations") or {}):
        kept["annotations"] = {DRY_RUN: meta["annotations"][DRY_RUN]}
    trimmed = {
        "apiVersion": obj.get("apiVersion", ""),
        "kind": obj["kind"],
        "metadata": {**kept, "namespace": meta.get("namespace", "default")},
        "spec": obj.get("spec") or {},
    }
    own: Obj = msgspec.json.decode(msgspec.json.encode(trimmed))
    return own
