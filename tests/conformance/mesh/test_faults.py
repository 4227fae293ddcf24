"""VirtualService faults."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from asking import get
from chance import likely
from echo_mesh import PORT
from fault_words import abort, fixed_delay
from waiting import until

HOST = "reviews:9080"
GRPC = {"content-type": "application/grpc"}
ALWAYS = {"percentage": {"value": 100}}


def counter(mesh, name, source="sleep-v1"):
    """A counter of the fault filters of SOURCE's sidecar."""
    lines = mesh.stats(source, f"/stats?filter=fault.{name}$").splitlines()
    return sum(int(line.rpartition(": ")[2]) for line in lines)


def faulty(mesh, *, source="sleep-v1", host=HOST, status=507, **kwargs):
    return mesh.call(source, host, **kwargs).status == status


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 599])
def test_an_abort_answers_in_the_callers_sidecar(mesh, seen, status):
    """fault.abort.httpStatus {status} answers in the caller's sidecar"""
    mesh.route("reviews", {"fault": abort(status)})
    until(lambda: faulty(mesh, status=status), "the abort is live")
    hits = mesh.hits("reviews")
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, reply.body, tags["response_flags"]) == (status, b"fault filter abort", "FI")
    assert mesh.hits("reviews") == hits
    seen(f"{reply.status} {tags['response_flags']} '{reply.body.decode()}', reviews is not called")


def test_what_headers_an_abort_has(mesh, seen):
    """The answer of an abort has these headers"""
    mesh.route("reviews", {"fault": abort(503)})
    reply = until(lambda: (one := mesh.call("sleep-v1", HOST)).status == 503 and one, "the abort is live")
    names = sorted(set(reply.headers) - {"date"})
    assert (reply.headers["server"], reply.headers["content-type"]) == ("envoy", "text/plain")
    assert names == ["content-length", "content-type", "server"]
    seen(", ".join(f"{name}: {reply.headers[name]}" for name in names))


@pytest.mark.parametrize(("name", "number"), [("UNAVAILABLE", 14), ("DEADLINE_EXCEEDED", 4), ("NOT_FOUND", 5)])
def test_a_grpc_abort_of_a_grpc_call(mesh, seen, name, number):
    """fault.abort.grpcStatus {name} of a gRPC call"""
    mesh.route("reviews", {"fault": {"abort": {"grpcStatus": name, **ALWAYS}}})
    until(
        lambda: "grpc-status" in mesh.call("sleep-v1", HOST, headers=GRPC, method="POST").headers, "the abort is live"
    )
    reply, tags = mesh.traced("sleep-v1", HOST, headers=GRPC, method="POST")
    answer = reply.headers["grpc-status"], reply.headers["grpc-message"]
    assert (reply.status, *answer, tags["response_flags"]) == (200, str(number), "fault filter abort", "FI")
    seen(f"HTTP 200, grpc-status {answer[0]}, grpc-message '{answer[1]}', {tags['response_flags']}")


def test_a_grpc_abort_of_a_call_that_is_none_of_grpc(mesh, seen):
    """fault.abort.grpcStatus UNAVAILABLE of a plain HTTP call"""
    mesh.route("reviews", {"fault": {"abort": {"grpcStatus": "UNAVAILABLE", **ALWAYS}}})
    until(lambda: mesh.call("sleep-v1", HOST).body == b"fault filter abort", "the abort is live")
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, "grpc-status" in reply.headers, tags["response_flags"]) == (200, False, "FI")
    seen(f"{reply.status} {tags['response_flags']} '{reply.body.decode()}' without grpc-status")


def test_an_http_abort_of_a_grpc_call(mesh, seen):
    """fault.abort.httpStatus 503 of a gRPC call"""
    mesh.route("reviews", {"fault": abort(503)})
    until(lambda: faulty(mesh, status=503), "the abort is live")
    reply = mesh.call("sleep-v1", HOST, headers=GRPC, method="POST")
    assert (reply.status, reply.headers["grpc-status"]) == (200, "14")
    seen(f"HTTP {reply.status}, grpc-status {reply.headers['grpc-status']}")


