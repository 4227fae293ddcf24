"""The documents by which a client learns what is served: groups, versions, resources, old style and aggregated."""

from __future__ import annotations

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import Kind, group_versions, groups
from chaosmesh_ext.lab.kube.embedded.reviews import REVIEWS

__all__ = ["VERSION", "aggregated", "api_group", "api_groups", "api_resources", "api_versions", "paths", "served"]

VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.0",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-04-22T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""What /version says: the Kubernetes whose behaviour this one follows."""

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_READ = ["get", "list", "watch"]
_SUB = ["get", "patch", "update"]
_PROXY = ["create", "delete", "get", "patch", "update"]
_AGGREGATED = "apidiscovery.k8s.io"


def served() -> dict[str, list[str]]:
    """Each group and its versions, those of the reviews included."""
    return groups() | {group: ["v1"] for group, _ in REVIEWS}


def paths() -> list[str]:
    """Every path that says what is below it."""
    found = ["/api", "/apis", "/openapi/v3"]
    for group, versions in served().items():
        base = f"/apis/{group}" if group else "/api"
        found += [base, *(f"{base}/{version}" for version in versions)]
    return list(dict.fromkeys(found))


def api_versions(address: str) -> Obj:
    """The document at /api."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def api_groups() -> Obj:
    """The document at /apis."""
    found = [_group(group, versions) for group, versions in served().items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def api_group(group: str) -> Obj | None:
    """The document at /apis/GROUP; None when it is not served."""
    versions = served().get(group) if group else None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)} if versions else None


def _group(group: str, versions: list[str]) -> Obj:
    found = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": found, "preferredVersion": found[0]}


def api_resources(group: str, version: str) -> Obj | None:
    """The document at /api/v1 and /apis/GROUP/VERSION; None when it is not served."""
    kinds = next((kinds for g, v, kinds in group_versions() if (g, v) == (group, version)), [])
    found = [entry for kind in kinds for entry in _resources(kind)]
    found += [_review(plural, name) for (g, plural), name in REVIEWS.items() if (g, "v1") == (group, version)]
    if not found:
        return None
    named = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": named, "resources": found}


def _resources(kind: Kind) -> list[Obj]:
    main: Obj = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": _verbs(kind),
    }
    if kind.short:
        main["shortNames"] = list(kind.short)
    if kind.categories:
        main["categories"] = list(kind.categories)
    return [main, *(_subresource(kind, *sub) for sub in subresources(kind))]


def _verbs(kind: Kind) -> list[str]:
    if not kind.writable:
        return _READ
    return [verb for verb in _VERBS if (kind.name, verb) != ("Namespace", "deletecollection")]


def subresources(kind: Kind) -> list[tuple[str, str, str, str, list[str]]]:
    """Each subresource of KIND: its name, and the Kind, group, version and verbs it speaks."""
    found: list[tuple[str, str, str, str, list[str]]] = []
    if kind.status:
        found.append(("status", kind.name, "", "", _SUB))
    if kind.scale:
        found.append(("scale", "Scale", "autoscaling", "v1", _SUB))
    if kind.name in ("Pod", "Service"):
        found.append(("proxy", f"{kind.name}ProxyOptions", "", "", _PROXY))
    if kind.name == "Pod":
        found.append(("log", "Pod", "", "", ["get"]))
        found.append(("eviction", "Eviction", "policy", "v1", ["create"]))
    return found


def _subresource(kind: Kind, name: str, speaks: str, group: str, version: str, verbs: list[str]) -> Obj:
    entry: Obj = {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": speaks,
        "verbs": verbs,
    }
    return {**entry, "group": group, "version": version} if group else entry


def _review(plural: str, name: str) -> Obj:
    return {"name": plural, "singularName": name.lower(), "namespaced": False, "kind": name, "verbs": ["create"]}


def aggregated(*, core: bool, version: str) -> Obj:
    """All of it in one document, for /api (CORE) or /apis, in VERSION v2 or v2beta1."""
    items = [_aggregated_group(group, versions) for group, versions in served().items() if (not group) is core]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{_AGGREGATED}/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated_group(group: str, versions: list[str]) -> Obj:
    found = []
    for version in versions:
        resources = (api_resources(group, version) or {"resources": []})["resources"]
        whole = [_aggregated_resource(group, version, entry) for entry in resources if "/" not in entry["name"]]
        for entry in resources:
            plural, _, sub = entry["name"].partition("/")
            if sub:
                owner = next(one for one in whole if one["resource"] == plural)
                owner.setdefault("subresources", []).append(
                    {"subresource": sub, "responseKind": _kind_of(group, version, entry), "verbs": entry["verbs"]}
                )
        found.append({"version": version, "resources": whole, "freshness": "Current"})
    return {"metadata": {"name": group} if group else {}, "versions": found}


def _aggregated_resource(group: str, version: str, entry: Obj) -> Obj:
    renamed: Obj = {
        "resource": entry["name"],
        "responseKind": _kind_of(group, version, entry),
        "scope": "Namespaced" if entry["namespaced"] else "Cluster",
        "singularResource": entry["singularName"],
        "verbs": entry["verbs"],
    }
    return renamed | {key: entry[key] for key in ("shortNames", "categories") if key in entry}


def _kind_of(group: str, version: str, entry: Obj) -> Obj:
    return {
        "group": entry.get("group", group),
        "version": entry.get("version", version),
        "kind": entry["kind"],
    }
