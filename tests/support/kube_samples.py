"""Objects of many kinds, small and valid on any API server, and their paths."""

from __future__ import annotations

import copy

__all__ = ["CORE", "CUSTOM", "KINDS", "SOME", "path", "sample"]

_POD = {"containers": [{"name": "app", "image": "app:1"}]}
_TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": _POD}
_SELECTOR = {"matchLabels": {"app": "a"}}
_RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
_ISTIO = "networking.istio.io/v1"
_SECURITY = "security.istio.io/v1"
_OBJECTS: dict[str, tuple[str, str, dict]] = {
    "ConfigMap": ("v1", "configmaps", {"data": {"a": "1"}}),
    "Secret": ("v1", "secrets", {"data": {"a": "MQ=="}}),
    "ServiceAccount": ("v1", "serviceaccounts", {}),
    "Service": ("v1", "services", {"spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}}),
    "Pod": ("v1", "pods", {"spec": _POD}),
    "Endpoints": ("v1", "endpoints", {}),
    "Event": ("v1", "events", {"involvedObject": {"kind": "Pod", "name": "a"}, "reason": "Tried", "message": "it was"}),
    "Deployment": ("apps/v1", "deployments", {"spec": {"selector": _SELECTOR, "template": _TEMPLATE}}),
    "ReplicaSet": ("apps/v1", "replicasets", {"spec": {"selector": _SELECTOR, "template": _TEMPLATE}}),
    "Lease": ("coordination.k8s.io/v1", "leases", {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}}),
    "EndpointSlice": (
        "discovery.k8s.io/v1",
        "endpointslices",
        {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": []},
    ),
    "Role": ("rbac.authorization.k8s.io/v1", "roles", {"rules": _RULES}),
    "RoleBinding": (
        "rbac.authorization.k8s.io/v1",
        "rolebindings",
        {
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"},
            "subjects": [{"kind": "User", "name": "me"}],
        },
    ),
    "VirtualService": (
        _ISTIO,
        "virtualservices",
        {"spec": {"hosts": ["details"], "http": [{"route": [{"destination": {"host": "details"}}]}]}},
    ),
    "DestinationRule": (_ISTIO, "destinationrules", {"spec": {"host": "details"}}),
    "ServiceEntry": (
        _ISTIO,
        "serviceentries",
        {"spec": {"hosts": ["a.example"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}},
    ),
    "EnvoyFilter": ("networking.istio.io/v1alpha3", "envoyfilters", {"spec": {"configPatches": []}}),
    "AuthorizationPolicy": (_SECURITY, "authorizationpolicies", {"spec": {"action": "ALLOW"}}),
    "PeerAuthentication": (_SECURITY, "peerauthentications", {"spec": {"mtls": {"mode": "STRICT"}}}),
    "Telemetry": ("telemetry.istio.io/v1", "telemetries", {"spec": {"accessLogging": [{"disabled": True}]}}),
    "HTTPRoute": (
        "gateway.networking.k8s.io/v1",
        "httproutes",
        {"spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "details", "port": 80}]}},
    ),
}
KINDS = tuple(_OBJECTS)
CUSTOM = tuple(kind for kind, (version, _, _) in _OBJECTS.items() if "istio" in version or "gateway" in version)
"""Kinds that a real server knows from a definition."""
SOME = ("ConfigMap", "Service", "Pod", "Deployment", "Lease", "VirtualService", "EnvoyFilter")
"""One of each way that a real server treats kinds."""
CORE = tuple(kind for kind in KINDS if kind not in CUSTOM)


def sample(kind: str, name: str = "one", **metadata: object) -> dict:
    """An object of KIND."""
    api_version, _, body = _OBJECTS[kind]
    made = copy.deepcopy(body)
    if kind == "Event":
        made["involvedObject"]["namespace"] = str(metadata.get("namespace", ""))
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **metadata}, **made}


def path(kind: str, namespace: str = "", name: str = "", sub: str = "") -> str:
    """Where objects of KIND are, in all namespaces where none is given."""
    api_version, plural, _ = _OBJECTS[kind]
    base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    place = f"namespaces/{namespace}" if namespace else ""
    return "/".join(filter(None, (base, place, plural, name, sub)))