@pytest.mark.parametrize("percentage", [None, {}, {"value": 0}], ids=["absent", "without a value", "0"])
def test_a_percentage_that_is_absent_or_0_faults_nobody(mesh, seen, percentage):
    """fault.abort.percentage that names no share"""
    share = {} if percentage is None else {"percentage": percentage}
    mesh.route("reviews", {"fault": {"abort": {"httpStatus": 507, **share}}, "rewrite": {"uri": "/taken"}})
    until(lambda: mesh.call("sleep-v1", HOST, "/").json["path"] == "/taken", "the route is live")
    assert not any(faulty(mesh) for _ in range(50))
    seen("nobody is affected")


@pytest.mark.parametrize("percent", [10, 30, 90.5])
def test_a_percentage_of_aborts(mesh, seen, percent):
    """fault.abort.percentage {percent} is the share of the calls that are aborted"""
    mesh.route("reviews", {"fault": abort(507, percent)})
    until(lambda: faulty(mesh), "the abort is live")
    aborted = sum(faulty(mesh) for _ in range(300))
    assert aborted in likely(percent, 300)
    seen(f"{percent} % within the binomial bound")


def test_a_percentage_of_100_leaves_nobody_out(mesh, seen):
    """fault.abort.percentage 100 aborts every call"""
    mesh.route("reviews", {"fault": abort(507)})
    until(lambda: faulty(mesh), "the abort is live")
    hits = mesh.hits("reviews")
    assert all(faulty(mesh) for _ in range(100))
    assert mesh.hits("reviews") == hits
    seen("100 of 100, none reaches reviews")


@pytest.mark.parametrize("length", ["0.3s", "450ms", "0.15s"])
def test_a_delay_holds_the_call_back(mesh, seen, length):
    """fault.delay.fixedDelay {length} holds the call back"""
    seconds = {"0.3s": 0.3, "450ms": 0.45, "0.15s": 0.15}[length]
    mesh.route("reviews", {"fault": fixed_delay(length)})
    until(lambda: mesh.call("sleep-v1", HOST).took > seconds - 0.02, "the delay is live")
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, tags["response_flags"]) == (200, "DI")
    assert seconds - 0.02 <= reply.took
    seen(f"{reply.status} {tags['response_flags']} after {length}")


@pytest.mark.parametrize("percentage", [None, {"value": 0}], ids=["absent", "0"])
def test_a_delay_without_a_share_holds_nobody_back(mesh, seen, percentage):
    """fault.delay.percentage that names no share"""
    share = {} if percentage is None else {"percentage": percentage}
    delay = {"fixedDelay": "5s", **share}
    mesh.route("reviews", {"fault": {"delay": delay}, "rewrite": {"uri": "/taken"}})
    until(lambda: mesh.call("sleep-v1", HOST, "/").json["path"] == "/taken", "the route is live")
    before = counter(mesh, "delays_injected")
    assert all(mesh.call("sleep-v1", HOST).took < 4.0 for _ in range(20))
    assert counter(mesh, "delays_injected") == before
    seen("nobody is affected")


@pytest.mark.parametrize("field", ["percentage", "percent"])
def test_a_percentage_of_delays(mesh, seen, field):
    """fault.delay.{field} 30 is the share of the calls that are held back"""
    share = {"percentage": {"value": 30}} if field == "percentage" else {"percent": 30}
    mesh.route("reviews", {"fault": {"delay": {"fixedDelay": "0.002s", **share}}, "rewrite": {"uri": "/taken"}})
    until(lambda: mesh.call("sleep-v1", HOST, "/").json["path"] == "/taken", "the route is live")
    before = counter(mesh, "delays_injected")
    assert {mesh.call("sleep-v1", HOST).status for _ in range(300)} == {200}
    assert counter(mesh, "delays_injected") - before in likely(30, 300)
    seen("30 % within the binomial bound")


def test_delays_do_not_wait_for_each_other(mesh, seen):
    """Calls that are delayed at once are not held back by one another"""
    mesh.route("reviews", {"fault": fixed_delay("0.5s")})
    until(lambda: mesh.call("sleep-v1", HOST).took > 0.48, "the delay is live")
    with ThreadPoolExecutor(8) as pool:
        took = [one.took for one in pool.map(lambda _: mesh.call("sleep-v1", HOST), range(8))]
    assert min(took) > 0.48
    assert max(took) < 8 * 0.48
    seen("8 calls at once end together")


