"""VirtualService faults: whom they meet, and what goes with them."""

from __future__ import annotations

import pytest
from fault_words import abort, fixed_delay
from waiting import until

HOST = "reviews:9080"
SLEEP = {"sourceLabels": {"app": "sleep"}}
BODY = "fault filter abort"


def faulted(mesh, source="sleep-v1", host=HOST, **kwargs):
    return mesh.call(source, host, **kwargs).body.decode() == BODY


def live(mesh, source="sleep-v1", host=HOST, **kwargs):
    until(lambda: faulted(mesh, source, host, **kwargs), "the abort is live")


def who(mesh, *sources, host=HOST):
    """Which of SOURCES are faulted, in words."""
    return ", ".join(f"{one} {'faulted' if faulted(mesh, one, host) else 'spared'}" for one in sources)


def slow(mesh, seconds):
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].delay = seconds


def failing(mesh, status=503):
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].answer = status


def test_a_fault_without_a_match_meets_every_caller(mesh, seen):
    """A fault without a match meets every caller"""
    mesh.route("reviews", {"fault": abort(507)})
    live(mesh)
    found = who(mesh, "sleep-v1", "other-v1", "reviews-v1")
    assert "spared" not in found
    seen(found)


def test_source_labels_choose_the_caller(mesh, seen):
    """match.sourceLabels faults that caller only"""
    mesh.route("reviews", {"match": [SLEEP], "fault": abort(507)}, {})
    live(mesh)
    found = who(mesh, "sleep-v1", "other-v1")
    assert found == "sleep-v1 faulted, other-v1 spared"
    seen(found)


def test_source_labels_of_which_one_does_not_fit(mesh, seen):
    """match.sourceLabels of which one does not fit faults nobody"""
    labels = {"sourceLabels": {"app": "sleep", "version": "v2"}}
    mesh.route("reviews", {"match": [labels], "fault": abort(507)}, {"rewrite": {"uri": "/taken"}})
    until(lambda: mesh.call("sleep-v1", HOST).json["path"] == "/taken", "the route is live")
    found = who(mesh, "sleep-v1", "other-v1")
    assert found == "sleep-v1 spared, other-v1 spared"
    seen(found)


def test_source_labels_and_headers_must_both_fit(mesh, seen):
    """match.sourceLabels and match.headers in one match must both fit"""
    match = {**SLEEP, "headers": {"x-chaos": {"exact": "on"}}}
    mesh.route("reviews", {"match": [match], "fault": abort(507)}, {})
    live(mesh, headers={"x-chaos": "on"})
    marked = faulted(mesh, "other-v1", headers={"x-chaos": "on"})
    assert (faulted(mesh), marked) == (False, False)
    seen("sleep-v1 with the header faulted, without it spared; other-v1 with the header spared")


def test_two_matches_are_alternatives(mesh, seen):
    """Two matches of one route are alternatives"""
    other = {"sourceLabels": {"app": "other"}, "headers": {"x-chaos": {"exact": "on"}}}
    mesh.route("reviews", {"match": [SLEEP, other], "fault": abort(507)}, {})
    live(mesh)
    found = faulted(mesh, "other-v1"), faulted(mesh, "other-v1", headers={"x-chaos": "on"})
    assert found == (False, True)
    seen("sleep-v1 by its labels, other-v1 by its labels and a header")


def test_gateways_in_a_match_hide_its_source_labels(mesh, seen):
    """match.gateways [mesh] beside match.sourceLabels makes every caller match"""
    mesh.route("reviews", {"match": [{**SLEEP, "gateways": ["mesh"]}], "fault": abort(507)}, {})
    live(mesh)
    found = who(mesh, "sleep-v1", "other-v1")
    assert found == "sleep-v1 faulted, other-v1 faulted"
    seen(found)


def test_source_namespace_chooses_the_caller(mesh, seen, guest):
    """match.sourceNamespace faults the callers of that namespace only"""
    host = "reviews.default:9080"
    mesh.route("reviews", {"match": [{"sourceNamespace": "far"}], "fault": abort(507)}, {})
    live(mesh, guest, host)
    found = who(mesh, "sleep-v1", host=host), who(mesh, guest, host=host)
    assert found == ("sleep-v1 spared", f"{guest} faulted")
    seen("a caller in namespace far faulted, one in default spared")


def test_the_first_route_that_matches_wins(mesh, seen):
    """Of two routes that match, the first one's fault acts"""
    mesh.route("reviews", {"match": [SLEEP], "fault": abort(507)}, {"fault": abort(418)})
    until(lambda: mesh.call("sleep-v1", HOST).status == 507, "the fault is live")
    found = mesh.call("sleep-v1", HOST).status, mesh.call("other-v1", HOST).status
    assert found == (507, 418)
    seen("sleep-v1 507 by the first, other-v1 418 by the second")


def test_a_delay_longer_than_the_routes_timeout(mesh, seen):
    """A delay longer than the route's timeout is not timed out by the same sidecar"""
    mesh.route("reviews", {"fault": fixed_delay("0.4s"), "timeout": "0.1s"})
    until(lambda: mesh.call("sleep-v1", HOST).took > 0.38, "the delay is live")
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, tags["response_flags"], reply.took > 0.38) == (200, "DI", True)
    seen(f"{reply.status} {tags['response_flags']} after the delay")


