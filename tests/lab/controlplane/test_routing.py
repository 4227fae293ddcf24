"""Timeouts, retries, weights, matches and header operations behave as under istiod."""

import http.client
import json
import threading

import pytest

HOST = "reviews:9080"
SUBSETS = [{"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"version": "v2"}}]


def to(subset, weight=None, **more):
    destination = {"destination": {"host": "reviews", "subset": subset}, **more}
    return destination if weight is None else {**destination, "weight": weight}


def split(mesh, *names):
    return {mesh.call("sleep-v1", HOST).json["name"] for _ in range(30)} == set(names)


def routes_of(mesh, host="reviews.default.svc.cluster.local", port=9080, source="sleep-v1"):
    """The routes that SOURCE's Envoy has for HOST."""
    dump = json.loads(mesh.stats(source, "/config_dump?resource=dynamic_route_configs"))
    configurations = [one["route_config"] for one in dump["configs"]]
    (found,) = [
        one
        for configuration in configurations
        if configuration["name"] == str(port)
        for one in configuration["virtual_hosts"]
        if one["name"] == f"{host}:{port}"
    ]
    return found["routes"]


@pytest.mark.parametrize(
    "host",
    [
        "reviews",
        "reviews:9080",
        "reviews.default",
        "reviews.default.svc",
        "reviews.default.svc.cluster.local",
        "reviews.default.svc.cluster.local:9080",
        "reviews.default.svc.cluster.local.",
        "REVIEWS",
        "reviews:1234",
    ],
)
def test_a_service_is_reached_by_each_of_its_names(mesh, host):
    assert mesh.call("sleep-v1", host).status == 200


def test_a_foreign_program_reaches_services_through_the_http_proxy(mesh):
    reply = mesh.call("sleep-v1", HOST, "http://reviews:9080/x?y=1", port=15001)
    assert reply.json["path"] == "/x?y=1"
    assert mesh.call("sleep-v1", "nowhere:80", "http://nowhere/", port=15001).status == 502


def test_an_unknown_host_is_a_502(mesh):
    assert mesh.call("sleep-v1", "example.com").status == 502


def test_a_route_timeout_is_a_504_ut_and_the_callee_sees_the_caller_leave(mesh):
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].delay = 0.5
    mesh.route("reviews", {"timeout": "0.1s"})
    assert mesh.flags("sleep-v1", HOST) == (504, "UT")


def test_per_try_timeouts_are_retried_and_given_up(mesh):
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].delay = 0.5
    mesh.route("reviews", {"retries": {"attempts": 2, "perTryTimeout": "50ms", "retryOn": "5xx"}})
    status, flags = mesh.flags("sleep-v1", HOST)
    assert (status, set(flags.split(","))) == (504, {"URX", "UT"})
    assert mesh.hits("reviews") == 3


def test_istios_default_retries_do_not_retry_an_applications_503(mesh):
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].answer = 503
    assert mesh.call("sleep-v1", HOST).status == 503
    assert mesh.hits("reviews") == 1


@pytest.mark.parametrize("retry_on", ["5xx", "503", "connect-failure,503"])
def test_retries_that_are_asked_for_are_made(mesh, retry_on):
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].answer = 503
    mesh.route("reviews", {"retries": {"attempts": 2, "retryOn": retry_on}})
    assert mesh.flags("sleep-v1", HOST) == (503, "URX")
    assert mesh.hits("reviews") == 3


def test_no_attempts_means_no_retries(mesh):
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].answer = 503
    mesh.route("reviews", {"retries": {"attempts": 0}})
    assert "retry_policy" not in routes_of(mesh)[0]["route"]
    assert mesh.call("sleep-v1", HOST).status == 503
    assert mesh.hits("reviews") == 1
    mesh.delete("VirtualService", "reviews")
    assert routes_of(mesh)[0]["route"]["retry_policy"]["num_retries"] == 2


def test_weights_split_and_zero_gets_nothing(mesh):
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "subsets": SUBSETS})
    mesh.route("reviews", {"route": [to("v1", 50), to("v2", 50)]})
    assert split(mesh, "reviews-v1", "reviews-v2")
    mesh.route("reviews", {"route": [to("v1", 0), to("v2", 100)]})
    assert split(mesh, "reviews-v2")


def test_a_missing_subset_is_a_503_nc(mesh):
    mesh.route("reviews", {"route": [to("v9")]})
    assert mesh.flags("sleep-v1", HOST) == (503, "NC")


def test_a_request_that_no_route_matches_is_a_404_nr(mesh):
    mesh.route("reviews", {"match": [{"uri": {"exact": "/only"}}]})
    assert mesh.flags("sleep-v1", HOST) == (404, "NR")
    assert mesh.call("sleep-v1", HOST, "/only").status == 200


