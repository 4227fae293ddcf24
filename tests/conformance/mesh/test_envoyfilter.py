"""EnvoyFilter on route configurations."""

from __future__ import annotations

import threading

import pytest
from fault_words import abort, fixed_delay, http_abort, http_delay, http_fault, marked, marker
from waiting import until

HOST = "reviews:9080"
VHOST = "reviews.default.svc.cluster.local:9080"
CLUSTER = "outbound|9080||reviews.default.svc.cluster.local"
SUBSETS = [{"name": version, "labels": {"version": version}} for version in ("v1", "v2")]
MARK = marked("c1")


@pytest.fixture
def patch(mesh):
    """Writes an EnvoyFilter that faults the calls to reviews that carry a marker."""

    def write(name, fault, *, source="", namespace="default", priority=0, kind="VIRTUAL_HOST", **match):
        fault = {"headers": [marker("c1")], **fault}
        if kind == "VIRTUAL_HOST":
            change = {"operation": "MERGE", "value": {"typed_per_filter_config": http_fault(**fault)}}
        else:
            route = {
                "match": {"prefix": "/", "headers": fault.pop("headers")},
                "route": {"cluster": CLUSTER, "timeout": "0s"},
                "typed_per_filter_config": http_fault(**fault),
            }
            change = {"operation": "INSERT_FIRST", "value": route}
        match = {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": {"name": VHOST}}, **match}
        spec = {"priority": priority, "configPatches": [{"applyTo": kind, "match": match, "patch": change}]}
        if source:
            spec["workloadSelector"] = {"labels": {"app": source}}
        mesh.apply("EnvoyFilter", name, spec, namespace)

    return write


def status(mesh, source="sleep-v1", headers=None, **kwargs):
    return mesh.call(source, HOST, headers=MARK if headers is None else headers, **kwargs).status


KINDS = pytest.mark.parametrize("kind", ["VIRTUAL_HOST", "HTTP_ROUTE"])


@KINDS
def test_marked_requests(mesh, seen, patch, kind):
    """A fault by {kind} hits the marked requests of the selected workload"""
    patch("chaos", http_abort(507), source="sleep", kind=kind)
    found = [status(mesh), status(mesh, headers=marked("c12")), status(mesh, headers={}), status(mesh, "other-v1")]
    assert found == [507, 200, 200, 200]
    seen("marked 507, marked for another cell 200, unmarked 200, another caller 200")


@KINDS
def test_the_flag(mesh, seen, patch, kind):
    """A fault by {kind} in the caller's span"""
    patch("chaos", http_abort(503), kind=kind)
    reply, tags = mesh.traced("sleep-v1", HOST, headers=marked("c1"))
    assert (reply.status, reply.body, tags["response_flags"]) == (503, b"fault filter abort", "FI")
    seen(f"{reply.status} {tags['response_flags']} '{reply.body.decode()}'")


@KINDS
def test_deletion(mesh, seen, patch, kind):
    """A fault by {kind} that is deleted is gone for the next request"""
    patch("chaos", http_abort(507), kind=kind)
    before = status(mesh)
    mesh.delete("EnvoyFilter", "chaos")
    found = before, status(mesh)
    assert found == (507, 200)
    seen(str(found))


@KINDS
def test_beside_an_owner(mesh, seen, patch, kind):
    """A fault by {kind} beside an owner's VirtualService with a timeout"""
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].delay = 1.0
    mesh.route("reviews", {"timeout": "0.2s"})
    patch("chaos", http_abort(507), kind=kind)
    found = status(mesh), status(mesh, headers={})
    assert found == (507, 504)
    seen(f"marked {found[0]}, unmarked {found[1]}: the owner's timeout holds")


@pytest.mark.parametrize(("kind", "flag"), [("VIRTUAL_HOST", "DI"), ("HTTP_ROUTE", "FI")])
def test_an_owners_fault(mesh, seen, patch, kind, flag):
    """A fault by {kind} beside an owner's own fault"""
    mesh.route("reviews", {"fault": fixed_delay("50ms")})
    patch("chaos", http_abort(507), kind=kind)
    found = mesh.flags("sleep-v1", HOST, headers=marked("c1"))
    assert found == ((200, "DI") if flag == "DI" else (507, "FI"))
    seen(f"{found[0]} {found[1]}: {'the owner' if flag == 'DI' else 'ours'} comes first")


