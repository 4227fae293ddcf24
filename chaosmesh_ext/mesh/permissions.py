"""What an account must be allowed to do so that a run can inject, look, and undo: verb by verb."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.halt import HALT
from chaosmesh_ext.mesh.janitor import JANITOR
from chaosmesh_ext.mesh.surroundings import ISTIO_NAMESPACE

__all__ = ["Permission", "missing", "needed"]


class Permission(msgspec.Struct, frozen=True):
    """To do VERB with objects of KIND in NAMESPACE.

    name: of the one object that is meant, for a Role may allow just that one; empty for all. carrier: needed only where
    that one carries the fault. optional: without it less is checked, and nothing fails.
    """

    verb: str
    kind: str
    namespace: str
    carrier: str = ""
    optional: bool = False
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.kind}"


_LOOK = {
    "Deployment": "list",
    "DestinationRule": "list",
    "EnvoyFilter": "list",
    "HTTPRoute": "list",  # who owns a host's routes
    "Pod": "list",
    "Service": "get list",
    "ServiceEntry": "list",
    "VirtualService": "list",
}
_WRITE = {
    "EnvoyFilter": ("envoyfilter", "get create patch delete"),
    "VirtualService": ("virtualservice", "get create patch delete"),
    "DestinationRule": ("destinationrule", "get create patch delete"),
    "HTTPRoute": ("httproute", "get patch"),
    **dict.fromkeys(
        ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "Sidecar"),
        ("policy", "get list create patch delete"),
    ),
    "ServiceEntry": ("policy", "get patch"),
}
"""Of those that are not among `_LOOK` the lists are also what `chaos mesh runs` and `recover` look into."""
_LEASE = "get list create patch delete"
_OPTIONAL = {
    "Canary": "list",
    "Event": "create",
    "Gateway": "get list",  # where a fault is at a gateway, and whether a waypoint is there
    "Gateway.networking.istio.io": "get list",
    "Rollout": "list",
    "WorkloadEntry": "list",  # whether a service without pods has machines outside of Kubernetes
}


def needed(namespace: str, system: str) -> Iterator[Permission]:
    """What a run with callers, destination or owner in NAMESPACE needs; SYSTEM: the system namespace."""
    yield Permission("get", "Namespace", namespace, name=namespace)
    for kind, verbs in _LOOK.items():
        yield from (Permission(verb, kind, namespace) for verb in verbs.split())
    for kind, (carrier, verbs) in _WRITE.items():
        yield from (Permission(verb, kind, namespace, carrier) for verb in verbs.split())
    yield from (Permission(verb, "Lease", namespace) for verb in _LEASE.split())
    for kind, verbs in _OPTIONAL.items():
        yield from (Permission(verb, kind, namespace, optional=True) for verb in verbs.split())
    yield Permission("get", "ConfigMap", system, name=HALT)
    yield Permission("get", "Lease", system, name=JANITOR)
    yield Permission("list", "Deployment", ISTIO_NAMESPACE, optional=True)
    yield Permission("get", "Namespace", "kube-system", optional=True, name="kube-system")


def missing(client: Client, permissions: Iterator[Permission]) -> list[Permission]:
    """Those of PERMISSIONS that the account has not, by the API server's own word (SelfSubjectAccessReview)."""
    return [one for one in permissions if not client.may(one.verb, one.kind, one.namespace, one.name)]
