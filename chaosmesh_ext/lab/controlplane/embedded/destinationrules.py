"""Which DestinationRule is in force for a service, as seen from a namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers, selects
from chaosmesh_ext.lab.controlplane.embedded.snapshot import ROOT_NAMESPACE, Service, Snapshot
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["rule", "subsets"]


class _Merged(msgspec.Struct):
    """Rules of one namespace for one host that are exported alike. exported: their `exportTo`. selector: theirs."""

    exported: frozenset[str]
    rule: Obj

    @property
    def selector(self) -> Mapping[str, str] | None:
        return _selector(self.rule)


def rule(snapshot: Snapshot, namespace: str, service: Service, labels: Mapping[str, str] | None = None) -> Obj | None:
    """The DestinationRule for SERVICE in force for callers of NAMESPACE with LABELS, or None.

    LABELS: None for a callee, whom no workloadSelector means.
    Looked for in the caller's namespace, then the service's, then the root's; in each the most specific host counts.
    Callers in the root namespace begin with what is private to it: its other rules are meant for everybody.
    """
    wanted = _private if namespace == ROOT_NAMESPACE else _local
    found = _merged(snapshot, namespace, service.host, wanted)
    if found:
        return _meant(found, labels)
    for home in (service.namespace, ROOT_NAMESPACE):
        for one in reversed(_merged(snapshot, home, service.host, lambda *args: not _private(*args))):
            if not one.exported or not one.exported.isdisjoint(("*", namespace)):
                return one.rule
    return None


def _meant(found: list[_Merged], labels: Mapping[str, str] | None) -> Obj | None:
    """Of the rules of the caller's own namespace the first whose selector means it, else the last without one."""
    for one in found:
        if one.selector is not None and labels is not None and selects(one.selector, labels):
            return one.rule
    return next((one.rule for one in reversed(found) if one.selector is None), None)


def _selector(obj: Obj) -> Mapping[str, str] | None:
    chosen = obj["spec"].get("workloadSelector")
    return None if chosen is None else chosen.get("matchLabels") or {}


def subsets(found: Obj | None) -> dict[str, Mapping[str, Any]]:
    """The subsets of a DestinationRule by name."""
    return {subset["name"]: subset for subset in found["spec"].get("subsets", [])} if found else {}


def _local(exported: frozenset[str], home: str) -> bool:
    return not exported or not exported.isdisjoint(("*", ".", home))


def _private(exported: frozenset[str], home: str) -> bool:
    return exported in ({"."}, {home})


def _merged(snapshot: Snapshot, home: str, host: str, wanted: Callable[[frozenset[str], str], bool]) -> list[_Merged]:
    """The WANTED rules of the namespace HOME with the most specific host that covers HOST, the oldest first."""
    found: dict[str, list[_Merged]] = {}
    for obj in snapshot.destination_rules:
        # what is for workloads of one namespace is for nobody elsewhere
        exported = frozenset(obj["spec"].get("exportTo") or (() if _selector(obj) is None else (".",)))
        if obj["metadata"]["namespace"] != home or not wanted(exported, home):
            continue
        named = obj["spec"]["host"]
        pattern = named if named == "*" else fqdn(named, home)
        if covers(pattern, host):
            _add(found.setdefault(pattern, []), exported, obj)
    return found[min(found, key=_specificity)] if found else []


def _specificity(pattern: str) -> tuple[bool, int, str]:
    return pattern.startswith("*"), -len(pattern), pattern


def _add(groups: list[_Merged], exported: frozenset[str], obj: Obj) -> None:
    """Merge OBJ into the groups whose reach it has, or more; else it stands alone, and the last one counts.

    One with a selector and one without are merged as well, where they are exported alike: the younger is then for
    whom the older is for, as in istiod (whose proxies get the clusters of that without endpoints, and wait for ever).
    """
    apart = True
    for one in groups:
        if exported == one.exported or (one.exported and exported >= one.exported):
            mine, theirs = _selector(obj), one.selector
            if mine is not None and theirs is not None and mine != theirs:
                apart = True
                continue
            one.rule = _joined(one.rule, obj)
            apart = exported != one.exported and (mine is None) != (theirs is None)
    if apart:
        groups.append(_Merged(exported, obj))


def _joined(older: Obj, newer: Obj) -> Obj:
    """OLDER with the subsets that only NEWER has, and with its policy where OLDER has none."""
    spec = dict(older["spec"])
    spec["subsets"] = _unique([*spec.get("subsets", []), *newer["spec"].get("subsets", [])])
    if "trafficPolicy" in newer["spec"]:
        spec.setdefault("trafficPolicy", newer["spec"]["trafficPolicy"])
    return {**older, "spec": spec}


def _unique(named: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    out: dict[str, Mapping[str, Any]] = {}
    for subset in named:
        out.setdefault(subset["name"], subset)
    return list(out.values())
