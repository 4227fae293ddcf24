"""The files that cluster and lab both take."""

from __future__ import annotations

import pytest
import yaml

from chaosmesh_ext.errors import NotFound
from chaosmesh_ext.lab.apps import image_app
from chaosmesh_ext.settings import shipped


def load(folder: str) -> dict[tuple[str, str], dict]:
    found = {}
    for file in sorted((shipped("manifests") / folder).glob("*.yaml")):
        for obj in yaml.safe_load_all(file.read_text()):
            if obj:
                key = (obj["kind"], obj["metadata"]["name"])
                assert key not in found
                found[key] = obj
    return found


def test_bookinfo_is_six_workloads_that_the_lab_can_run():
    objects = load("bookinfo")
    workloads = {name: obj for (kind, name), obj in objects.items() if kind == "Deployment"}
    assert set(workloads) == {
        "productpage-v1", "details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3",
    }  # fmt: skip
    for name, deployment in workloads.items():
        app, version = name.rsplit("-", 1)
        template = deployment["spec"]["template"]
        (container,) = template["spec"]["containers"]
        assert template["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]
        assert template["metadata"]["labels"] == {"app": app, "version": version}
        assert template["spec"]["serviceAccountName"] == f"bookinfo-{app}"
        assert ("ServiceAccount", f"bookinfo-{app}") in objects
        assert container["image"] == f"docker.io/istio/examples-bookinfo-{app}-{version}:1.20.3"
        assert container["ports"] == [{"containerPort": 9080}]
        assert image_app(container["image"]) in {f"bookinfo-{app}", f"bookinfo-{name}"}


def test_each_service_of_bookinfo_has_a_subset_for_each_version():
    objects = load("bookinfo")
    for app, versions in {"productpage": 1, "details": 1, "ratings": 1, "reviews": 3}.items():
        service = objects["Service", app]["spec"]
        assert service["selector"] == {"app": app}
        assert service["ports"] == [{"name": "http", "port": 9080}]  # the name tells Istio the protocol
        rule = objects["DestinationRule", app]["spec"]
        assert rule["host"] == app
        assert rule["subsets"] == [{"name": f"v{n + 1}", "labels": {"version": f"v{n + 1}"}} for n in range(versions)]


def test_the_gateway_lets_in_what_bookinfo_publishes():
    objects = load("bookinfo")
    gateway = objects["Gateway", "bookinfo-gateway"]["spec"]
    assert gateway["selector"] == {"istio": "ingressgateway"}
    assert gateway["servers"] == [{"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]
    virtual_service = objects["VirtualService", "bookinfo"]["spec"]
    assert (virtual_service["hosts"], virtual_service["gateways"]) == (["*"], ["bookinfo-gateway"])
    (route,) = virtual_service["http"]
    assert [match["uri"] for match in route["match"]] == [
        {"exact": "/productpage"}, {"prefix": "/static"}, {"exact": "/login"}, {"exact": "/logout"},
        {"prefix": "/api/v1/products"},
    ]  # fmt: skip
    assert route["route"] == [{"destination": {"host": "productpage", "port": {"number": 9080}}}]


def test_bookinfo_names_no_namespace():
    """So that `kubectl apply -n` decides."""
    assert all("namespace" not in obj["metadata"] for obj in load("bookinfo").values())


def test_the_labs_gateway_is_one_that_istio_would_inject():
    objects = load("lab")
    deployment = objects["Deployment", "istio-ingressgateway"]
    assert deployment["metadata"]["namespace"] == "istio-system"
    template = deployment["spec"]["template"]["metadata"]
    assert template["annotations"] == {"inject.istio.io/templates": "gateway"}
    assert template["labels"]["istio"] == "ingressgateway"
    selector = objects["Service", "istio-ingressgateway"]["spec"]["selector"]
    assert selector.items() <= template["labels"].items()


def test_a_folder_that_does_not_ship_is_refused():
    with pytest.raises(NotFound, match="nothing/ is neither"):
        shipped("nothing")
