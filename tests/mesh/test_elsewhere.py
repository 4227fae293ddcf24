"""What stands in front of pods is refused where a route sends the host's calls to others."""

from __future__ import annotations

import re

import pytest
from allowed import caller

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh import place, refuse_elsewhere
from chaosmesh_ext.model import Scope


def http_route(*names: str) -> dict:
    spec = {
        "parentRefs": [{"group": "", "kind": "Service", "name": "catalog"}],
        "rules": [{"backendRefs": [{"name": name, "port": 9080} for name in names]}],
    }
    meta = {"name": "catalog", "namespace": "default"}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta, "spec": spec}


def virtual_service(*hosts: str, **route: object) -> dict:
    routes = [{"route": [{"destination": {"host": host}}], **route} for host in hosts]
    meta = {"name": "catalog", "namespace": "default"}
    spec = {"hosts": ["catalog"], "http": routes}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta, "spec": spec}


@pytest.fixture
def mesh(api, client, make):
    """catalog, and beside it others, each with a pod of its own; catalog-two is of catalog's own pods."""
    for name in ("catalog", "catalog-v1", "catalog-v2"):
        pod = caller(name, {"app": name})
        api.apply(make.service(name), pod)
        api.call(api.kube.patch_status(pod, pod["status"]))
    own = make.service("catalog-two")
    own["spec"]["selector"] = {"app": "catalog"}
    api.apply(own, make.service("empty"))
    return client


def check(client) -> None:
    refuse_elsewhere(client, place(client, Scope("catalog"), run="0badcafe", cell="1"))


@pytest.mark.parametrize(
    ("obj", "names"),
    [
        (http_route("catalog-v1"), "catalog-v1"),
        (http_route("catalog-v2", "catalog-v1"), "catalog-v1, catalog-v2"),
        (virtual_service("catalog-v1"), "catalog-v1"),
    ],
)
def test_a_route_that_leads_to_others_pods_is_said(mesh, api, obj, names):
    check(mesh)
    api.apply(obj)
    words = (
        f"{obj['kind']} default/catalog sends the calls for catalog to {names}, so none arrives at the pods of catalog"
    )
    with pytest.raises(InvalidInput, match=re.escape(words)) as raised:
        check(mesh)
    assert str(raised.value).endswith("name catalog-v1 as destination")


@pytest.mark.parametrize(
    "obj",
    [
        http_route("catalog-v1", "catalog"),
        http_route("catalog-v1", "catalog-two"),
        http_route("empty"),
        virtual_service("catalog-v1", "catalog"),
        virtual_service("example.com"),
    ],
    ids=["some to itself", "some to its pods", "to nobody yet", "some to itself, in Istio's words", "outside"],
)
def test_a_route_by_which_some_may_arrive_is_let_pass(mesh, api, obj):
    api.apply(obj)
    check(mesh)
