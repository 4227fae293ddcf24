"""The objects that a lab starts with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from chaosmesh_ext.lab.kube.api import ISTIO_NAMESPACE, Obj
from chaosmesh_ext.settings import shipped

__all__ = ["contents", "pods_of"]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def contents(topology: str, name: str) -> list[Obj]:
    """The gateway, and Bookinfo from the files that a cluster takes, or TOPOLOGY (a file), in the order of their needs.

    Faults are allowed in every namespace of the application, and kube-system says that this is the lab NAME.

    Raises InvalidInput for a topology that cannot be.
    """
    folders = [shipped("manifests") / "lab"]
    objects: list[Obj] = []
    if topology:
        from chaosmesh_ext.lab.apps.topology import load_topology, manifests

        objects += manifests(load_topology(Path(topology)))
    else:
        folders.append(shipped("manifests") / "bookinfo")
    for folder in folders:
        for file in sorted(folder.glob("*.yaml")):
            with file.open() as stream:
                objects += [_in_namespace(obj) for obj in yaml.load_all(stream, Loader=_Loader) if obj]
    objects += _labels(objects, name)
    order = {"Namespace": 0, "ServiceAccount": 1, "Deployment": 3}
    return sorted((_in_namespace(obj) for obj in objects), key=lambda obj: order.get(obj["kind"], 2))


def _labels(objects: list[Obj], name: str) -> list[Obj]:
    """The Namespaces with the labels by which the product knows where it may do what."""
    spaces = {obj["metadata"].get("namespace", "default") for obj in objects if obj["kind"] != "Namespace"}
    labels = {space: {"chaosmesh-ext/allow": "true"} for space in sorted({"default", *spaces} - {ISTIO_NAMESPACE})}
    labels["kube-system"] = {"chaosmesh-ext/lab": name}
    found = []
    for space, wanted in labels.items():
        known = [obj for obj in objects if (obj["kind"], obj["metadata"]["name"]) == ("Namespace", space)]
        for obj in known:
            obj["metadata"]["labels"] = {**obj["metadata"].get("labels", {}), **wanted}
        if not known:
            found.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, "labels": wanted}})
    return found


def pods_of(objects: list[Obj]) -> int:
    """How many Pods the Deployments of OBJECTS ask for."""
    return sum(int(o["spec"].get("replicas", 1)) for o in objects if o["kind"] == "Deployment")


def _in_namespace(obj: Obj) -> Obj:
    if obj["kind"] != "Namespace":
        obj["metadata"].setdefault("namespace", "default")
    return obj
