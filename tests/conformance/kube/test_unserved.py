"""Kubernetes API: what the embedded API does not serve."""

import pytest
from kube_samples import path, sample

pytestmark = pytest.mark.differs("a lab has what a mesh and its experiments need, and says so of the rest")

_KINDS = [
    "/api/v1/namespaces/NS/persistentvolumeclaims",
    "/api/v1/namespaces/NS/resourcequotas",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis/apps/v1/namespaces/NS/daemonsets",
    "/apis/apps/v1/namespaces/NS/statefulsets",
    "/apis/autoscaling/v2/namespaces/NS/horizontalpodautoscalers",
    "/apis/batch/v1/namespaces/NS/jobs",
    "/apis/events.k8s.io/v1/namespaces/NS/events",
    "/apis/extensions.istio.io/v1alpha1/namespaces/NS/wasmplugins",
    "/apis/networking.istio.io/v1/namespaces/NS/workloadgroups",
    "/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies",
    "/apis/policy/v1/namespaces/NS/poddisruptionbudgets",
]


@pytest.mark.parametrize("where", _KINDS)
def test_kinds(api, ns, seen, side, where):
    """GET {where}"""
    answer = api.get(where.replace("NS", ns))
    assert answer.code == (501 if side == "embedded" else 200)
    seen(str(answer))


def test_definitions(api, seen, side):
    """POST of a CustomResourceDefinition"""
    body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"}}
    answer = api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
    assert answer.code == (501 if side == "embedded" else 422)
    seen(f"{answer.code} {answer.json['reason']}")


@pytest.mark.parametrize("sub", ["ephemeralcontainers", "resize"])
def test_parts_of_pods(api, ns, seen, side, make, sub):
    """GET of a Pod's {sub}"""
    make("Pod")
    answer = api.get(path("Pod", ns, "one", sub))
    assert answer.code == (501 if side == "embedded" else 200)
    seen(str(answer))


def test_tokens(api, ns, seen, side, make):
    """POST for a token of a ServiceAccount"""
    make("ServiceAccount")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["a"]}}
    answer = api.post(path("ServiceAccount", ns, "one", "token"), body)
    assert answer.code == (501 if side == "embedded" else 201)
    seen(str(answer))


def test_protobuf(api, ns, seen, side):
    """POST of a Lease in protobuf"""
    answer = api.post(path("Lease", ns), _protobuf(sample("Lease")), content_type="application/vnd.kubernetes.protobuf")
    assert answer.code == (501 if side == "embedded" else 201)
    seen(str(answer))


def _protobuf(lease):
    """The Lease's kind and name, as Kubernetes' protobuf."""

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    said = field(1, lease["apiVersion"].encode()) + field(2, lease["kind"].encode())
    raw = field(1, field(1, lease["metadata"]["name"].encode()))
    return b"k8s\x00" + field(1, said) + field(2, raw)