def test_the_call_after_a_delay_is_timed_out(mesh, seen):
    """After a delay, the route's timeout holds for the call itself"""
    slow(mesh, 5.0)
    mesh.route("reviews", {"fault": fixed_delay("0.2s"), "timeout": "0.3s"})
    until(lambda: mesh.call("sleep-v1", HOST).status == 504, "the timeout is live")
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, tags["response_flags"]) == (504, "DI,UT")
    assert 0.48 <= reply.took < 4.0
    seen(f"{reply.status} {tags['response_flags']} after delay and timeout")


def test_an_abort_is_not_retried(mesh, seen):
    """An abort is not retried by the same sidecar"""
    retries = {"attempts": 3, "retryOn": "5xx"}
    mesh.route("reviews", {"fault": abort(503), "retries": retries})
    live(mesh)
    before = _aborts(mesh)
    assert mesh.flags("sleep-v1", HOST) == (503, "FI")
    assert _aborts(mesh) - before == 1
    assert mesh.hits("reviews") == 0
    seen("503 FI, one abort, reviews is not called")


def _aborts(mesh):
    lines = mesh.stats("sleep-v1", "/stats?filter=fault.aborts_injected$").splitlines()
    return sum(int(line.rpartition(": ")[2]) for line in lines)


def test_a_delay_is_not_repeated_by_retries(mesh, seen):
    """A delay beside retries: the call is tried again, the delay is not"""
    failing(mesh)
    mesh.route("reviews", {"fault": fixed_delay("1.5s"), "retries": {"attempts": 2, "retryOn": "5xx"}})
    until(lambda: mesh.call("sleep-v1", HOST).took > 1.48, "the delay is live")
    hits = mesh.hits("reviews")
    reply, tags = mesh.traced("sleep-v1", HOST)
    tried = mesh.hits("reviews") - hits
    assert (reply.status, tags["response_flags"], tried) == (503, "DI,URX", 3)
    assert 1.48 <= reply.took < 2 * 1.48
    seen(f"{reply.status} {tags['response_flags']}, {tried} calls after one delay")


def test_an_abort_is_before_weights(mesh, seen):
    """A fault of 50 % beside weights: what is not aborted is shared by the weights"""
    route = [{"destination": {"host": "reviews"}, "weight": 100}, {"destination": {"host": "details"}, "weight": 0}]
    mesh.route("reviews", {"route": route, "fault": abort(507, 50)})
    until(lambda: mesh.call("sleep-v1", HOST).status == 507, "the abort is live")
    answers = [mesh.call("sleep-v1", HOST) for _ in range(60)]
    served = [one.json["name"] for one in answers if one.status == 200]
    assert 0 < len(served) < 60
    assert set(served) == {"reviews-v1", "reviews-v2"}
    seen("aborted, or answered by the destination with all the weight")


def test_an_abort_sets_no_request_headers_and_answers_with_the_routes_response_headers(mesh, seen):
    """An abort beside headers.response.add"""
    mesh.route("reviews", {"fault": abort(507), "headers": {"response": {"add": {"x-added": "yes"}}}})
    live(mesh)
    added = mesh.call("sleep-v1", HOST).headers.get("x-added", "absent")
    assert added == "yes"
    seen(f"x-added: {added}")


@pytest.mark.parametrize("name", ["x-envoy-fault-abort-request", "x-envoy-fault-delay-request"])
def test_envoys_own_fault_headers_are_not_heeded(mesh, seen, name):
    """The request header {name} injects nothing"""
    value = "507" if "abort" in name else "5000"
    mesh.route("reviews", {"match": [{"uri": {"exact": "/live"}}], "fault": abort(507)}, {"fault": abort(418, 0)})
    live(mesh, path="/live")
    reply = mesh.call("sleep-v1", HOST, headers={name: value, f"{name}-percentage": "100"})
    assert reply.status == 200
    assert reply.took < 4.0
    seen("200 at once")


def test_the_spans_of_an_abort(mesh, seen):
    """The span of an aborted call"""
    mesh.route("reviews", {"fault": abort(503)})
    live(mesh)
    _, tags = mesh.traced("sleep-v1", HOST)
    kinds = [one["kind"] for one in mesh.otlp.spans if one["tags"].get("response_flags") == "FI"]
    assert set(kinds) == {3}
    found = {name: tags.get(name) for name in ("http.status_code", "response_flags", "error", "upstream_cluster.name")}
    assert found["error"] == "true"
    seen(f"CLIENT only: {', '.join(f'{name}={value}' for name, value in found.items())}")


def test_deleting_the_object_takes_the_fault_back(mesh, seen):
    """Deleting the VirtualService takes the fault back"""
    mesh.route("reviews", {"fault": abort(507)})
    live(mesh)
    mesh.delete("VirtualService", "reviews")
    until(lambda: not faulted(mesh), "the fault is gone")
    assert {mesh.call("sleep-v1", HOST).status for _ in range(20)} == {200}
    seen("200 again")


def test_taking_the_fault_out_of_the_route_takes_it_back(mesh, seen):
    """A route written without its fault is clean"""
    mesh.route("reviews", {"fault": abort(507)})
    live(mesh)
    mesh.route("reviews", {})
    until(lambda: not faulted(mesh), "the fault is gone")
    assert mesh.flags("sleep-v1", HOST) == (200, "-")
    seen("200 again")


def test_a_change_of_the_fault_is_taken(mesh, seen):
    """A fault that is written anew replaces the old one"""
    mesh.route("reviews", {"fault": abort(507)})
    live(mesh)
    mesh.route("reviews", {"fault": fixed_delay("0.3s")})
    until(lambda: not faulted(mesh), "the abort is gone")
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, tags["response_flags"]) == (200, "DI")
    seen(f"abort 507, then {reply.status} {tags['response_flags']}")
