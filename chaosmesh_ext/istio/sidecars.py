"""Istio's Sidecars: which one rules a workload, and what its `egress` lets in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.istio.selectors import covers, selects

__all__ = ["EVERYTHING", "OF_THE_LAB", "Imports", "imports", "is_of_the_lab", "ruling"]

OF_THE_LAB = {"app.kubernetes.io/managed-by": "chaosmesh-ext-lab"}
"""The label of what a lab writes for itself."""

EVERYTHING = ("*/*",)
"""The `hosts` of a proxy that no Sidecar rules, or one without `egress`."""


def ruling(
    sidecars: Iterable[Mapping[str, Any]], namespace: str, labels: Mapping[str, str], root: str = "istio-system"
) -> Mapping[str, Any] | None:
    """The one of SIDECARS that istiod goes by for a pod of NAMESPACE with LABELS; None when none does.

    Of those in the pod's namespace with a `workloadSelector` for it the oldest (whole seconds, then by name); else the
    oldest there without one; else the oldest without one in the ROOT namespace. They are never merged. Those of a lab
    on the real control plane (`OF_THE_LAB`) do not count: they say what the ruling one says, at the lab's addresses.
    """
    own = sorted((one for one in sidecars if not is_of_the_lab(one)), key=_age)
    for home in dict.fromkeys((namespace, root)):
        here = [one for one in own if one["metadata"]["namespace"] == home]
        for one in here:
            selector = one["spec"].get("workloadSelector")
            if home == namespace and selector is not None and selects(selector.get("labels") or {}, labels):
                return one
        for one in here:
            if one["spec"].get("workloadSelector") is None:
                return one
    return None


def is_of_the_lab(obj: Mapping[str, Any]) -> bool:
    """Whether OBJ is one by which a lab does what interception does on a cluster."""
    labels = obj["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in OF_THE_LAB.items())


def _age(obj: Mapping[str, Any]) -> tuple[str, str, str]:
    meta = obj["metadata"]
    return meta.get("creationTimestamp") or "", meta["name"], meta["namespace"]


class Imports(msgspec.Struct, frozen=True):
    """What the `hosts` of `egress` let in, by namespace (``*`` is any). excluded: those that began with ``~``."""

    imported: Mapping[str, tuple[str, ...]]
    excluded: Mapping[str, tuple[str, ...]]

    def service(self, namespace: str, host: str) -> bool:
        """Whether HOST, of a service in NAMESPACE, is let in."""
        return not self._is_out(namespace, host) and any(
            covers(pattern, host) for home in (namespace, "*") for pattern in self.imported.get(home, ())
        )

    def virtual_service(self, namespace: str, hosts: Iterable[str]) -> bool:
        """Whether a VirtualService in NAMESPACE for HOSTS is let in: one host is enough, and wider ones are, too."""
        return any(
            (covers(pattern, host) or covers(host, pattern)) and not self._is_out(namespace, host)
            for host in hosts
            for home in (namespace, "*")
            for pattern in self.imported.get(home, ())
        )

    def _is_out(self, namespace: str, host: str) -> bool:
        return any(covers(pattern, host) for home in (namespace, "*") for pattern in self.excluded.get(home, ()))


def imports(hosts: Iterable[str], namespace: str) -> Imports:
    """The HOSTS (``namespace/host``, ``./*``, ``~*/host``) of a Sidecar in force for NAMESPACE."""
    found: dict[bool, dict[str, tuple[str, ...]]] = {True: {}, False: {}}
    for entry in hosts:
        home, _, host = entry.partition("/")
        out = home.startswith("~")
        home = home.removeprefix("~") or "*"
        home = namespace if home == "." else home
        found[out][home] = (*found[out].get(home, ()), host)
    return Imports(found[False], found[True])
