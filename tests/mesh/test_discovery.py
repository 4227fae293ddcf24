from __future__ import annotations

import re

import pytest

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.mesh import place, view
from chaosmesh_ext.model import Scope

V1 = {"app": "productpage", "version": "v1"}


@pytest.fixture
def mesh(api, client, make):
    """productpage-v1 calls details."""
    api.apply(make.service("details"), make.service("productpage"), make.deployment("productpage-v1", V1))
    return client


def found(mesh, **scope):
    return place(mesh, Scope(**{"host": "details", "source": "productpage-v1", **scope}), run="0badcafe", cell="1")


def test_a_workload_is_its_pods_labels_and_a_host_its_whole_name(mesh):
    there = found(mesh)
    assert there.source.labels == V1
    assert there.sources == ("productpage-v1",)
    assert there.destination.host == "details.default.svc.cluster.local"
    assert (there.destination.service, there.destination.port) == ("details", 9080)
    assert str(there.marker) == "0badcafe-1"


@pytest.mark.parametrize(
    "host", ["details", "details.default", "details.default.svc", "details.default.svc.cluster.local"]
)
def test_a_host_may_be_written_in_every_way(mesh, host):
    assert found(mesh, host=host).destination.service == "details"


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ({"host": "detials"}, "no service detials in namespace default: there are details, productpage"),
        ({"source": "productpage-v2"}, "no workload productpage-v2 in namespace default: there are productpage-v1"),
        ({"subset": "v9"}, "no subset v9 of details: its DestinationRules have none"),
        ({"port": 81}, "no port 81: its HTTP ports are 9080"),
        ({"namespace": "empty"}, "no workload productpage-v1 in namespace empty: there are none"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(mesh, scope, words):
    with pytest.raises(NotFound, match=re.escape(words)):
        found(mesh, **scope)


@pytest.mark.parametrize("host", ["nosuch.example.com", "*.example.com", "*", "10.0.0.1"])
def test_a_host_outside_that_nobody_declares_is_said_to_need_a_service_entry(mesh, api, host):
    with pytest.raises(NotFound, match=r"no ServiceEntry that the namespace default sees declares .*: there are none;"):
        found(mesh, host=host)
    spec = {"hosts": ["api.example.com"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}
    meta = {"name": "api", "namespace": "default"}
    api.apply({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta, "spec": spec})
    with pytest.raises(NotFound, match=r"there are api.example.com; a host outside the mesh needs one"):
        found(mesh, host=host)


@pytest.mark.parametrize(
    "scope",
    [
        {"namespace": "istio-system"},
        {"namespace": "kube-system", "source": ""},
        {"host": "istiod.istio-system.svc.cluster.local"},
    ],
)
def test_system_namespaces_are_refused(mesh, api, make, scope):
    api.apply(make.service("istiod", "istio-system"))
    with pytest.raises(InvalidInput, match="system namespace"):
        found(mesh, **scope)


def gateway(name="entry", namespace="istio-system", **labels) -> list[dict]:
    """Pods of a gateway, one on each of two nodes, and what opens it."""
    labels = {"app": name, "istio": name, **labels}
    spec = {"containers": [{"name": "a", "image": "a"}]}
    metas = [{"name": f"{name}-{n}", "namespace": namespace, "labels": {**labels, "pod": str(n)}} for n in (1, 2)]
    pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec} for meta in metas]
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    opened = {"selector": {"istio": name}, "servers": [server]}
    meta = {"name": f"{name}-opened", "namespace": "default"}
    return [*pods, {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": meta, "spec": opened}]


@pytest.mark.parametrize("source", ["entry", "istio-system/entry"])
def test_a_gateway_is_a_caller_by_the_gateways_that_its_pods_serve_wherever_they_run(mesh, api, source):
    api.apply(*gateway())
    there = found(mesh, source=source)
    assert there.at_gateway
    assert (there.source.gateways, there.source.namespace) == (("default/entry-opened",), "istio-system")
    assert there.source.labels == {"app": "entry", "istio": "entry"}
    assert there.sources == ("entry",)
    assert (there.namespace, there.proxies_in) == ("default", "istio-system")


def test_a_gateway_that_serves_nothing_of_istios_or_is_one_of_two_is_refused(mesh, api, make):
    api.apply(*gateway()[:2])
    with pytest.raises(InvalidInput, match="entry in istio-system serves no Gateway of Istio's"):
        found(mesh, source="entry")
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}}, *gateway(namespace="edge"))
    with pytest.raises(InvalidInput, match="gateways of edge and of istio-system are called entry"):
        found(mesh, source="entry")
    assert found(mesh, source="edge/entry").source.namespace == "edge"
    api.apply(make.deployment("idle", {"app": "idle"}, annotations={"inject.istio.io/templates": "gateway"}))
    with pytest.raises(InvalidInput, match="idle is a gateway, and no pod"):
        found(mesh, source="idle")