def test_a_delay_and_an_abort_both_act(mesh, seen):
    """A delay and an abort in one fault both act"""
    mesh.route("reviews", {"fault": {**fixed_delay("0.3s"), **abort(507)}})
    until(lambda: faulty(mesh), "the fault is live")
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, tags["response_flags"]) == (507, "DI,FI")
    assert reply.took >= 0.28
    seen(f"{reply.status} {tags['response_flags']} after the delay")


def test_a_delay_for_all_and_an_abort_for_none(mesh, seen):
    """A delay of 100 % beside an abort of 0 %"""
    mesh.route("reviews", {"fault": {**fixed_delay("0.3s"), **abort(507, 0)}})
    until(lambda: mesh.call("sleep-v1", HOST).took > 0.28, "the delay is live")
    assert mesh.flags("sleep-v1", HOST) == (200, "DI")
    seen("200 DI")


@pytest.mark.parametrize("fault", [{"abort": ALWAYS}, {"delay": ALWAYS}], ids=["abort", "delay"])
def test_a_fault_that_does_not_say_what_to_do(mesh, seen, fault):
    """fault.httpStatus or fault.fixedDelay absent"""
    mesh.route("reviews", {"fault": fault, "rewrite": {"uri": "/taken"}})
    reply = until(lambda: (one := mesh.call("sleep-v1", HOST)).json["path"] == "/taken" and one, "the route is live")
    assert mesh.flags("sleep-v1", HOST) == (200, "-")
    seen(f"taken, and nothing happens: {reply.status}")


def test_a_fault_meets_the_calls_of_its_match_only(mesh, seen):
    """A fault with a header match meets only those calls"""
    mesh.route("reviews", {"match": [{"headers": {"x-chaos": {"exact": "on"}}}], "fault": abort(507)}, {})
    until(lambda: faulty(mesh, headers={"x-chaos": "on"}), "the abort is live")
    found = [mesh.call("sleep-v1", HOST, headers=one).status for one in ({"x-chaos": "on"}, {"x-chaos": "of"}, {})]
    assert found == [507, 200, 200]
    seen("with the header 507, with another value 200, without it 200")


def test_a_fault_on_one_route_leaves_the_others(mesh, seen):
    """A fault on one of several routes leaves the others alone"""
    first = {"match": [{"uri": {"prefix": "/good"}}]}
    mesh.route("reviews", first, {"match": [{"uri": {"prefix": "/bad"}}], "fault": abort(507)}, {})
    until(lambda: faulty(mesh, path="/bad"), "the abort is live")
    found = {path: mesh.call("sleep-v1", HOST, path).status for path in ("/good", "/bad", "/else")}
    assert found == {"/good": 200, "/bad": 507, "/else": 200}
    seen(", ".join(f"{path} {status}" for path, status in found.items()))


def test_a_fault_belongs_to_the_whole_route(mesh, seen):
    """A fault on a route with two weighted destinations meets both"""
    route = [{"destination": {"host": "reviews"}, "weight": 50}, {"destination": {"host": "details"}, "weight": 50}]
    mesh.route("reviews", {"route": route, "fault": abort(507)})
    until(lambda: faulty(mesh), "the abort is live")
    assert all(faulty(mesh) for _ in range(50))
    seen("all calls are aborted")


def test_a_fault_is_for_its_host_only(mesh, seen):
    """A fault on one host leaves the calls to others"""
    mesh.route("reviews", {"fault": abort(507)})
    until(lambda: faulty(mesh), "the abort is live")
    assert mesh.flags("sleep-v1", "details:9080") == (200, "-")
    seen("reviews 507, details 200")


def test_a_call_past_the_callers_sidecar_is_not_faulted(mesh, seen):
    """A call that reaches the callee's sidecar without the caller's"""
    mesh.route("reviews", {"fault": abort(507)})
    until(lambda: faulty(mesh), "the abort is live")
    reply = get(mesh.addresses["reviews-v1"].inbound, port=PORT, path="/", headers={"Host": HOST})
    assert reply.status == 200
    seen(f"{reply.status}: faults act in the caller's sidecar")
