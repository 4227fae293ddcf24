"""AuthorizationPolicy: Envoy's RBAC filters before an application, those that deny before the one that allows.

They stand in the listener, as istiod's do: a change of them is one of the listener, which drains its connections, and
the first request on a warm one still meets what was before.
"""

from __future__ import annotations

from collections.abc import Iterable

from chaosmesh_ext.lab.controlplane.embedded.attachment import attached
from chaosmesh_ext.lab.controlplane.embedded.rbac import NEVER, policy
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Snapshot, Workload
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["authorization"]

_TYPE = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"


def authorization(snapshot: Snapshot, pod: Workload) -> list[Obj]:
    """The HTTP filters that decide who may call POD; none where no AuthorizationPolicy is for it."""
    mine = attached(snapshot.authorization_policies, pod)
    by_action = {
        action: [one for one in mine if one["spec"].get("action", "ALLOW") == action] for action in ("DENY", "ALLOW")
    }
    return [
        {
            "name": "envoy.filters.http.rbac",
            "typed_config": {"@type": _TYPE, "rules": {"action": action, "policies": _policies(found)}},
        }
        for action, found in by_action.items()
        if found
    ]


def _policies(objects: Iterable[Obj]) -> Obj:
    out = {}
    for obj in objects:
        meta = obj["metadata"]
        rules = obj["spec"].get("rules") or []
        for index, made in enumerate([policy(rule, meta["namespace"]) for rule in rules] or [NEVER]):
            out[f"ns[{meta['namespace']}]-policy[{meta['name']}]-rule[{index}]"] = made
    return out
