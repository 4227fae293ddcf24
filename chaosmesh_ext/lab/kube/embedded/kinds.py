"""The kinds that the lab's API serves: one line a kind."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

__all__ = ["KINDS", "Kind", "by_kind", "by_plural", "group_versions", "groups", "named"]


class Kind(msgspec.Struct, frozen=True, cache_hash=True):
    """One kind of object.

    name: its Kind. plural: as in paths. versions: served, the first is the one that objects are stored and named in.
    fields: field selectors beside metadata.name and metadata.namespace.
    status, scale: it has that subresource. counted: `metadata.generation` counts changes of what is wanted.
    custom: a real cluster knows it from a CustomResourceDefinition; such kinds have stricter updates, no strategic
    merge patch, and answer a DELETE with a Status. returned: a DELETE answers the deleted object.
    upsert: a PUT creates it. unconditional: a PUT may come without a resourceVersion. writable: clients may write it.
    names: what its names are, a DNS subdomain, label, or path for any path segment.
    """

    name: str
    plural: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    short: tuple[str, ...] = ()
    namespaced: bool = True
    fields: tuple[str, ...] = ()
    status: bool = False
    scale: bool = False
    counted: bool = False
    custom: bool = False
    returned: bool = False
    upsert: bool = False
    unconditional: bool = True
    names: str = "subdomain"
    categories: tuple[str, ...] = ()
    writable: bool = True

    @property
    def version(self) -> str:
        """The version that objects are stored in."""
        return self.versions[0]

    @property
    def api_version(self) -> str:
        """The apiVersion of stored objects."""
        return self.api_version_of(self.version)

    def api_version_of(self, version: str) -> str:
        """The apiVersion for one of the served versions."""
        return f"{self.group}/{version}" if self.group else version

    @property
    def resource(self) -> str:
        """As messages name it: ``virtualservices.networking.istio.io``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified(self) -> str:
        """As some messages name it: ``VirtualService.networking.istio.io``."""
        return f"{self.name}.{self.group}" if self.group else self.name

    @property
    def singular(self) -> str:
        """The singular that kubectl takes."""
        return self.name.lower()


_ISTIO = "networking.istio.io"
_ALL = ("v1", "v1beta1", "v1alpha3")
_BOTH = ("v1", "v1beta1")
_SECURITY = "security.istio.io"
_GATEWAY_API = "gateway.networking.k8s.io"
_RBAC = "rbac.authorization.k8s.io"
_IN_ALL = ("all",)
_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)
_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)


def _of_istio(area: str) -> tuple[str, ...]:
    return "istio-io", f"{area}-istio-io"


def _istio(name: str, plural: str, *short: str, versions: tuple[str, ...] = _ALL) -> Kind:
    return _custom(name, plural, _ISTIO, *short, versions=versions, categories=_of_istio("networking"))


def _custom(
    name: str, plural: str, group: str, *short: str, versions: tuple[str, ...], categories: tuple[str, ...] = ()
) -> Kind:
    return Kind(
        name, plural, group, versions, short, status=True, counted=True, custom=True, unconditional=False,
        categories=categories,
    )  # fmt: skip


def _rbac(name: str, plural: str, *, namespaced: bool) -> Kind:
    return Kind(name, plural, _RBAC, namespaced=namespaced, names="path", upsert=True)


def _none(name: str, plural: str) -> Kind:
    """A kind of which there are none here, and can be none: clients wait for their lists (`istioctl analyze` does)."""
    return Kind(name, plural, "admissionregistration.k8s.io", namespaced=False, counted=True, writable=False,
                categories=("api-extensions",))  # fmt: skip


