"""Of several VirtualServices the one speaks for a host that would under istiod."""

import pytest

from chaosmesh_ext.lab.controlplane.embedded.routes import outbound
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Port, Service, Snapshot, Workload
from chaosmesh_ext.lab.envoy import NodeInfo

FQDN = "reviews.default.svc.cluster.local"
HOST = "reviews:9080"
SLEEP = {"match": [{"sourceLabels": {"app": "sleep"}}]}


def vs(mesh, name, status, *, hosts=("reviews",), namespace="default", http=None, **spec):
    """A VirtualService whose every call ends with STATUS."""
    fault = {"abort": {"httpStatus": status, "percentage": {"value": 100}}}
    entry = {"fault": fault, "route": [{"destination": {"host": FQDN}}], **(http or {})}
    mesh.apply("VirtualService", name, {"hosts": list(hosts), "http": [entry], **spec}, namespace)


def status(mesh, source="sleep-v1", host=HOST):
    return mesh.call(source, host).status


def test_where_the_older_one_has_no_route_for_a_caller_the_younger_speaks(mesh):
    vs(mesh, "a", 501, http=SLEEP)
    vs(mesh, "b", 502)
    assert (status(mesh, "sleep-v1"), status(mesh, "other-v1")) == (501, 502)
    assert mesh.problems() == []


def test_where_none_has_a_route_for_a_caller_it_is_served_as_without_any(mesh):
    vs(mesh, "a", 501, http=SLEEP)
    assert (status(mesh, "sleep-v1"), status(mesh, "other-v1")) == (501, 200)


def test_a_wildcard_does_not_step_in_for_one_that_names_the_host(mesh):
    vs(mesh, "wild", 502, hosts=["*.default.svc.cluster.local"])
    vs(mesh, "named", 501, http=SLEEP)
    assert (status(mesh, "sleep-v1"), status(mesh, "other-v1")) == (501, 200)


def test_the_longer_wildcard_speaks(mesh):
    vs(mesh, "a", 501, hosts=["*.cluster.local"])
    vs(mesh, "b", 502, hosts=["*.default.svc.cluster.local"])
    assert status(mesh) == 502


def test_of_one_age_the_first_by_name_speaks(mesh):
    """Names are compared before namespaces: `a` comes before `a-b`."""
    vs(mesh, "a-b", 501, hosts=[FQDN], namespace="another")
    vs(mesh, "a", 502, hosts=[FQDN], namespace="default")
    assert status(mesh) == 502


def test_what_is_private_to_the_caller_comes_before_what_is_exported_to_it_and_that_before_what_is_public(mesh):
    vs(mesh, "a-public", 501, hosts=[FQDN])
    assert status(mesh) == 501
    vs(mesh, "b-exported", 502, hosts=[FQDN], namespace="another", exportTo=["default", "else"])
    assert status(mesh) == 502
    vs(mesh, "c-private", 503, hosts=[FQDN], exportTo=["default"])
    assert status(mesh) == 503


def test_a_short_host_means_the_namespace_of_its_virtual_service(mesh):
    vs(mesh, "far", 501, namespace="another")
    assert status(mesh) == 200
    vs(mesh, "far", 501, hosts=[FQDN], namespace="another")
    assert status(mesh) == 501


def test_it_speaks_for_each_of_its_hosts(mesh):
    vs(mesh, "two", 501, hosts=["reviews", "details"])
    assert (status(mesh), status(mesh, host="details:9080")) == (501, 501)


def test_a_host_that_no_service_has_is_served_beside_one_that_has(mesh):
    vs(mesh, "two", 501, hosts=["reviews", "Bookstore.com"])
    assert status(mesh, host="bookstore.com") == 501
    vs(mesh, "two", 501, hosts=["bookstore.com"])
    assert status(mesh, host="bookstore.com") == 502


def test_a_destination_without_a_port_is_called_at_the_port_that_was_called(mesh):
    mesh.service("web", port=9081)
    try:
        mesh.route("reviews", {"route": [{"destination": {"host": "web"}}]})
        assert mesh.flags("sleep-v1", HOST) == (503, "NC")
        mesh.route("reviews", {"route": [{"destination": {"host": "web", "port": {"number": 9081}}}]})
        assert mesh.flags("sleep-v1", HOST) == (503, "UH")
    finally:
        mesh.delete("Service", "web")


def test_what_follows_a_route_that_takes_everything_is_not_made(mesh):
    everything = {"match": [{"uri": {"regex": ".*"}}, {"uri": {"prefix": "/"}}]}
    vs(mesh, "all", 501, http=everything)
    dump = mesh.stats("sleep-v1", "/config_dump?resource=dynamic_route_configs")
    assert dump.count('"safe_regex"') == dump.count('"regex": ".*"') > 0
    assert status(mesh) == 501


def service(name, namespace, port=80):
    return Service(
        name=name,
        namespace=namespace,
        host=f"{name}.{namespace}.svc.cluster.local",
        selector={"app": name},
        ports=(Port(port, port),),
        cluster_ip="10.96.0.9" if name == "web" else "",
    )


@pytest.fixture
def on_port_80():
    """The virtual hosts that a pod in `default` has on port 80, by name, each with its domains."""

    def made(*objects):
        node = NodeInfo(
            name="sleep", namespace="default", ip="127.80.1.1", admin="127.80.1.2", workload="sleep", labels={}
        )
        pod = Workload(node=node, ready=True, proxied=True, app="127.80.1.3", ports=())
        snapshot = Snapshot.of([service("web", "default"), service("web-2", "another")], [pod], objects)
        first, proxy = outbound(snapshot, pod, ())
        return {host["name"]: host["domains"] for host in first["virtual_hosts"]}, proxy

    return made


def test_a_service_has_its_names_as_the_caller_may_write_them(on_port_80):
    hosts, proxy = on_port_80()
    assert hosts["web.default.svc.cluster.local:80"] == [
        "web.default.svc.cluster.local",
        "web.default.svc.cluster.local.",
        "web",
        "web.default.svc",
        "web.default",
        "10.96.0.9",
    ]
    assert hosts["web-2.another.svc.cluster.local:80"] == [
        "web-2.another.svc.cluster.local",
        "web-2.another.svc.cluster.local.",
        "web-2.another.svc",
        "web-2.another",
    ]
    assert {"web", "web:80"} <= {domain for host in proxy["virtual_hosts"] for domain in host["domains"]}


def test_on_port_80_a_host_that_no_service_has_is_served_alone(on_port_80):
    """istiod does so for hosts of the outside world; on other ports it does not."""
    http = [{"route": [{"destination": {"host": "web"}}]}]
    meta = {"name": "outside", "namespace": "default"}
    hosts, _ = on_port_80(
        {"kind": "VirtualService", "metadata": meta, "spec": {"hosts": ["bookstore.com"], "http": http}}
    )
    assert hosts["bookstore.com:80"] == ["bookstore.com"]


def test_no_domain_is_there_twice(on_port_80):
    """Envoy would refuse all routes: the first one keeps it."""
    http = [{"route": [{"destination": {"host": "web"}}]}]
    meta = {"name": "clash", "namespace": "default"}
    spec = {"hosts": ["web.default", "web-2.another"], "http": http}
    hosts, _ = on_port_80({"kind": "VirtualService", "metadata": meta, "spec": spec})
    domains = [domain for found in hosts.values() for domain in found]
    assert len(domains) == len(set(domains))
    assert hosts["web.default:80"] == ["web.default"]
