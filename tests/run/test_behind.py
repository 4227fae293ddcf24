"""Where nobody answers, or no call arrives, nothing is planned."""

from __future__ import annotations

import msgspec
import pytest
from allowed import as_lab, caller
from api_server import ApiServer
from places import place

from chaosmesh_ext.errors import Forbidden, InvalidInput
from chaosmesh_ext.faults import Delay, PodFailure
from chaosmesh_ext.mesh import Client, Destination, View, connect
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.run.behind import refuse_empty, refuse_led_elsewhere
from chaosmesh_ext.run.planning import plans_for
from chaosmesh_ext.settings import Settings

LABELS = {"app": "catalog"}
HERE = place(destination=Destination("catalog.default.svc.cluster.local", "catalog", "default", 80, (80,), LABELS))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A lab with the Service catalog, its versions' Services, and no pod."""
    import yaml

    there = ApiServer()
    try:
        there.apply(*as_lab(), *(service(name) for name in ("catalog", "catalog-v1")), service("old", **LABELS, v="1"))
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(there.kube.kubeconfig()))
        monkeypatch.setenv("KUBECONFIG", str(file))
        yield there
    finally:
        there.stop()


def service(name: str, namespace: str = "default", **labels: str) -> dict:
    spec = {"selector": labels or {"app": name}, "ports": [{"name": "http", "port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def http_route(*backends: str) -> dict:
    parent = {"group": "", "kind": "Service", "name": "catalog"}
    rules = [{"backendRefs": [{"group": "", "kind": "Service", "name": name, "port": 80}]} for name in backends]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "catalog", "namespace": "default"},
        "spec": {"parentRefs": [parent], "rules": rules or [{}]},
    }


def virtual_service(*hosts: str) -> dict:
    routes = [{"route": [{"destination": {"host": host}}]} for host in hosts]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "catalog", "namespace": "default"},
        "spec": {"hosts": ["catalog"], "http": routes},
    }


def empty(where=HERE, **settings) -> None:
    client = connect()
    refuse_empty(client, where, Surroundings(client), Settings(**settings))


def test_a_service_without_pods_is_refused_and_what_to_do_is_said(server):
    with pytest.raises(InvalidInput, match=r"^no pod of catalog in default runs, .*: scale it up first$"):
        empty()
    server.apply(caller("other", {"app": "other"}))
    with pytest.raises(InvalidInput, match="no pod of catalog"):
        empty()
    server.apply(caller("catalog-1", LABELS))
    empty()


def test_a_machine_outside_of_kubernetes_is_somebody_too(server):
    entry = {"address": "10.0.0.9", "labels": LABELS}
    meta = {"name": "vm", "namespace": "default"}
    server.apply({"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": meta, "spec": entry})
    empty()


def test_a_subset_without_pods_is_named(server):
    server.apply(caller("catalog-1", LABELS))
    there = msgspec.structs.replace(HERE.destination, selector={**LABELS, "version": "v9"})
    with pytest.raises(InvalidInput, match=r"no pod of catalog \(subset v9\)"):
        empty(msgspec.structs.replace(HERE, destination=there, subset="v9"))


@pytest.mark.parametrize(
    "owner", [http_route("catalog-v1"), virtual_service("catalog-v1")], ids=lambda one: one["kind"]
)
def test_a_service_that_only_gives_its_name_to_routes_needs_no_pods(server, owner):
    server.apply(owner)
    empty()


def test_pods_that_may_be_elsewhere_or_may_not_be_seen_are_not_missed(server, monkeypatch):
    empty(config_cluster=True)
    empty(place())

    def forbidden(*_args, **_kwargs):
        raise Forbidden("no pods for you")

    monkeypatch.setattr(Client, "list", forbidden)
    empty()


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (
            View(http_routes=(http_route("catalog-v1"),)),
            "to catalog-v1, so none arrives at the pods of catalog: name c",
        ),
        (View(http_routes=(http_route("catalog-v1", "nosuch"),)), "to catalog-v1, nosuch, so none arrives"),
        (View(owner=virtual_service("catalog-v1")), "to catalog-v1, so none arrives"),
        (
            View(owner=virtual_service("catalog.shop.svc.cluster.local")),
            "to catalog.shop.svc.cluster.local, so none arrives at the pods of catalog: name catalog.shop.svc.cluster",
        ),
    ],
)
def test_what_stands_at_pods_that_no_call_arrives_at_is_refused(server, view, words):
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    server.apply(shop, service("catalog", namespace="shop"))
    kind = "VirtualService" if view.owner else "HTTPRoute"
    with pytest.raises(InvalidInput, match=f"^{kind} default/catalog sends the calls for catalog {words}"):
        refuse_led_elsewhere(connect(), HERE, view)


@pytest.mark.parametrize(
    "view",
    [
        View(),
        View(http_routes=(http_route("catalog-v1", "catalog"),)),
        View(http_routes=(http_route("old"),)),
        View(http_routes=(http_route("anybody"),)),
        View(http_routes=(http_route(),)),
        View(owner=virtual_service("catalog.default.svc.cluster.local", "catalog-v1")),
        View(owner=virtual_service("api.example.com")),
        View(owner=virtual_service()),
    ],
    ids=["nobody's", "some", "the same pods", "without selector", "nowhere", "whole name", "outside", "no routes"],
)
def test_where_some_calls_may_arrive_nothing_is_refused(server, view):
    server.apply({**service("anybody"), "spec": {"ports": [{"name": "http", "port": 80}]}})
    refuse_led_elsewhere(connect(), HERE, view)


def test_what_comes_in_by_a_gateway_may_arrive(server):
    entry = virtual_service("catalog")
    entry = {
        **entry,
        "metadata": {"name": "entry", "namespace": "default"},
        "spec": {**entry["spec"], "gateways": ["in"]},
    }
    server.apply(entry)
    refuse_led_elsewhere(connect(), HERE, View(http_routes=(http_route("catalog-v1"),)))


def test_what_would_stand_there_behind_such_a_route_is_not_planned(server):
    server.apply(http_route("catalog-v1"), caller("catalog-1", LABELS))
    for fault, carrier in ((Delay(1), "inbound"), (PodFailure(), "auto")):
        with pytest.raises(InvalidInput, match="so none arrives at the pods of catalog"):
            plans_for(connect(), fault, HERE, carrier, [])
    assert plans_for(connect(), Delay(1), HERE, "auto", [])