MATCHES = [
    ({"uri": {"exact": "/a"}}, "/a", {}, "GET", True),
    ({"uri": {"exact": "/a"}}, "/A", {}, "GET", False),
    ({"uri": {"exact": "/a"}, "ignoreUriCase": True}, "/A", {}, "GET", True),
    ({"uri": {"prefix": "/a"}}, "/abc", {}, "GET", True),
    ({"uri": {"regex": "/a[0-9]+"}}, "/a12", {}, "GET", True),
    ({"uri": {"regex": "/a[0-9]+"}}, "/a12b", {}, "GET", False),
    ({"headers": {"end-user": {"exact": "jason"}}}, "/", {"end-user": "jason"}, "GET", True),
    ({"headers": {"end-user": {"exact": "jason"}}}, "/", {"end-user": "anna"}, "GET", False),
    ({"headers": {"end-user": {}}}, "/", {"end-user": "anna"}, "GET", True),
    ({"headers": {"end-user": {}}}, "/", {}, "GET", False),
    ({"withoutHeaders": {"end-user": {"exact": "jason"}}}, "/", {}, "GET", True),
    ({"withoutHeaders": {"end-user": {"exact": "jason"}}}, "/", {"end-user": "jason"}, "GET", False),
    ({"withoutHeaders": {"end-user": {}}}, "/", {"end-user": "anna"}, "GET", False),
    ({"queryParams": {"u": {"exact": "test"}}}, "/?u=test", {}, "GET", True),
    ({"queryParams": {"u": {"exact": "test"}}}, "/?u=other", {}, "GET", False),
    ({"method": {"exact": "POST"}}, "/", {}, "POST", True),
    ({"method": {"exact": "POST"}}, "/", {}, "GET", False),
    ({"authority": {"prefix": "reviews"}}, "/", {}, "GET", True),
    ({"scheme": {"exact": "http"}}, "/", {}, "GET", True),
    ({"scheme": {"exact": "https"}}, "/", {}, "GET", False),
    ({"port": 9080}, "/", {}, "GET", True),
    ({"port": 80}, "/", {}, "GET", False),
    ({"sourceNamespace": "default"}, "/", {}, "GET", True),
    ({"sourceNamespace": "elsewhere"}, "/", {}, "GET", False),
    ({"uri": {"exact": "/a"}, "method": {"exact": "GET"}}, "/a", {}, "GET", True),
]


@pytest.mark.parametrize(("match", "path", "headers", "method", "matched"), MATCHES)
def test_a_match_matches_what_istio_says(mesh, helpers, match, path, headers, method, matched):
    mesh.route("reviews", {"match": [match], "fault": helpers.abort(507)}, {})
    assert mesh.call("sleep-v1", HOST, path, headers, method=method).status == (507 if matched else 200)


def test_matches_of_one_route_are_alternatives(mesh, helpers):
    mesh.route(
        "reviews", {"match": [{"uri": {"exact": "/a"}}, {"uri": {"exact": "/b"}}], "fault": helpers.abort(507)}, {}
    )
    assert [mesh.call("sleep-v1", HOST, path).status for path in ("/a", "/b", "/c")] == [507, 507, 200]


def test_header_operations_of_route_and_destination_act(mesh):
    headers = {"request": {"set": {"x-set": "1"}, "remove": ["x-gone"]}, "response": {"add": {"x-route": "r"}}}
    more = {"request": {"add": {"x-set": "2"}}, "response": {"set": {"x-dest": "d"}, "remove": ["date"]}}
    mesh.route("reviews", {"headers": headers, "route": [{"destination": {"host": "reviews"}, "headers": more}]})
    reply = mesh.call("sleep-v1", HOST, headers={"x-gone": "yes"})
    assert (reply.headers["x-route"], reply.headers["x-dest"]) == ("r", "d")
    seen = (mesh.apps["reviews-v1"].seen or mesh.apps["reviews-v2"].seen)[-1]
    assert "x-gone" not in seen
    assert seen["x-set"] == "1,2"


def test_header_operations_of_a_weighted_destination_act_for_it_only(mesh):
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "subsets": SUBSETS})
    tagged = to("v1", 50, headers={"response": {"set": {"x-canary": "yes"}}})
    mesh.route("reviews", {"route": [tagged, to("v2", 50)]})
    replies = [mesh.call("sleep-v1", HOST) for _ in range(30)]
    assert {(r.json["name"], r.headers.get("x-canary")) for r in replies} == {
        ("reviews-v1", "yes"),
        ("reviews-v2", None),
    }


