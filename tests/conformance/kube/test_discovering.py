"""Kubernetes API: discovery and OpenAPI."""

import pytest

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


_SERVED = {
    "v1": "configmaps endpoints events namespaces nodes pods secrets serviceaccounts services",
    "apps/v1": "deployments replicasets",
    "coordination.k8s.io/v1": "leases",
    "discovery.k8s.io/v1": "endpointslices",
    "rbac.authorization.k8s.io/v1": "clusterrolebindings clusterroles rolebindings roles",
    "apiextensions.k8s.io/v1": "customresourcedefinitions",
    "networking.istio.io/v1": "destinationrules gateways serviceentries sidecars virtualservices workloadentries",
    "networking.istio.io/v1beta1": "destinationrules gateways serviceentries sidecars virtualservices workloadentries",
    "networking.istio.io/v1alpha3": "destinationrules envoyfilters gateways virtualservices",
    "security.istio.io/v1": "authorizationpolicies peerauthentications requestauthentications",
    "telemetry.istio.io/v1": "telemetries",
    "gateway.networking.k8s.io/v1": "gateways httproutes",
    "authorization.k8s.io/v1": "selfsubjectaccessreviews selfsubjectrulesreviews subjectaccessreviews",
    "authentication.k8s.io/v1": "selfsubjectreviews",
}


def _where(group_version):
    return f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"


_FIXED = pytest.mark.differs("the embedded API serves a fixed set of kinds: it takes no further definitions")


@pytest.mark.parametrize(
    ("group_version", "plural"),
    [
        pytest.param(group_version, plural, marks=[_FIXED] if plural == "customresourcedefinitions" else [])
        for group_version, plurals in _SERVED.items()
        for plural in plurals.split()
    ],
)
def test_resources(api, seen, group_version, plural):
    """What {group_version} says of its {plural}"""
    document = api.get(_where(group_version)).json
    assert document["groupVersion"] == group_version
    [found] = [one for one in document["resources"] if one["name"] == plural]
    subs = sorted(
        one["name"].partition("/")[2] for one in document["resources"] if one["name"].startswith(f"{plural}/")
    )
    found["verbs"] = sorted(found["verbs"])
    shown = {
        key: value for key, value in found.items() if key not in ("storageVersionHash", "name", "group", "version")
    }
    seen(
        f"{', '.join(f'{key}: {shown[key]}' for key in sorted(shown))}; subresources {[s for s in subs if s in ('status', 'scale', 'log', 'eviction')]}"
    )


def test_core_versions(api, seen):
    """GET /api"""
    document = api.get("/api").json
    seen(f"{document['kind']} {document['versions']}, {sorted(document)}")


@pytest.mark.parametrize("group", sorted({gv.partition("/")[0] for gv in _SERVED if "/" in gv}))
def test_groups(api, seen, group):
    """GET /apis/{group}, and the same among /apis"""
    one = api.get(f"/apis/{group}").json
    [among] = [found for found in api.get("/apis").json["groups"] if found["name"] == group]
    assert {key: value for key, value in one.items() if key not in ("kind", "apiVersion")} == among
    versions = [found["version"] for found in one["versions"]]
    seen(f"{one['kind']} {one['apiVersion']}, versions {versions}, preferred {one['preferredVersion']['version']}")


@pytest.mark.parametrize("where", ["/api", "/apis"])
def test_aggregated(api, seen, where):
    """GET {where} in one document of all"""
    answer = api.get(where, accept=f"{_AGGREGATED},application/json")
    document = answer.json
    groups = {item["metadata"].get("name", ""): item for item in document["items"]}
    kinds = {
        (version["version"], resource["resource"]): (resource["responseKind"]["kind"], resource["scope"])
        for version in groups["networking.istio.io" if where == "/apis" else ""]["versions"]
        for resource in version["resources"]
    }
    key = ("v1", "virtualservices" if where == "/apis" else "pods")
    seen(f"{document['kind']} {document['apiVersion']}, {answer.headers['Content-Type']}, {key[1]}: {kinds[key]}")


def test_preferred_order(api, seen):
    """The versions of networking.istio.io in the document of all, best first"""
    document = api.get("/apis", accept=_AGGREGATED).json
    [group] = [item for item in document["items"] if item["metadata"]["name"] == "networking.istio.io"]
    seen(str([version["version"] for version in group["versions"]]))


@pytest.mark.parametrize("where", ["/openapi/v2", "/openapi/v3", "/openapi/v3/apis/networking.istio.io/v1"])
def test_openapi(api, seen, where):
    """GET {where}"""
    answer = api.get(where)
    assert answer.code == 200
    patched = ""
    if where == "/openapi/v2":
        one = answer.json["paths"]["/apis/networking.istio.io/v1/namespaces/{namespace}/virtualservices/{name}"]
        patched = f", a patch of {sorted(one['patch']['x-kubernetes-group-version-kind'].items())}"
    if where == "/openapi/v3":
        assert answer.json["paths"]["apis/networking.istio.io/v1"]["serverRelativeURL"]
    seen(f"{sorted(set(answer.json) & {'swagger', 'openapi', 'info', 'paths'})}{patched}")


def test_unknown_openapi(api, seen):
    """GET /openapi/v3 of a group that is not there"""
    answer = api.get("/openapi/v3/apis/example.com/v1")
    assert answer.code == 404
    seen(str(answer))


@pytest.mark.parametrize("name", ["virtualservices.networking.istio.io", "httproutes.gateway.networking.k8s.io"])
def test_definitions(api, seen, name):
    """The definition of {name}"""
    spec = api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}").json
    conditions = {one["type"]: one["status"] for one in spec["status"]["conditions"] if one["status"] == "True"}
    versions = sorted(one["name"] for one in spec["spec"]["versions"] if one["served"])
    seen(
        f"{spec['spec']['scope']}, {spec['spec']['names']['kind']}, {versions}, {sorted(set(conditions) & {'Established', 'NamesAccepted'})}"
    )