def test_one_subset(mesh, seen, patch):
    """HTTPFault.upstream_cluster faults one subset only"""
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "subsets": SUBSETS})
    split = [{"destination": {"host": "reviews", "subset": version}, "weight": 50} for version in ("v1", "v2")]
    mesh.route("reviews", {"route": split})
    patch("chaos", {**http_abort(507), "upstream_cluster": "outbound|9080|v2|reviews.default.svc.cluster.local"})
    found = {status(mesh) for _ in range(30)}
    assert found == {200, 507}
    assert mesh.apps["reviews-v2"].hits == 0
    seen("v2's share 507, v1's 200")


def test_the_most_faults_at_once(mesh, seen, patch):
    """HTTPFault.max_active_faults bounds how many are held back at once"""
    patch("chaos", {**http_delay("1s"), "max_active_faults": 2})
    took = []
    threads = [
        threading.Thread(target=lambda: took.append(mesh.call("sleep-v1", HOST, headers=MARK).took)) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sum(one >= 0.9 for one in took)
    assert found == 2
    seen(f"{found} of 5")


def test_delay_and_abort(mesh, seen, patch):
    """A delay and an abort in one patch both act"""
    patch("chaos", {**http_delay("0.1s"), **http_abort(507)})
    found = mesh.flags("sleep-v1", HOST, headers=marked("c1"))
    assert found == (507, "DI,FI")
    seen(f"{found[0]} {found[1]}")


def test_two_merges(mesh, seen, patch):
    """Of two merges of one filter's settings the last one replaces the first one whole"""
    patch("a", http_delay("0.1s"))
    patch("b", http_abort(507), priority=1)
    found = mesh.flags("sleep-v1", HOST, headers=marked("c1"))
    assert found == (507, "FI")
    seen(f"{found[0]} {found[1]}: the first one's delay is gone")


@KINDS
@pytest.mark.parametrize(
    ("case", "first", "second", "wins"),
    [
        ("priority 1 before 0", {"priority": 1}, {}, "first"),
        ("the root namespace before the caller's", {"namespace": "istio-system"}, {}, "second"),
        ("priority 1 in the root namespace", {"namespace": "istio-system", "priority": 1}, {}, "first"),
        ("the same, by name", {}, {}, "second"),
    ],
)
def test_order(mesh, seen, patch, kind, case, first, second, wins):
    """Of two by {kind}, {case}: the last one in order wins"""
    patch("a", http_abort(501), kind=kind, **first)
    patch("b", http_abort(502), kind=kind, **second)
    found = status(mesh)
    assert found == {"first": 501, "second": 502}[wins]
    seen("the first" if found == 501 else "the second")


@pytest.mark.parametrize(
    ("case", "match", "reached"),
    [
        ("context ANY", {"context": "ANY"}, True),
        ("context GATEWAY", {"context": "GATEWAY"}, False),
        ("routeConfiguration.name 9080", {"routeConfiguration": {"name": "9080", "vhost": {"name": VHOST}}}, True),
        ("routeConfiguration.name 80", {"routeConfiguration": {"name": "80", "vhost": {"name": VHOST}}}, False),
        ("routeConfiguration.portNumber 9080", {"routeConfiguration": {"portNumber": 9080, "vhost": {"name": VHOST}}}, True),
        ("routeConfiguration.portNumber 80", {"routeConfiguration": {"portNumber": 80, "vhost": {"name": VHOST}}}, False),
        ("another vhost.name", {"routeConfiguration": {"vhost": {"name": "details.default.svc.cluster.local:9080"}}}, False),
        ("vhost.domainName", {"routeConfiguration": {"vhost": {"domainName": "reviews.default"}}}, True),
        ("vhost.domainName with a port", {"routeConfiguration": {"vhost": {"domainName": "reviews.default:9080"}}}, False),
        ("no vhost at all", {"routeConfiguration": {}}, True),
    ],
)  # fmt: skip
def test_a_match(mesh, seen, patch, case, match, reached):
    """match with {case}"""
    patch("chaos", http_abort(507), **match)
    found = status(mesh)
    assert found == (507 if reached else 200)
    seen("reached" if reached else "not reached")


@pytest.mark.parametrize(
    ("namespace", "reached"), [("default", True), ("istio-system", True), ("kube-system", False), ("far", False)]
)
def test_a_namespace(mesh, seen, patch, namespace, reached):
    """An EnvoyFilter in the namespace {namespace}, for a caller in default"""
    patch("chaos", http_abort(507), namespace=namespace)
    found = status(mesh)
    assert found == (507 if reached else 200)
    seen("reached" if reached else "not reached")


def test_a_guest(mesh, seen, patch, guest):
    """An EnvoyFilter in the root namespace reaches the callers of every namespace, by their labels too"""
    patch("chaos", http_abort(507), namespace="istio-system", source="guest")
    host = "reviews.default:9080"
    found = mesh.call(guest, host, headers=MARK).status, status(mesh)
    assert found == (507, 200)
    seen(f"guest in far {found[0]}, sleep in default {found[1]}")


def answer(code):
    return {"name": "patched", "match": {"prefix": "/"}, "direct_response": {"status": code}}


OPERATIONS = [
    ("INSERT_FIRST", answer(507), None, [507, 507]),
    ("INSERT_FIRST", answer(507), {"name": "rest"}, [507, 507]),
    ("INSERT_FIRST", answer(507), {"name": "missing"}, [200, 200]),
    ("INSERT_BEFORE", answer(507), None, [507, 507]),
    ("INSERT_BEFORE", answer(507), {"name": "rest"}, [200, 507]),
    ("INSERT_AFTER", answer(507), {"name": "one"}, [200, 507]),
    ("INSERT_AFTER", answer(507), {"name": "rest"}, [200, 200]),
    ("ADD", answer(507), None, [200, 200]),
    ("REMOVE", None, {"name": "rest"}, [200, 404]),
    ("REMOVE", None, {"action": "ROUTE"}, [404, 404]),
    ("MERGE", {"route": {"cluster": "outbound|9080|v9|reviews"}}, {"name": "rest"}, [200, 503]),
    ("MERGE", {"direct_response": {"status": 507}}, {"name": "one"}, [507, 200]),
    ("MERGE", {"direct_response": {"status": 507}}, {"action": "REDIRECT"}, [200, 200]),
    ("MERGE", {"request_headers_to_add": [{"header": {"key": "x-a", "value": "1"}}]}, {"name": "one"}, [200, 200]),
]


@pytest.mark.parametrize(
    ("operation", "value", "route", "statuses"),
    OPERATIONS,
    ids=[f"{one[0]}-{number}" for number, one in enumerate(OPERATIONS)],
)
def test_an_operation(mesh, seen, operation, value, route, statuses):
    """HTTP_ROUTE {operation}, vhost.route {route}, of {value}"""
    mesh.route("reviews", {"name": "one", "match": [{"uri": {"prefix": "/one"}}]}, {"name": "rest"})
    match = {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": {"name": VHOST}}}
    if route is not None:
        match["routeConfiguration"]["vhost"]["route"] = route
    change = {"operation": operation} if value is None else {"operation": operation, "value": value}
    mesh.apply("EnvoyFilter", "chaos", {"configPatches": [{"applyTo": "HTTP_ROUTE", "match": match, "patch": change}]})
    found = [mesh.call("sleep-v1", HOST, path).status for path in ("/one/two", "/else")]
    assert found == statuses
    seen(f"/one/two {found[0]}, /else {found[1]}")


def test_it_comes_and_goes_on_warm_connections(mesh, seen, patch):
    """A merge into a virtual host closes no connection and breaks no request in flight"""
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].delay = 1.0
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(mesh.call("sleep-v1", HOST, headers=MARK).status))
    waiting.start()
    until(lambda: mesh.hits("reviews") == 1, "the request is in flight")
    patch("chaos", http_abort(507))
    after = status(mesh)
    waiting.join()
    assert (replies, after) == ([200], 507)
    seen(f"the one in flight {replies[0]}, the next one {after}")


def test_of_a_virtual_services_abort(mesh, seen, patch):
    """INSERT_FIRST comes before an owner's VirtualService that aborts"""
    mesh.route("reviews", {"fault": abort(418)})
    patch("chaos", http_abort(507), kind="HTTP_ROUTE")
    found = status(mesh), status(mesh, headers={})
    assert found == (507, 418)
    seen(f"marked {found[0]}, unmarked {found[1]}")
