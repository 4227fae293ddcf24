"""What one proxy is told of: nothing is lost that does not have to be."""

from chaosmesh_ext.lab.controlplane.embedded.scopes import scope
from chaosmesh_ext.lab.controlplane.embedded.serviceentries import conflicts, services
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Snapshot, service, workload


def kubernetes(name, namespace="default"):
    ports = [{"name": "http", "port": 80}]
    return service(
        {"metadata": {"name": name, "namespace": namespace}, "spec": {"selector": {"app": name}, "ports": ports}}
    )


def pod(name="a"):
    return workload(
        {"metadata": {"name": name, "labels": {"app": name}}, "spec": {}, "status": {"podIP": "127.70.1.1"}}
    )


def entry(name, *hosts, namespace="default", **spec):
    meta = {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"}
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    return {
        "kind": "ServiceEntry",
        "metadata": meta,
        "spec": {"hosts": list(hosts), "ports": ports, "resolution": "STATIC", **spec},
    }


def sidecar(*hosts):
    return {
        "kind": "Sidecar",
        "metadata": {"name": "s", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"egress": [{"hosts": list(hosts)}]},
    }


def seen(*objects):
    known = kubernetes("a"), kubernetes("b")
    entries = [one for one in objects if one["kind"] == "ServiceEntry"]
    return scope(Snapshot.of([*known, *services(entries, known)], [pod()], objects), pod())


def test_without_entries_and_sidecars_everything_is_seen_at_no_cost():
    snapshot = Snapshot.of([kubernetes("a")], [pod()], [])
    assert scope(snapshot, pod()) is snapshot


def test_a_pod_is_called_at_its_ports_though_it_does_not_import_itself():
    """Else a Sidecar would keep its callers away."""
    found = seen(sidecar("./b.default.svc.cluster.local"))
    assert [one.name for one in found.services] == ["b"]
    assert [one.name for one in found.services_of(pod())] == ["a"]


def test_kubernetes_own_service_keeps_its_host():
    found = seen(entry("x", "b.default.svc.cluster.local"))
    assert [one.resolution for one in found.services] == ["", ""]


def test_of_two_entries_with_one_host_the_older_is_in_force_and_the_other_is_told_of():
    known = [kubernetes("b")]
    entries = [entry("x", "api.example.com"), entry("y", "API.example.com"), entry("z", "b.default.svc.cluster.local")]
    told = [(obj["metadata"]["name"], words) for obj, words in conflicts(entries, [*known, *services(entries, known)])]
    assert [name for name, _ in told] == ["y", "z"]
    assert "the older ServiceEntry default/x has it" in told[0][1]
    assert "Service default/b" in told[1][1]
    assert not list(conflicts([entries[0], entry("y", "api.example.com", namespace="far")], known))


def test_gateways_know_no_sidecar_but_what_is_exported():
    made = pod()
    gateway = workload(
        {
            "metadata": {"name": "gw", "annotations": {"inject.istio.io/templates": "gateway"}},
            "spec": {},
            "status": {"podIP": "127.70.2.1"},
        }
    )
    known = (kubernetes("a"), kubernetes("b"))
    entries = [entry("x", "api.example.com", namespace="far", exportTo=["."])]
    snapshot = Snapshot.of([*known, *services(entries, known)], [made, gateway], [*entries, sidecar("far/*")])
    assert [one.name for one in scope(snapshot, gateway).services] == ["a", "b"]
    assert scope(snapshot, made).services == ()
