"""Where a request goes: a path of the API, taken apart."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from chaosmesh_ext.lab.kube.embedded.kinds import KINDS, Kind, by_plural
from chaosmesh_ext.lab.kube.embedded.refusals import NoSuchPage, Refused, no_such_path, not_implemented

__all__ = ["Target", "target"]

_OF_NAMESPACES = ("status", "finalize")
_UNSERVED = {
    "": ("limitranges", "persistentvolumeclaims", "persistentvolumes", "podtemplates", "replicationcontrollers",
         "resourcequotas"),
    "admissionregistration.k8s.io": ("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
    "apps": ("controllerrevisions", "daemonsets", "statefulsets"),
    "autoscaling": ("horizontalpodautoscalers",),
    "batch": ("cronjobs", "jobs"),
    "events.k8s.io": ("events",),
    "extensions.istio.io": ("wasmplugins",),
    "networking.istio.io": ("proxyconfigs", "workloadgroups"),
    "networking.k8s.io": ("ingressclasses", "ingresses", "networkpolicies"),
    "policy": ("poddisruptionbudgets",),
    "storage.k8s.io": ("storageclasses",),
}  # fmt: skip
"""What clients of a whole cluster may ask for, by group."""


class Target(msgspec.Struct, frozen=True):
    """A collection (no name) or an object, perhaps a subresource of it, in one version of its kind.

    namespace: "" for cluster-scoped kinds, and for a collection over all namespaces.
    """

    kind: Kind
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def target(path: str) -> Target:
    """What PATH, below /api/ or /apis/, speaks of.

    Raises Refused: 404 where nothing is served, 501 for what a real API server has and this one has not.
    """
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise NoSuchPage
    if rest and rest[0] == "watch":
        raise not_implemented("paths with /watch/, deprecated since Kubernetes 1.11: list with ?watch=true")
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in _OF_NAMESPACES):
        namespace, rest = rest[1], rest[2:]
    kind = by_plural(group, version, rest[0]) if rest else None
    if kind is None and rest and rest[0] in _UNSERVED.get(group, ()):
        named = f"{rest[0]}.{group}" if group else rest[0]
        raise not_implemented(f"{named}: it has what a mesh and its experiments need, see `kubectl api-resources`")
    nowhere = _nowhere(group)
    if kind is None or len(rest) > 3 or "" in rest or (namespace and not kind.namespaced):
        raise nowhere
    name, subresource = (*rest[1:], "", "")[:2]
    if name and kind.namespaced and not namespace:
        raise nowhere
    return Target(kind, version, namespace, name, subresource)


def _nowhere(group: str) -> Refused:
    """Groups that a real server has built in answer in JSON, what it only knows from definitions in plain text."""
    return no_such_path() if group in _BUILT_IN else NoSuchPage()


_BUILT_IN = {kind.group for kind in KINDS if not kind.custom}
