"""EnvoyFilters on route configurations are applied in istiod's order, to the proxies that they are for."""

import pytest

HOST = "reviews:9080"
VHOST = "reviews.default.svc.cluster.local:9080"


@pytest.fixture
def patch(mesh, helpers):
    """Writes an EnvoyFilter that faults calls to reviews."""

    def write(
        name, fault, *, source="", namespace="default", priority=0, kind="VIRTUAL_HOST", context="SIDECAR_OUTBOUND"
    ):
        fault = {"headers": [helpers.marker("c1")], **fault}
        if kind == "VIRTUAL_HOST":
            change = {"operation": "MERGE", "value": {"typed_per_filter_config": helpers.http_fault(**fault)}}
        else:
            route = {
                "match": {"prefix": "/", "headers": fault.pop("headers")},
                "route": {"cluster": "outbound|9080||reviews.default.svc.cluster.local", "timeout": "0s"},
                "typed_per_filter_config": helpers.http_fault(**fault),
            }
            change = {"operation": "INSERT_FIRST", "value": route}
        match = {"context": context, "routeConfiguration": {"vhost": {"name": VHOST}}}
        spec = {"priority": priority, "configPatches": [{"applyTo": kind, "match": match, "patch": change}]}
        if source:
            spec["workloadSelector"] = {"labels": {"app": source}}
        mesh.apply("EnvoyFilter", name, spec, namespace)

    return write


@pytest.mark.parametrize("kind", ["VIRTUAL_HOST", "HTTP_ROUTE"])
def test_a_fault_reaches_marked_requests_of_the_selected_workload_only(mesh, helpers, patch, kind):
    patch("chaos", helpers.http_abort(507), source="sleep", kind=kind)
    assert mesh.flags("sleep-v1", HOST, headers=helpers.marked("c1")) == (507, "FI")
    assert mesh.call("sleep-v1", HOST, headers=helpers.marked("c12")).status == 200
    assert mesh.call("sleep-v1", HOST).status == 200
    assert mesh.call("other-v1", HOST, headers=helpers.marked("c1")).status == 200
    mesh.delete("EnvoyFilter", "chaos")
    assert mesh.call("sleep-v1", HOST, headers=helpers.marked("c1")).status == 200


@pytest.mark.parametrize("kind", ["VIRTUAL_HOST", "HTTP_ROUTE"])
def test_it_acts_beside_an_owners_virtual_service(mesh, helpers, patch, kind):
    mesh.route("reviews", {"timeout": "5s", "retries": {"attempts": 2}})
    patch("chaos", helpers.http_abort(507), kind=kind)
    assert mesh.call("sleep-v1", HOST, headers=helpers.marked("c1")).status == 507
    assert mesh.call("sleep-v1", HOST).status == 200


def test_an_owners_fault_on_the_route_hides_one_on_the_virtual_host(mesh, helpers, patch):
    mesh.route("reviews", {"fault": helpers.fixed_delay("0.1s")})
    patch("chaos", helpers.http_abort(507))
    assert mesh.flags("sleep-v1", HOST, headers=helpers.marked("c1")) == (200, "DI")


def test_upstream_cluster_faults_one_subset_only(mesh, helpers, patch):
    subsets = [{"name": version, "labels": {"version": version}} for version in ("v1", "v2")]
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "subsets": subsets})
    routes = [{"destination": {"host": "reviews", "subset": version}, "weight": 50} for version in ("v1", "v2")]
    mesh.route("reviews", {"route": routes})
    patch(
        "chaos", {**helpers.http_abort(507), "upstream_cluster": "outbound|9080|v2|reviews.default.svc.cluster.local"}
    )
    statuses = [mesh.call("sleep-v1", HOST, headers=helpers.marked("c1")).status for _ in range(30)]
    assert set(statuses) == {200, 507}
    assert mesh.apps["reviews-v2"].hits == 0


def test_a_delay_and_an_abort_in_one_patch_both_act(mesh, helpers, patch):
    patch("chaos", {**helpers.http_delay("0.1s"), **helpers.http_abort(507)})
    assert mesh.flags("sleep-v1", HOST, headers=helpers.marked("c1")) == (507, "DI,FI")


def test_the_last_patch_in_order_ends_in_front(mesh, helpers, patch):
    """Priority first, then the root namespace, then age, then name: istiod's order."""
    patch("a", helpers.http_abort(501), kind="HTTP_ROUTE")
    patch("b", helpers.http_abort(502), kind="HTTP_ROUTE", namespace="istio-system")
    assert mesh.call("sleep-v1", HOST, headers=helpers.marked("c1")).status == 501
    patch("b", helpers.http_abort(502), kind="HTTP_ROUTE", namespace="istio-system", priority=1)
    assert mesh.call("sleep-v1", HOST, headers=helpers.marked("c1")).status == 502


