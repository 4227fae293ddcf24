"""Which Sidecar rules a workload, and what it lets in."""

import pytest

from chaosmesh_ext.istio.sidecars import OF_THE_LAB, imports, ruling

APP = {"app": "a", "version": "v1"}


def sidecar(name, namespace="default", born="2026-01-01T00:00:00Z", selector=None, **metadata):
    spec = {"egress": [{"hosts": ["./*"]}]}
    if selector is not None:
        spec["workloadSelector"] = {"labels": selector}
    return {"metadata": {"name": name, "namespace": namespace, "creationTimestamp": born, **metadata}, "spec": spec}


def name(*sidecars, namespace="default", labels=APP):
    found = ruling(sidecars, namespace, labels)
    return found and found["metadata"]["name"]


def test_nobody_rules_where_there_is_none():
    assert name() is None
    assert name(sidecar("a", "other"), sidecar("b", selector={"app": "b"})) is None


def test_one_with_a_selector_goes_before_the_namespaces_and_that_before_the_meshs():
    """Whatever their age."""
    mesh = sidecar("mesh", "istio-system", "2020-01-01T00:00:00Z")
    space = sidecar("space", born="2021-01-01T00:00:00Z")
    own = sidecar("own", selector={"app": "a"})
    assert name(mesh, space, own) == "own"
    assert name(mesh, space) == "space"
    assert name(mesh) == "mesh"


def test_of_several_the_oldest_rules_and_of_one_age_the_first_by_name():
    later, first, second = (sidecar(one, selector=APP) for one in "abc")
    later["metadata"]["creationTimestamp"] = "2027-01-01T00:00:00Z"
    assert name(later, second, first) == "b"


def test_all_labels_of_a_selector_must_be_there_and_an_empty_one_selects_all():
    assert name(sidecar("a", selector={**APP, "x": "y"})) is None
    assert name(sidecar("a", selector={})) == "a"


def test_a_selector_in_the_root_namespace_selects_nobody_elsewhere():
    root = sidecar("a", "istio-system", selector=APP)
    assert name(root) is None
    assert name(root, namespace="istio-system") == "a"


def test_the_labs_own_do_not_count():
    """They say the same at the lab's addresses; whoever edits one would be overwritten."""
    assert name(sidecar("lab-a", selector=APP, labels=OF_THE_LAB)) is None
    assert name(sidecar("lab-a", selector=APP, labels=OF_THE_LAB), sidecar("mine")) == "mine"


@pytest.mark.parametrize(
    ("hosts", "wanted"),
    [
        (["*/*"], "own other outside"),
        (["./*"], "own outside"),
        (["far/*"], "other"),
        (["*/*.svc.cluster.local"], "own other"),
        (["default/api.example.com", "far/*"], "other outside"),
        (["*/*", "~*/*.example.com"], "own other"),
        (["*/*", "~/api.example.com"], "own other"),
        (["*/*", "~far/*"], "own outside"),
        (["./x.default.svc.cluster.local"], ""),
    ],
)
def test_which_services_are_let_in(hosts, wanted):
    services = {
        "own": ("default", "a.default.svc.cluster.local"),
        "other": ("far", "b.far.svc.cluster.local"),
        "outside": ("default", "api.example.com"),
    }
    found = imports(hosts, "default")
    assert [name for name, one in services.items() if found.service(*one)] == wanted.split()


def test_a_virtual_service_is_let_in_by_one_of_its_hosts_or_by_a_wider_one():
    found = imports(["./a.example.com"], "default")
    assert found.virtual_service("default", ["x.example.com", "a.example.com"])
    assert found.virtual_service("default", ["*.example.com"])
    assert not found.virtual_service("default", ["x.example.com"])
    assert not found.virtual_service("far", ["a.example.com"])
