"""The Kubernetes kinds that we speak of, and where an API server keeps them."""

from __future__ import annotations

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.names import check_label, check_subdomain

__all__ = ["KINDS", "Kind", "path"]


class Kind(msgspec.Struct, frozen=True):
    """group: empty for the core one. plural: as in URLs, e.g. ``virtualservices``. namespaced: or of the cluster."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects write it, e.g. ``networking.istio.io/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version


KINDS = {
    "AuthorizationPolicy": Kind("security.istio.io", "v1", "authorizationpolicies"),
    "Canary": Kind("flagger.app", "v1beta1", "canaries"),
    "ConfigMap": Kind("", "v1", "configmaps"),
    "Deployment": Kind("apps", "v1", "deployments"),
    "DestinationRule": Kind("networking.istio.io", "v1", "destinationrules"),
    "EnvoyFilter": Kind("networking.istio.io", "v1alpha3", "envoyfilters"),
    "Event": Kind("", "v1", "events"),
    "Gateway": Kind("gateway.networking.k8s.io", "v1", "gateways"),
    "Gateway.networking.istio.io": Kind("networking.istio.io", "v1", "gateways"),
    "HTTPRoute": Kind("gateway.networking.k8s.io", "v1", "httproutes"),
    "Lease": Kind("coordination.k8s.io", "v1", "leases"),
    "Namespace": Kind("", "v1", "namespaces", namespaced=False),
    "PeerAuthentication": Kind("security.istio.io", "v1", "peerauthentications"),
    "Pod": Kind("", "v1", "pods"),
    "RequestAuthentication": Kind("security.istio.io", "v1", "requestauthentications"),
    "Rollout": Kind("argoproj.io", "v1alpha1", "rollouts"),
    "Service": Kind("", "v1", "services"),
    "ServiceEntry": Kind("networking.istio.io", "v1", "serviceentries"),
    "Sidecar": Kind("networking.istio.io", "v1", "sidecars"),
    "VirtualService": Kind("networking.istio.io", "v1", "virtualservices"),
    "WorkloadEntry": Kind("networking.istio.io", "v1", "workloadentries"),
}
"""By Kind. EnvoyFilter has no later version than v1alpha3 (Istio 1.31)."""


def path(kind: str, namespace: str = "", name: str = "") -> str:
    """The URL path of one object, or of a collection: of one NAMESPACE, or of all when it is empty.

    Raises InvalidInput for a kind that is not in the table, and for what is no Kubernetes name: it would lead to
    another object (``default/../istio-system``).

    >>> path("VirtualService", "default", "details")
    '/apis/networking.istio.io/v1/namespaces/default/virtualservices/details'
    """
    try:
        where = KINDS[kind]
    except KeyError:
        raise InvalidInput(f"kind {kind} is not among those that we use: {', '.join(KINDS)}") from None
    if namespace:
        check_label("the namespace", namespace)
    if name:
        check_subdomain(f"the name of a {kind},", name)
    root = f"/apis/{where.group}/{where.version}" if where.group else f"/api/{where.version}"
    inside = f"/namespaces/{namespace}" if where.namespaced and namespace else ""
    return f"{root}{inside}/{where.plural}" + (f"/{name}" if name else "")
