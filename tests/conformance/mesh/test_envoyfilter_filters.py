"""EnvoyFilter on HTTP filters."""

from __future__ import annotations

import contextlib
import http.client
import threading

import pytest
from asking import get
from echo_mesh import PORT
from fault_words import http_abort, http_delay, http_fault, marked, marker
from overlays import RUN, place
from policies import plain, policy
from refused import refused
from waiting import until

from chaosmesh_ext.faults import Propagation
from chaosmesh_ext.mesh import View
from chaosmesh_ext.model import Marker, new_trace_id

HOST = f"details:{PORT}"
HCM = "envoy.filters.network.http_connection_manager"
ROUTER = "envoy.filters.http.router"
FAULT = "envoy.filters.http.fault"
TYPES = "type.googleapis.com/envoy.extensions.filters.http."
MARK = marked("c1")
DETAILS = {"app": "details"}


def fault(**settings):
    """Envoy's fault filter for marked requests."""
    ((name, config),) = http_fault(headers=[marker("c1")], **settings).items()
    return {"name": name, "typed_config": config}


def adds(name, value):
    """A filter that adds a header to requests."""
    append = {"header": {"key": name, "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
    mutations = {"request_mutations": [{"append": append}]}
    config = {"@type": TYPES + "header_mutation.v3.HeaderMutation", "mutations": mutations}
    return {"name": f"adds-{value}", "typed_config": config}


def insert(value, operation="INSERT_BEFORE", context="SIDECAR_INBOUND", beside=ROUTER, outer=HCM, **listener):
    """A patch that inserts a filter; beside: which one is meant, outer: and in which network filter."""
    if outer:
        listener["filterChain"] = {"filter": {"name": outer, **({"subFilter": {"name": beside}} if beside else {})}}
    match = {"context": context, **({"listener": listener} if listener else {})}
    return {"applyTo": "HTTP_FILTER", "match": match, "patch": {"operation": operation, "value": value}}


@pytest.fixture
def mesh(standing_mesh):
    """The mesh, unchanged before and after."""
    yield standing_mesh
    standing_mesh.clean()
    until(lambda: plain(standing_mesh, headers=MARK) == 200, "details is unchanged")
    for source in ("sleep-v1", "other-v1"):
        live(standing_mesh, 200, source)


@pytest.fixture
def patch(mesh):
    """Writes an EnvoyFilter for details, or for others."""

    def write(*patches, name="chaos", namespace="default", labels=DETAILS, **spec):
        if labels:
            spec["workloadSelector"] = {"labels": labels}
        mesh.apply("EnvoyFilter", name, {"configPatches": list(patches), **spec}, namespace)

    return write


def live(mesh, status=507, source="sleep-v1", headers=MARK):
    """Wait until SOURCE's marked requests come out so."""
    until(lambda: mesh.call(source, HOST, headers=headers).status == status, f"{status} for {source}")


def test_a_fault_at_the_callees_side(mesh, seen, patch):
    """Fault filter before the inbound router: marked requests of every caller, with what the spans say"""
    patch(insert(fault(**http_abort(507))))
    live(mesh)
    live(mesh, source="other-v1")
    headers = marked("c1")
    reply, tags = mesh.traced("sleep-v1", HOST, headers=headers)
    server = mesh.span(headers["traceparent"].split("-")[1], kind=2)["tags"]
    unmarked = mesh.call("sleep-v1", HOST).status, mesh.call("sleep-v1", HOST, headers=marked("c12")).status
    assert (reply.status, unmarked) == (507, (200, 200))
    seen(
        f"{reply.status} '{reply.body.decode()}', caller's span {tags['response_flags']}, callee's"
        f" {server['response_flags']}; unmarked {unmarked[0]}, marked for another cell {unmarked[1]}"
    )


def test_the_callers_retries_stay_in_force(mesh, seen, patch):
    """Fault filter before the inbound router aborts: the caller's sidecar retries"""
    mesh.route("details", {"retries": {"attempts": 2, "retryOn": "503"}})
    patch(insert(fault(**http_abort(503))))
    live(mesh, 503)
    headers = marked("c1")
    trace = headers["traceparent"].split("-")[1]
    found = mesh.flags("sleep-v1", HOST, headers=headers)
    until(lambda: sum(one["trace"] == trace and one["kind"] == 2 for one in mesh.otlp.spans) == 3, "three attempts")
    assert found == (503, "URX")
    seen(f"{found[0]} {found[1]} after 3 attempts")


def test_the_callers_timeout_stays_in_force(mesh, seen, patch):
    """Fault filter before the inbound router delays: the caller's sidecar gives up by its own clock"""
    mesh.route("details", {"timeout": "0.2s"})
    patch(insert(fault(**http_delay("5s"))))
    live(mesh, 504)
    reply, tags = mesh.traced("sleep-v1", HOST, headers=marked("c1"))
    assert (reply.status, tags["response_flags"]) == (504, "UT")
    assert 0.18 <= reply.took < 4.0
    seen("504 UT, not after the delay but after the timeout")


def test_a_fault_at_the_callers_side(mesh, seen, patch):
    """Fault filter before the outbound router: the selected caller's marked requests"""
    patch(insert(fault(**http_abort(507)), context="SIDECAR_OUTBOUND"), labels={"app": "sleep"})
    live(mesh)
    found = mesh.flags("sleep-v1", HOST, headers=marked("c1"))
    others = mesh.call("sleep-v1", HOST).status, mesh.call("other-v1", HOST, headers=MARK).status
    assert (found, others) == ((507, "FI"), (200, 200))
    seen(f"{found[0]} {found[1]}; unmarked {others[0]}, another caller {others[1]}")


def test_a_filter_between_the_router_and_the_wire(mesh, seen, patch):
    """MERGE of upstream_http_filters into the outbound router: a marked request's trace headers come off"""
    (change,) = Propagation().changes(place(source=None, marker=Marker(RUN, "1")), View())
    patch(*change.obj["spec"]["configPatches"], labels={"app": "sleep"})

    def arrived(source, cell):
        headers = Marker(RUN, cell).headers(new_trace_id())
        assert mesh.call(source, HOST, headers=headers).status == 200
        trace = headers["traceparent"].split("-")[1]
        until(lambda: any(one["trace"] == trace and one["kind"] == 3 for one in mesh.otlp.spans), "the caller's span")
        since = len(mesh.otlp.spans)
        mesh.call(source, HOST, headers=MARK)  # what was sent before has arrived once this has
        until(lambda: len(mesh.otlp.spans) >= since + 2, "later spans")
        return sum(one["trace"] == trace and one["kind"] == 2 for one in mesh.otlp.spans)

    until(lambda: arrived("sleep-v1", "1") == 0, "the trace breaks")
    found = arrived("sleep-v1", "1"), arrived("sleep-v1", "2"), arrived("other-v1", "1")
    assert found == (0, 1, 1)
    seen("the callee is not in the trace of a marked request; it is in another cell's, and in another caller's")


def test_one_cluster(mesh, seen, patch):
    """Fault filter before the outbound router with upstream_cluster: one destination only"""
    cluster = "outbound|9080||reviews.default.svc.cluster.local"
    patch(
        insert(fault(**http_abort(507), upstream_cluster=cluster), context="SIDECAR_OUTBOUND"), labels={"app": "sleep"}
    )
    until(lambda: mesh.call("sleep-v1", f"reviews:{PORT}", headers=MARK).status == 507, "the fault is live")
    found = mesh.call("sleep-v1", HOST, headers=MARK).status
    assert found == 200
    seen(f"reviews 507, details {found}")


def test_before_or_after_a_policy(mesh, seen, patch):
    """Fault filter INSERT_FIRST, and INSERT_BEFORE the router, beside an AuthorizationPolicy that denies"""
    policy(mesh, action="DENY", rules=[{}])
    until(lambda: plain(mesh) == 403, "the policy is in force")
    patch(insert(fault(**http_abort(507)), "INSERT_FIRST", beside=""))
    until(lambda: plain(mesh, headers=MARK) == 507, "the fault is first")
    patch(insert(fault(**http_abort(507))))
    until(lambda: plain(mesh, headers=MARK) == 403, "the policy is first")
    seen("first: 507; before the router: 403")


def canary(mesh):
    """Wait until a filter that adds x-canary is there; the header x-who as the application saw it."""

    def seen_by(pod="details-v1"):
        assert plain(mesh) == 200
        return mesh.apps[pod].seen[-1]

    until(lambda: "x-canary" in seen_by(), "the canary is there")
    return seen_by().get("x-who", "nobody")


CANARY = insert(adds("x-canary", "1"))
ORDERS = [
    ("before the router, twice", [insert(adds("x-who", "a")), insert(adds("x-who", "b"))]),
    ("first, twice", [insert(adds("x-who", "a"), "INSERT_FIRST"), insert(adds("x-who", "b"), "INSERT_FIRST")]),
    ("before the router, then first", [insert(adds("x-who", "a")), insert(adds("x-who", "b"), "INSERT_FIRST")]),
    ("before without a subFilter, twice", [insert(adds("x-who", "a"), beside=""), insert(adds("x-who", "b"), beside="")]),
    ("after the fault filter", [insert(adds("x-who", "a"), "INSERT_AFTER", beside=FAULT), insert(adds("x-who", "b"), beside=FAULT)]),
    ("beside one inserted before", [insert(adds("x-who", "a")), insert(adds("x-who", "b"), beside="adds-a")]),
    ("beside one that is not there", [insert(adds("x-who", "a")), insert(adds("x-who", "b"), beside="adds-z")]),
    ("beside one inserted later", [insert(adds("x-who", "b"), beside="adds-a"), insert(adds("x-who", "a"))]),
    ("in another network filter", [insert(adds("x-who", "a"), beside="", outer="envoy.filters.network.tcp_proxy")]),
    ("in the deprecated name of the network filter", [insert(adds("x-who", "a"), outer="envoy.http_connection_manager")]),
    ("for any listener", [insert(adds("x-who", "a"), beside="", outer="")]),
    ("for any listener, context ANY", [insert(adds("x-who", "a"), context="ANY", beside="", outer="")]),
    ("context SIDECAR_OUTBOUND", [insert(adds("x-who", "a"), context="SIDECAR_OUTBOUND")]),
    ("context GATEWAY", [insert(adds("x-who", "a"), context="GATEWAY")]),
    ("portNumber 9080", [insert(adds("x-who", "a"), portNumber=9080)]),
    ("portNumber 9090", [insert(adds("x-who", "a"), portNumber=9090)]),
    ("portNumber 9080 alone", [insert(adds("x-who", "a"), outer="", portNumber=9080)]),
    ("name virtualInbound, which needs interception", [insert(adds("x-who", "a"), name="virtualInbound")]),
    ("INSERT_FIRST with a subFilter that is not there", [insert(adds("x-who", "a"), "INSERT_FIRST", beside="adds-z")]),
]  # fmt: skip


@pytest.mark.parametrize(("case", "patches"), ORDERS, ids=[one[0] for one in ORDERS])
def test_a_place(mesh, seen, patch, case, patches):
    """Filters a and b that each add their name to a header: {case}"""
    patch(*patches, CANARY)
    seen(canary(mesh))


@pytest.mark.parametrize(
    ("case", "namespace", "labels", "priority"),
    [
        ("of the root namespace", "istio-system", DETAILS, 0),
        ("of another namespace", "far", None, 0),
        ("without a selector", "default", None, 0),
        ("for another workload", "default", {"app": "reviews"}, 0),
        ("of priority 1", "default", DETAILS, 1),
        ("of priority -1", "default", DETAILS, -1),
    ],
)
def test_an_object(mesh, seen, patch, case, namespace, labels, priority):
    """A filter inserted before the router by an EnvoyFilter {case}, beside one of the namespace for the workload"""
    patch(insert(adds("x-who", "it")), name="it", namespace=namespace, labels=labels, priority=priority)
    patch(insert(adds("x-who", "other")), CANARY, name="other")
    seen(canary(mesh))


def test_lua(mesh, seen, patch):
    """Lua filter before the inbound router"""
    code = 'function envoy_on_request(handle) handle:headers():add("x-who", "lua") end'
    lua = {
        "name": "lua",
        "typed_config": {"@type": TYPES + "lua.v3.Lua", "default_source_code": {"inline_string": code}},
    }
    patch(insert(lua), CANARY)
    seen(canary(mesh))


def test_a_gateway(mesh, seen, patch, gateway):
    """Fault filter before the router of an ingress gateway"""
    server = {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    mesh.apply("Gateway", "entry", {"selector": {"istio": "ingressgateway"}, "servers": [server]})
    route = [{"route": [{"destination": {"host": "details"}}]}]
    mesh.apply("VirtualService", "entry", {"hosts": ["*"], "gateways": ["entry"], "http": route})
    address = mesh.addresses[gateway].inbound

    def ask(headers):
        return get(address, port=8080, path="/", headers={"Host": "shop.example.com", **headers}).status

    patch(insert(fault(**http_abort(507)), context="GATEWAY"), namespace="istio-system", labels=None)
    until(lambda: ask(MARK) == 507, "the fault is live")
    found = ask({}), mesh.call("sleep-v1", HOST, headers=MARK).status
    assert found == (200, 200)
    seen(f"marked 507, unmarked {found[0]}; in the mesh {found[1]}")


def test_a_warm_connection_is_late(mesh, seen, patch):
    """Fault filter before the inbound router, written or deleted: the first request on a warm connection is late"""
    found = []
    changes = (
        (lambda: patch(insert(fault(**http_abort(507)))), 507),
        (lambda: mesh.delete("EnvoyFilter", "chaos"), 200),
    )
    for change, fresh in changes:
        assert mesh.call("sleep-v1", HOST, headers=MARK).status == 707 - fresh
        change()
        until(lambda fresh=fresh: plain(mesh, headers=MARK) == fresh, "new connections meet the change")
        found.append([mesh.call("sleep-v1", HOST, headers=MARK).status for _ in range(3)])
    assert found == [[200, 507, 507], [507, 200, 200]]
    seen("written 200, 507, 507; deleted 507, 200, 200")


def test_a_request_in_flight(mesh, seen, patch):
    """Fault filter before the inbound router breaks no request in flight"""
    before = mesh.hits("details")
    mesh.apps["details-v1"].delay = 0.5
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(mesh.call("sleep-v1", HOST, headers=MARK).status))
    waiting.start()
    until(lambda: mesh.hits("details") > before, "the request is in flight")
    patch(insert(fault(**http_abort(507))))
    waiting.join()
    assert replies == [200]
    seen(str(replies[0]))


def test_the_applications_connection(mesh, seen, patch):
    """Fault filter before the outbound router closes the application's own connection after one more answer"""
    address = mesh.addresses["sleep-v1"].outbound
    with contextlib.closing(http.client.HTTPConnection(address, PORT, timeout=10)) as connection:

        def ask():
            connection.request("GET", "/", headers={"Host": HOST, **MARK})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("connection", "keep")

        assert ask() == (200, "keep")
        patch(insert(fault(**http_abort(507)), context="SIDECAR_OUTBOUND"), labels={"app": "sleep"})
        live(mesh)
        found = ask()
    assert found == (200, "close")
    seen(f"{found[0]} on it, connection: {found[1]}; a new one 507")


def change(operation, **value):
    match = {
        "context": "SIDECAR_OUTBOUND",
        "listener": {"filterChain": {"filter": {"name": HCM, "subFilter": {"name": FAULT}}}},
    }
    return {"applyTo": "HTTP_FILTER", "match": match, "patch": {"operation": operation, **value}}


@pytest.mark.differs("the lab's control plane inserts HTTP filters, beside those that it has, and changes none")
@pytest.mark.parametrize(
    ("case", "one"),
    [
        ("REMOVE", change("REMOVE")),
        ("REPLACE", change("REPLACE", value=fault(**http_abort(507)))),
        ("MERGE", change("MERGE", value=fault(**http_abort(507)))),
        ("INSERT_BEFORE beside envoy.filters.http.cors", insert(adds("x-who", "a"), beside="envoy.filters.http.cors")),
        ("INSERT_AFTER beside envoy.filters.http.grpc_stats", insert(adds("x-who", "a"), "INSERT_AFTER", beside="envoy.filters.http.grpc_stats")),
        ("with a filterChain.name", insert(adds("x-who", "a"), outer="", filterChain={"name": "other"})),
    ],
)  # fmt: skip
def test_what_the_lab_has_not(mesh, seen, side, patch, case, one):
    """HTTP_FILTER {case}"""
    if side == "embedded":
        text = refused(mesh, "EnvoyFilter", "refused", {"configPatches": [one]})
        assert "not implemented" in text
        seen(f"refused: {text}")
    else:
        patch(one, CANARY)
        found = canary(mesh)
        seen(f"taken; inserted: {found}" if one["patch"]["operation"].startswith("INSERT") else "taken")


@pytest.mark.parametrize(
    ("case", "one", "says"),
    [
        ("without applyTo", {"patch": {"operation": "INSERT_FIRST", "value": adds("x", "a")}}, "missing applyTo"),
        ("without a value", {"applyTo": "HTTP_FILTER", "patch": {"operation": "INSERT_FIRST"}}, "missing patch value"),
        ("with a match of routes", {**insert(adds("x", "a")), "match": {"routeConfiguration": {"name": "80"}}}, "cannot have non listener match"),
        ("with a subFilter of another filter", insert(adds("x", "a"), outer="envoy.filters.network.tcp_proxy"), f"subfilter match requires filter match with {HCM}"),
        ("with a subFilter without a name", insert(adds("x", "a"), filterChain={"filter": {"name": HCM, "subFilter": {}}}, outer=""), "subfilter match has no name to match on"),
        ("with a filter without a name", insert(adds("x", "a"), filterChain={"filter": {}}, outer=""), "filter match has no name to match on"),
        ("with an unknown type", insert({"name": "x", "typed_config": {"@type": TYPES + "no_such.v3.NoSuch"}}), ""),
    ],
)  # fmt: skip
def test_it_is_refused(standing_mesh, seen, case, one, says):
    """HTTP_FILTER {case} is refused"""
    text = refused(standing_mesh, "EnvoyFilter", "refused", {"configPatches": [one]})
    assert says in text
    seen(f"refused{f': …{says}…' if says else ''}")