KINDS: tuple[Kind, ...] = (
    Kind("Namespace", "namespaces", short=("ns",), namespaced=False, status=True, fields=("status.phase",),
         names="label"),
    Kind("Node", "nodes", short=("no",), namespaced=False, status=True, fields=("spec.unschedulable",)),
    Kind("Pod", "pods", short=("po",), status=True, counted=True, returned=True, fields=_POD_FIELDS,
         categories=_IN_ALL),
    Kind("Service", "services", short=("svc",), status=True, returned=True, upsert=True, names="label",
         fields=("spec.clusterIP", "spec.type"), categories=_IN_ALL),
    Kind("ServiceAccount", "serviceaccounts", short=("sa",), returned=True),
    Kind("ConfigMap", "configmaps", short=("cm",)),
    Kind("Secret", "secrets", fields=("type",)),
    Kind("Endpoints", "endpoints", short=("ep",), upsert=True),
    Kind("Event", "events", short=("ev",), upsert=True, fields=_EVENT_FIELDS),
    Kind("Deployment", "deployments", "apps", short=("deploy",), status=True, scale=True, counted=True,
         categories=_IN_ALL),
    Kind("ReplicaSet", "replicasets", "apps", short=("rs",), status=True, scale=True, counted=True,
         categories=_IN_ALL),
    Kind("EndpointSlice", "endpointslices", "discovery.k8s.io", counted=True),
    Kind("Lease", "leases", "coordination.k8s.io", upsert=True, unconditional=False),
    _rbac("Role", "roles", namespaced=True),
    _rbac("RoleBinding", "rolebindings", namespaced=True),
    _rbac("ClusterRole", "clusterroles", namespaced=False),
    _rbac("ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    Kind("CustomResourceDefinition", "customresourcedefinitions", "apiextensions.k8s.io", short=("crd", "crds"),
         namespaced=False, status=True, writable=False, categories=("api-extensions",)),
    _none("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
    _none("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    _istio("VirtualService", "virtualservices", "vs"),
    _istio("DestinationRule", "destinationrules", "dr"),
    _istio("Gateway", "gateways", "gw"),
    _istio("ServiceEntry", "serviceentries", "se"),
    _istio("Sidecar", "sidecars"),
    _istio("WorkloadEntry", "workloadentries", "we"),
    _istio("EnvoyFilter", "envoyfilters", versions=("v1alpha3",)),
    _custom("AuthorizationPolicy", "authorizationpolicies", _SECURITY, "ap", versions=_BOTH,
            categories=_of_istio("security")),
    _custom("PeerAuthentication", "peerauthentications", _SECURITY, "pa", versions=_BOTH,
            categories=_of_istio("security")),
    _custom("RequestAuthentication", "requestauthentications", _SECURITY, "ra", versions=_BOTH,
            categories=_of_istio("security")),
    _custom("Telemetry", "telemetries", "telemetry.istio.io", "telemetry", versions=("v1", "v1alpha1"),
            categories=_of_istio("telemetry")),
    _custom("HTTPRoute", "httproutes", _GATEWAY_API, versions=_BOTH, categories=("gateway-api",)),
    _custom("Gateway", "gateways", _GATEWAY_API, "gtw", versions=_BOTH, categories=("gateway-api",)),
)  # fmt: skip
"""Every kind; where two share a Kind (Gateway), the first is meant by the bare name."""

_BY_PLURAL = {(kind.group, version, kind.plural): kind for kind in KINDS for version in kind.versions}
_BY_KIND = {(kind.group, kind.name): kind for kind in KINDS}
_BY_NAME = {kind.name: kind for kind in reversed(KINDS)} | {kind.qualified: kind for kind in KINDS}


def by_plural(group: str, version: str, plural: str) -> Kind | None:
    """The kind served at a path."""
    return _BY_PLURAL.get((group, version, plural))


def by_kind(name: str, api_version: str = "") -> Kind | None:
    """The kind named NAME, a Kind (``Gateway``) or a qualified one (``Gateway.gateway.networking.k8s.io``).

    With API_VERSION the kind of that group, in whichever served version; None when that version is not served.
    """
    if not api_version:
        return _BY_NAME.get(name)
    group, _, version = api_version.rpartition("/")
    kind = _BY_KIND.get((group, name))
    return kind if kind and version in kind.versions else None


def named(name: str) -> Kind:
    """The kind named NAME, which is one of the table's."""
    return _BY_NAME[name]


def groups() -> dict[str, list[str]]:
    """Each group's versions, the preferred first; the core group is ``""``."""
    found: dict[str, list[str]] = {}
    for kind in KINDS:
        versions = found.setdefault(kind.group, [])
        versions.extend(version for version in kind.versions if version not in versions)
    return found


def group_versions() -> Iterator[tuple[str, str, list[Kind]]]:
    """Each group, version, and the kinds served there."""
    for group, versions in groups().items():
        for version in versions:
            yield group, version, [kind for kind in KINDS if kind.group == group and version in kind.versions]
