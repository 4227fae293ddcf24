"""Where routes lead, and whether some calls may still arrive."""

from __future__ import annotations

import pytest
from places import place

from chaosmesh_ext.mesh.elsewhere import UNKNOWN, Target, from_gateways, led_to


def http_route(*backends: dict, **parent: str) -> dict:
    meta = {"name": "reviews", "namespace": "default"}
    refs = [parent or {"group": "", "kind": "Service", "name": "reviews"}]
    return {
        "kind": "HTTPRoute",
        "metadata": meta,
        "spec": {"parentRefs": refs, "rules": [{"backendRefs": [{"port": 9080, **one} for one in backends]}]},
    }


def virtual_service(*routes: dict, **spec: object) -> dict:
    meta = {"name": "reviews", "namespace": "default"}
    return {"kind": "VirtualService", "metadata": meta, "spec": {"hosts": ["reviews"], "http": list(routes), **spec}}


def to(*hosts: str, **weights: int) -> dict:
    return {"route": [{"destination": {"host": host}, "weight": weights.get(host, 1)} for host in hosts]}


DELEGATE = {
    "kind": "VirtualService",
    "metadata": {"name": "theirs", "namespace": "shop"},
    "spec": {"http": [to("ratings")]},
}


@pytest.mark.parametrize(
    ("routes", "targets"),
    [
        ([], set()),
        (
            [virtual_service(to("reviews.default.svc.cluster.local", "v2"))],
            {Target("default", "reviews"), Target("default", "v2")},
        ),
        ([virtual_service(to("v1"), to("v2.shop.svc.cluster.local"))], {Target("default", "v1"), Target("shop", "v2")}),
        ([virtual_service(to("v1", "v2", v1=0))], {Target("default", "v2")}),
        ([virtual_service({"route": [{"destination": {"host": "v1"}}]})], {Target("default", "v1")}),
        (
            [virtual_service({"route": [{"destination": {"host": "reviews", "subset": "v1"}}]})],
            {Target("default", "reviews", "v1")},
        ),
        ([virtual_service(to("api.example.com"))], {UNKNOWN}),
        ([virtual_service({"redirect": {"uri": "/"}})], set()),
        (
            [virtual_service({"delegate": {"name": "theirs", "namespace": "shop"}}), DELEGATE],
            {Target("shop", "ratings")},
        ),
        ([virtual_service({"delegate": {"name": "theirs"}}), DELEGATE], {UNKNOWN, Target("shop", "ratings")}),
        (
            [http_route({"name": "v1"}, {"name": "v2", "namespace": "shop"})],
            {Target("default", "v1"), Target("shop", "v2")},
        ),
        ([http_route({"name": "v1", "weight": 0}, {"name": "v2"})], {Target("default", "v2")}),
        ([http_route({"name": "pool", "group": "inference.networking.k8s.io", "kind": "InferencePool"})], {UNKNOWN}),
        ([http_route()], set()),
    ],
)
def test_services_are_told_by_namespace_name_and_subset(routes, targets):
    assert led_to(routes) == targets


@pytest.mark.parametrize(
    ("services", "routes", "some"),
    [
        ((), (), False),
        ((virtual_service(to("reviews")),), (), False),
        ((virtual_service(to("reviews"), gateways=["mesh"]),), (), False),
        ((virtual_service(to("reviews"), gateways=["mesh", "istio-system/in"]),), (), True),
        ((virtual_service(to("ratings"), gateways=["in"]),), (), False),
        ((virtual_service({"delegate": {"name": "theirs"}}, gateways=["in"]),), (), True),
        ((), (http_route({"name": "reviews"}),), False),
        ((), (http_route({"name": "reviews"}, name="in"),), True),
        ((), (http_route({"name": "ratings"}, name="in"),), False),
    ],
)
def test_what_comes_in_by_a_gateway_may_arrive(services, routes, some):
    assert from_gateways(services, routes, place()) is some