def test_of_two_virtual_services_for_one_host_the_older_rules_and_the_other_is_named(mesh, helpers):
    mesh.route("reviews", {"fault": helpers.abort(507)}, name="a-first")
    mesh.route("reviews", {"fault": helpers.abort(508)}, name="b-second")
    assert mesh.call("sleep-v1", HOST).status == 507
    (problem,) = mesh.problems()
    assert "default/b-second" in problem
    assert "default/a-first" in problem
    helpers.until(lambda: _condition(mesh, "b-second", "False"), "a condition on the object")
    mesh.delete("VirtualService", "a-first")
    assert mesh.problems() == []
    assert mesh.call("sleep-v1", HOST).status == 508
    helpers.until(lambda: _condition(mesh, "b-second", "True"), "the condition is taken back")


def _condition(mesh, name, status):
    conditions = (mesh.get("VirtualService", name).get("status") or {}).get("conditions", [])
    return any(one["type"] == "Reconciled" and one["status"] == status for one in conditions)


def test_a_specific_host_wins_over_a_wildcard(mesh, helpers):
    spec = {"http": [{"fault": helpers.abort(508), "route": [{"destination": {"host": "reviews"}}]}]}
    mesh.apply("VirtualService", "wild", {"hosts": ["*.default.svc.cluster.local"], **spec})
    assert mesh.call("sleep-v1", HOST).status == 508
    mesh.route("reviews", {"fault": helpers.abort(507)})
    assert mesh.call("sleep-v1", HOST).status == 507


def test_what_is_not_exported_to_a_namespace_does_not_reach_it(mesh, helpers):
    host = {"host": "reviews.default.svc.cluster.local"}
    spec = {"hosts": [host["host"]], "http": [{"fault": helpers.abort(507), "route": [{"destination": host}]}]}
    mesh.apply("VirtualService", "private", {**spec, "exportTo": ["elsewhere"]})
    assert mesh.call("sleep-v1", HOST).status == 200
    mesh.apply("VirtualService", "private", {**spec, "exportTo": ["."]})
    assert mesh.call("sleep-v1", HOST).status == 507


def test_a_virtual_service_for_a_gateway_only_does_not_reach_sidecars(mesh, helpers):
    mesh.route("reviews", {"fault": helpers.abort(507)}, gateways=["some-gateway"])
    assert mesh.call("sleep-v1", HOST).status == 200


def test_a_request_in_flight_and_its_connection_survive_route_changes(mesh, helpers):
    """A fault must not break what it does not fault."""
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].delay = 1.5
    connection = http.client.HTTPConnection(mesh.addresses["sleep-v1"].outbound, 9080, timeout=60)
    connection.request("GET", "/", headers={"Host": HOST})
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(connection.getresponse()))
    waiting.start()
    helpers.until(lambda: mesh.hits("reviews") == 1, "the request is in flight")
    socket = connection.sock
    mesh.route("reviews", {"fault": helpers.abort(507)})
    waiting.join()
    assert answers[0].status == 200
    answers[0].read()
    connection.request("GET", "/", headers={"Host": HOST})
    faulted = connection.getresponse()
    assert (faulted.status, connection.sock) == (507, socket)
    connection.close()


def test_a_grpc_service_is_called_in_http2(mesh):
    """Whoever calls it in HTTP/1.1: the protocol of the port decides."""
    ports = [{"name": "grpc", "port": 9090, "targetPort": 9080}]
    mesh.apply("Service", "rpc", {"selector": {"app": "other"}, "ports": ports})
    try:
        dump = mesh.stats("sleep-v1", "/config_dump?resource=dynamic_active_clusters&name_regex=.*rpc.*")
        assert '"http2_protocol_options"' in dump
        assert mesh.stats("other-v1", "/config_dump?resource=dynamic_listeners").count("rpc.default.svc") >= 1
    finally:
        mesh.delete("Service", "rpc")


def test_a_port_that_is_not_http_is_a_problem_and_not_a_route(mesh):
    ports = [{"name": "tcp-db", "port": 3306}]
    mesh.apply("Service", "db", {"selector": {"app": "other"}, "ports": ports})
    try:
        (problem,) = mesh.problems()
        assert "default/db" in problem
        assert "tcp-db (tcp)" in problem
    finally:
        mesh.delete("Service", "db")
    assert mesh.problems() == []


def test_a_new_service_port_is_listened_on_and_leaves_again(mesh, helpers):
    mesh.service("reviews", port=9081)
    try:
        assert mesh.call("sleep-v1", "reviews:9081", port=9081).status == 200
    finally:
        mesh.service("reviews")
    mesh.synced()
    assert mesh.call("sleep-v1", HOST).status == 200
