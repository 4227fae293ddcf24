"""What is there before anybody writes: namespaces, the nodes, and the definitions of the custom kinds."""

from __future__ import annotations

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.discovery import VERSION
from chaosmesh_ext.lab.kube.embedded.kinds import KINDS, Kind, named
from chaosmesh_ext.lab.kube.embedded.objects import Objects
from chaosmesh_ext.lab.nodes import NODES, node

__all__ = ["NAMESPACES", "seed"]

NAMESPACES = ("default", "kube-system", "kube-public", "istio-system")


def seed(objects: Objects) -> None:
    """Fill an empty store."""
    for name in NAMESPACES:
        _create(objects, "Namespace", {"metadata": {"name": name}})
    for name in NODES:
        _create(objects, "Node", node(name), _NODE_STATUS)
    for kind in KINDS:
        if kind.custom:
            _create(objects, "CustomResourceDefinition", _definition(kind), _definition_status(kind))


def _create(objects: Objects, name: str, body: Obj, status: Obj | None = None) -> None:
    objects.create(named(name), "", body, status=status)


_NODE_STATUS: Obj = {
    "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the lab is running"}],
    "nodeInfo": {
        "architecture": "amd64",
        "operatingSystem": "linux",
        "kubeletVersion": VERSION["gitVersion"],
        "osImage": "chaosmesh-lab",
        "containerRuntimeVersion": "processes://1",
        "kernelVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
        "kubeProxyVersion": "",
    },
}


def _names(kind: Kind) -> Obj:
    names: Obj = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.singular,
    }
    if kind.short:
        names["shortNames"] = list(kind.short)
    if kind.categories:
        names["categories"] = list(kind.categories)
    return names


def _definition(kind: Kind) -> Obj:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "metadata": {"name": kind.resource},
        "spec": {
            "group": kind.group,
            "names": _names(kind),
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == kind.version,
                    "schema": schema,
                    "subresources": {"status": {}},
                }
                for version in kind.versions
            ],
            "conversion": {"strategy": "None"},
        },
    }


def _definition_status(kind: Kind) -> Obj:
    return {
        "conditions": [
            {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"},
            {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "it is served"},
        ],
        "acceptedNames": _names(kind),
        "storedVersions": [kind.version],
    }
