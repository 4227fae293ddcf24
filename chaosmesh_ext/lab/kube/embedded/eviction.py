"""The eviction subresource of Pods: a DELETE that a PodDisruptionBudget could hold up, where an API has any."""

from __future__ import annotations

from typing import Final

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.bodies import as_kind, delete_options
from chaosmesh_ext.lab.kube.embedded.deletion import DeleteOptions
from chaosmesh_ext.lab.kube.embedded.kinds import Kind
from chaosmesh_ext.lab.kube.embedded.refusals import bad_request

__all__ = ["EVICTED", "eviction"]

EVICTED: Final[Obj] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
"""What it answers."""

_KIND: Final = Kind("Eviction", "evictions", group="policy", versions=("v1", "v1beta1"))


def eviction(name: str, body: bytes, content_type: str) -> DeleteOptions:
    """How the Eviction in BODY wants the Pod NAME deleted; raises Refused (400) for anything else."""
    said = as_kind(_KIND, "v1beta1" if b"policy/v1beta1" in body else "v1", body, content_type)
    if said["metadata"].get("name", "") != name:
        raise bad_request("name in URL does not match name in Eviction object")
    return delete_options({}, msgspec.json.encode(said.get("deleteOptions") or {}), "")