def test_labels_that_select_another_workload_too_are_refused(mesh, api, make):
    """The fault would land on callers that nobody named."""
    api.apply(make.deployment("page", {"app": "page"}), make.deployment("page-v2", {"app": "page", "version": "v2"}))
    with pytest.raises(InvalidInput, match="also select the pods of page-v2"):
        found(mesh, source="page")


def test_pods_without_a_deployment_are_found_by_their_labels(mesh, api):
    for version in ("v1", "v2"):
        labels = {"app": "batch", "version": version}
        pod = {"metadata": {"name": f"batch-{version}-0", "namespace": "default", "labels": labels}}
        api.apply({"apiVersion": "v1", "kind": "Pod", **pod, "spec": {"containers": [{"name": "a", "image": "a"}]}})
    assert found(mesh, source="batch-v2").source.labels == {"app": "batch", "version": "v2"}
    assert found(mesh, source="batch").sources == ("batch-v1", "batch-v2")


def test_a_subset_is_one_of_a_destination_rule_for_the_host(mesh, api):
    rule = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "details", "namespace": "default"},
        "spec": {"host": "details", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]},
    }
    api.apply(rule)
    assert found(mesh, subset="v1").subset == "v1"
    with pytest.raises(NotFound, match="have v1"):
        found(mesh, subset="v2")


def test_a_service_of_several_http_ports_needs_one_named(mesh, api, make):
    ports = [{"name": "http", "port": 80}, {"name": "http-admin", "port": 81}, {"name": "tcp-x", "port": 82}]
    api.apply(make.service("many", "default", *ports))
    with pytest.raises(InvalidInput, match=re.escape("several HTTP ports (80, 81): write many:80")):
        found(mesh, host="many")
    assert found(mesh, host="many", port=81).destination.ports == (80, 81, 82)
    with pytest.raises(InvalidInput, match="port 82 of many is not HTTP"):
        found(mesh, host="many", port=82)


@pytest.mark.parametrize(
    ("port", "protocol"),
    [
        ({"name": "http"}, "http"),
        ({"name": "grpc-prices"}, "grpc"),
        ({"name": "http", "appProtocol": "grpc"}, "grpc"),
        ({"name": "web", "appProtocol": "kubernetes.io/h2c"}, "kubernetes.io/h2c"),
        ({"name": "web"}, ""),
    ],
)
def test_what_a_port_is_declared_to_speak_is_istios_to_say(mesh, api, make, port, protocol):
    """A port of no declared protocol may speak HTTP: Istio looks at the bytes."""
    api.apply(make.service("spoken", "default", {"port": 80, **port}))
    assert found(mesh, host="spoken").destination.protocol == protocol


def test_the_view_has_the_owner_of_the_routes(mesh, api, make):
    assert view(mesh, found(mesh)).owner is None
    api.apply(make.virtual_service())
    assert view(mesh, found(mesh)).owner["metadata"]["name"] == "details"


@pytest.mark.parametrize(
    "scope",
    [
        {"namespace": "default/../istio-system"},
        {"namespace": "default/../istio-system", "source": ""},
        {"namespace": "default/../istio-system", "host": "details.default.svc.cluster.local", "source": ""},
        {"namespace": "default/pods"},
        {"namespace": "default/../kube-system/pods"},
        {"namespace": "%6bube-system"},
        {"namespace": "kube-system "},
        {"namespace": "KUBE-SYSTEM"},
        {"namespace": "kube-system"},
        {"host": "details.kube-system"},
        {"host": "details.default/../istio-system"},
        {"host": "details/../../../istio-system/services/istiod"},
        {"host": "../../istio-system/services/istiod"},
        {"host": "details.default/../istio-system.svc.cluster.local"},
    ],
)
def test_no_way_of_writing_it_leads_into_a_system_namespace(mesh, api, make, scope):
    """A URL's path is taken for what it comes to: without `..`, and what is in front of it."""
    for there in ("istio-system", "kube-system"):
        api.apply(make.service("details", namespace=there), make.service("istiod", namespace=there))
    with pytest.raises(InvalidInput, match=r"is no Kubernetes name|is a system namespace|no service "):
        found(mesh, **scope)
