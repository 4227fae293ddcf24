"""HTTP filters that EnvoyFilters insert: the fault at the callee's side, and what is left alone."""

import re

import pytest
from policies import plain

from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patch
from chaosmesh_ext.lab.controlplane.embedded.httpfilters import HTTP_MANAGER, with_inserted

HOST = "reviews:9080"
ROUTER = "envoy.filters.http.router"


@pytest.fixture
def inbound(mesh, helpers):
    """Writes the third carrier: a fault for marked requests before the router of reviews."""

    def write(fault):
        ((name, config),) = helpers.http_fault(headers=[helpers.marker("c1")], **fault).items()
        outer = {"name": HTTP_MANAGER, "subFilter": {"name": ROUTER}}
        entry = {
            "applyTo": "HTTP_FILTER",
            "match": {"context": "SIDECAR_INBOUND", "listener": {"filterChain": {"filter": outer}}},
            "patch": {"operation": "INSERT_BEFORE", "value": {"name": name, "typed_config": config}},
        }
        mesh.apply(
            "EnvoyFilter", "chaos", {"workloadSelector": {"labels": {"app": "reviews"}}, "configPatches": [entry]}
        )

    yield write
    mesh.clean()
    for pod in ("reviews-v1", "reviews-v2"):
        helpers.until(lambda pod=pod: plain(mesh, pod, headers=helpers.marked("c1")) == 200, f"{pod} is well")


def test_the_callers_retries_stay_in_force(mesh, inbound, helpers):
    mesh.route("reviews", {"retries": {"attempts": 2, "retryOn": "503"}})
    inbound(helpers.http_abort(503))
    helpers.until(
        lambda: mesh.flags("sleep-v1", HOST, headers=helpers.marked("c1")) == (503, "URX"), "three attempts fail"
    )
    assert mesh.call("sleep-v1", HOST).status == 200, "unmarked"


def test_the_callers_timeout_stays_in_force(mesh, inbound, helpers):
    mesh.route("reviews", {"timeout": "0.2s"})
    inbound(helpers.http_delay("5s"))
    helpers.until(
        lambda: mesh.flags("sleep-v1", HOST, headers=helpers.marked("c1")) == (504, "UT"), "the caller gives up"
    )


def test_a_fault_in_a_virtual_host_leaves_the_listeners_alone(mesh, helpers):
    """A drained listener would close the owner's connections: route configuration is why that carrier comes first."""
    before = modified(mesh)
    match = {
        "context": "SIDECAR_OUTBOUND",
        "routeConfiguration": {"vhost": {"name": "reviews.default.svc.cluster.local:9080"}},
    }
    change = {"operation": "MERGE", "value": {"typed_per_filter_config": helpers.http_fault(**helpers.http_abort(507))}}
    mesh.apply(
        "EnvoyFilter", "chaos", {"configPatches": [{"applyTo": "VIRTUAL_HOST", "match": match, "patch": change}]}
    )
    assert mesh.call("sleep-v1", HOST).status == 507
    assert modified(mesh) == before


def modified(mesh):
    found = re.findall(
        r"listener_manager.listener_modified: (\d+)", mesh.stats("sleep-v1", "/stats?filter=listener_modified")
    )
    assert len(found) == 1
    return int(found[0])


def patch(operation, inserted, sub_filter="", **match):
    return Patch("HTTP_FILTER", operation, "SIDECAR_INBOUND", {"name": inserted}, sub_filter=sub_filter, **match)


@pytest.mark.parametrize(
    ("patches", "names"),
    [
        ([], "x y"),
        ([patch("INSERT_BEFORE", "a", "y")], "x a y"),
        ([patch("INSERT_AFTER", "a", "x")], "x a y"),
        ([patch("INSERT_BEFORE", "a", "z")], "x y"),
        ([patch("INSERT_BEFORE", "a")], "a x y"),
        ([patch("INSERT_AFTER", "a")], "x y a"),
        ([patch("INSERT_FIRST", "a", "y"), patch("INSERT_FIRST", "b")], "b a x y"),
        ([patch("INSERT_BEFORE", "a", "y"), patch("INSERT_BEFORE", "b", "a")], "x b a y"),
        ([patch("INSERT_BEFORE", "a", "b"), patch("INSERT_BEFORE", "b", "y")], "x b y"),
        ([patch("INSERT_BEFORE", "a", "y", port=80)], "x y"),
        ([patch("INSERT_BEFORE", "a", "y", port=9080, name="here", network_filter=HTTP_MANAGER)], "x a y"),
        ([patch("INSERT_BEFORE", "a", "y", name="elsewhere")], "x y"),
        ([patch("INSERT_BEFORE", "a", "y", network_filter="tcp")], "x y"),
    ],
)
def test_where_a_filter_goes(patches, names):
    filters = [{"name": "x"}, {"name": "y"}]
    found = with_inserted(filters, "SIDECAR_INBOUND", "here", 9080, patches)
    assert " ".join(one["name"] for one in found) == names
    assert len(filters) == 2, "what is given is not changed"