def test_of_two_merges_for_one_filter_the_last_replaces_the_first(mesh, helpers, patch):
    """istiod replaces an entry of a map whole: the first one's delay does not survive the second one's abort."""
    patch("a", helpers.http_delay("0.1s"))
    patch("b", helpers.http_abort(507))
    assert mesh.flags("sleep-v1", HOST, headers=helpers.marked("c1")) == (507, "FI")


def test_another_namespaces_filter_does_not_reach_this_one(mesh, helpers, patch):
    patch("chaos", helpers.http_abort(507), namespace="kube-system")
    assert mesh.call("sleep-v1", HOST, headers=helpers.marked("c1")).status == 200


def test_a_gateways_patch_does_not_reach_sidecars(mesh, helpers, patch):
    patch("chaos", helpers.http_abort(507), context="GATEWAY")
    assert mesh.call("sleep-v1", HOST, headers=helpers.marked("c1")).status == 200


def test_camel_case_and_snake_case_mean_the_same(mesh, helpers):
    value = {"typedPerFilterConfig": helpers.http_fault(abort={"httpStatus": 507, "percentage": {"numerator": 100}})}
    match = {
        "context": "SIDECAR_OUTBOUND",
        "routeConfiguration": {"name": "9080", "portNumber": 9080, "vhost": {"name": VHOST}},
    }
    change = {"applyTo": "VIRTUAL_HOST", "match": match, "patch": {"operation": "MERGE", "value": value}}
    mesh.apply("EnvoyFilter", "chaos", {"configPatches": [change]})
    assert mesh.call("sleep-v1", HOST).status == 507


def route_patch(mesh, operation, value=None, *, route=None, name="chaos", **vhost):
    match = {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": {"name": VHOST, **vhost}}}
    if route is not None:
        match["routeConfiguration"]["vhost"]["route"] = route
    patch = {"operation": operation} if value is None else {"operation": operation, "value": value}
    mesh.apply("EnvoyFilter", name, {"configPatches": [{"applyTo": "HTTP_ROUTE", "match": match, "patch": patch}]})


def answer(status, prefix="/"):
    return {"name": "patched", "match": {"prefix": prefix}, "direct_response": {"status": status}}


@pytest.fixture
def owned(mesh):
    """An owner's routes `one` for /one and `rest` for everything else."""
    mesh.route(
        "reviews",
        {"name": "one", "match": [{"uri": {"prefix": "/one"}}], "headers": {"response": {"set": {"x-route": "one"}}}},
        {"name": "rest"},
    )
    return lambda: [mesh.call("sleep-v1", HOST, path).status for path in ("/one/two", "/else")]


@pytest.mark.parametrize(
    ("operation", "value", "route", "statuses"),
    [
        ("INSERT_FIRST", answer(507), None, [507, 507]),
        ("INSERT_FIRST", answer(507), {"name": "rest"}, [507, 507]),
        ("INSERT_FIRST", answer(507), {"name": "missing"}, [200, 200]),
        ("INSERT_BEFORE", answer(507), {"name": "rest"}, [200, 507]),
        ("INSERT_AFTER", answer(507), {"name": "one"}, [200, 507]),
        ("INSERT_AFTER", answer(507), {"name": "rest"}, [200, 200]),
        ("ADD", answer(507), None, [200, 200]),
        ("REMOVE", None, {"name": "rest"}, [200, 404]),
        ("MERGE", {"route": {"cluster": "outbound|9080|v9|reviews"}}, {"name": "rest"}, [200, 503]),
        ("MERGE", {"direct_response": {"status": 507}}, {"name": "one"}, [507, 200]),
        ("MERGE", {"direct_response": {"status": 507}}, {"action": "REDIRECT"}, [200, 200]),
    ],
)
def test_an_operation_on_an_owners_routes_acts_where_it_says(mesh, owned, operation, value, route, statuses):
    assert owned() == [200, 200]
    route_patch(mesh, operation, value, route=route)
    assert owned() == statuses
    mesh.delete("EnvoyFilter", "chaos")
    assert owned() == [200, 200]


def test_a_merge_into_an_owners_route_keeps_what_it_does(mesh, helpers, owned):
    route_patch(
        mesh,
        "MERGE",
        {"typed_per_filter_config": helpers.http_fault(**helpers.http_delay("0.1s"))},
        route={"name": "one"},
    )
    reply, tags = mesh.traced("sleep-v1", HOST, "/one")
    assert (reply.status, tags["response_flags"], reply.headers["x-route"]) == (200, "DI", "one")


def test_a_virtual_host_is_named_by_a_domain_too(mesh, owned):
    route_patch(mesh, "INSERT_FIRST", answer(507), domainName="reviews.default")
    assert owned() == [507, 507]
    route_patch(mesh, "INSERT_FIRST", answer(507), domainName="reviews.default:9080")
    assert owned() == [200, 200]
