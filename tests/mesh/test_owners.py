from __future__ import annotations

import pytest

from chaosmesh_ext.mesh.owners import http_routes, owner

HOST = "details.default.svc.cluster.local"


def name(found):
    return found and found["metadata"]["name"]


def test_a_short_host_means_the_virtual_services_own_namespace(make):
    assert owner([make.virtual_service()], HOST, "default")
    assert owner([make.virtual_service(namespace="shop")], HOST, "default") is None


def test_a_specific_host_takes_it_away_from_a_wildcard(make):
    wild = make.virtual_service("wild", hosts=["*.default.svc.cluster.local"])
    wilder = make.virtual_service("wilder", hosts=["*"])
    assert name(owner([wilder, wild, make.virtual_service("exact")], HOST, "default")) == "exact"
    assert name(owner([wilder, wild], HOST, "default")) == "wild"


def test_what_is_bound_to_gateways_only_owns_nothing_in_the_mesh(make):
    assert owner([make.virtual_service(gateways=["bookinfo"])], HOST, "default") is None
    assert owner([make.virtual_service(gateways=["bookinfo", "mesh"])], HOST, "default")


def test_only_what_is_exported_to_the_callers_counts(make):
    private = make.virtual_service(namespace="shop", hosts=[HOST], exportTo=["."])
    exported = make.virtual_service(namespace="shop", hosts=[HOST], exportTo=["default"])
    assert owner([private], HOST, "default") is None
    assert owner([private], HOST, "shop")
    assert owner([exported], HOST, "default")


def test_what_is_private_to_the_callers_namespace_comes_first(make):
    public = make.virtual_service("public")
    private = make.virtual_service("private", namespace="shop", hosts=[HOST], exportTo=["."])
    public["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    private["metadata"]["creationTimestamp"] = "2024-01-01T00:00:00Z"
    assert name(owner([public, private], HOST, "shop")) == "private"
    assert name(owner([public, private], HOST, "default")) == "public"


def test_http_routes_bound_to_the_service_own_it():
    """A consumer's own go before those for everybody, as in istiod."""

    def route(namespace, parent):
        return {"metadata": {"name": "r", "namespace": namespace}, "spec": {"parentRefs": [parent]}}

    def owners(*routes, namespace="shop", port=9080):
        return [one["metadata"]["namespace"] for one in http_routes(routes, "details", "default", namespace, port)]

    service = {"group": "", "kind": "Service", "name": "details"}
    assert owners(route("default", service)) == ["default"]
    consumer = {**service, "namespace": "default"}
    assert owners(route("default", service), route("shop", consumer)) == ["shop"]
    assert owners(route("default", service), route("shop", consumer), namespace="default") == ["default"]
    assert owners(route("default", service), route("default", service)) == ["default", "default"]
    assert owners(route("other", consumer)) == []
    assert owners(route("default", {"kind": "Gateway", "name": "g"}), namespace="default") == []
    assert owners(route("default", {**service, "port": 9080}), route("default", {**service, "port": 1})) == ["default"]


def test_of_two_that_were_made_in_one_second_the_first_by_name_rules_as_in_istiod(make):
    """`kubectl apply` of a folder makes many in one second; istiod compares name.namespace."""
    early = make.virtual_service("a", namespace="zoo", hosts=[HOST])
    late = make.virtual_service("b", namespace="aquarium", hosts=[HOST])
    for obj in (early, late):
        obj["metadata"]["creationTimestamp"] = "2024-01-01T00:00:00Z"
    assert name(owner([late, early], HOST, "default")) == "a"


@pytest.mark.parametrize("group", [None, "core", "gateway.networking.k8s.io"])
def test_a_parent_of_another_group_is_no_service(group):
    """As istiod has it, which ignores such a route: nobody owns the service then."""
    mine = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
    parent = {"kind": "Service", "name": "details"} | ({} if group is None else {"group": group})
    route = {**mine, "metadata": {"namespace": "default", "name": "r"}, "spec": {"parentRefs": [parent]}}
    assert http_routes([route], "details", "default", "default") == ()
    parent["group"] = ""
    assert http_routes([route], "details", "default", "default") == (route,)
