"""VirtualService: what is said to whom, and what the lab's own control plane does not take."""

from __future__ import annotations

import pytest
from echo_mesh import PORT
from fault_words import abort
from refused import condition, events, refused
from waiting import until

from chaosmesh_ext.errors import Unprocessable

HOST = "reviews:9080"
TO = [{"destination": {"host": "reviews"}}]


def vs(*http, **spec):
    return {"hosts": ["reviews"], "http": [{"route": TO, **one} for one in http], **spec}


def faulted(mesh, status):
    until(lambda: mesh.call("sleep-v1", HOST).status == status, "the abort is live")


@pytest.mark.differs("the lab's API server asks nobody before it stores an object; istiod's webhook is asked")
def test_how_an_object_is_refused(mesh, seen, side):
    """How an invalid VirtualService is refused"""
    mesh.apply("VirtualService", "reviews", vs({"fault": abort(507)}))
    faulted(mesh, 507)
    bad = vs({"fault": abort(507, 101)})
    if side == "real":
        before = mesh.get("VirtualService", "reviews")
        with pytest.raises(Unprocessable) as caught:
            mesh.apply("VirtualService", "reviews", bad)
        assert caught.value.status == 400
        assert mesh.get("VirtualService", "reviews") == before
        how = f"the writer is answered {caught.value.status}, and nothing is written"
    else:
        mesh.apply("VirtualService", "reviews", bad)
        told = until(lambda: condition(mesh, "VirtualService", "reviews"), "a condition")
        event = until(lambda: events(mesh, "reviews", told["message"]), "an Event")[0]
        how = f"written, with a condition {told['type']}={told['status']} ({told['reason']}) and an Event ({event['type']})"
    faulted(mesh, 507)
    seen(f"{how}; the last good version stays in force")


TYPES = [
    ("abort.httpStatus, a text", {"abort": {"httpStatus": "x"}}, "a whole number is wanted", "must be of type integer"),
    (
        "abort.httpStatus beside abort.grpcStatus",
        {"abort": {"httpStatus": 503, "grpcStatus": "UNAVAILABLE"}},
        "only one of grpcStatus, httpStatus may be given",
        "must validate one and only one schema (oneOf)",
    ),
    (
        "delay.percentage, a number",
        {"delay": {"fixedDelay": "1s", "percentage": 50}},
        "an object with a number `value` is wanted",
        "must be of type object",
    ),
    (
        "delay.fixedDelay soon",
        {"delay": {"fixedDelay": "soon"}},
        "'soon' is not a duration",
        "must be a valid duration",
    ),
    ("delay.fixedDelay 5", {"delay": {"fixedDelay": "5"}}, "'5' is not a duration", "must be a valid duration"),
]


@pytest.mark.differs(
    "Istio's resource definitions speak before istiod does; the lab's control plane says it in its own words"
)
@pytest.mark.parametrize(("case", "fault", "ours", "theirs"), TYPES, ids=[one[0] for one in TYPES])
def test_a_value_of_a_wrong_kind(mesh, seen, side, case, fault, ours, theirs):
    """fault.{case}"""
    text = refused(mesh, "VirtualService", "refused", vs({"fault": fault}))
    assert (theirs if side == "real" else ours) in text
    seen(f"refused: {text}")


@pytest.mark.differs("what the lab's control plane does not know it refuses, so that nothing is ignored in silence")
def test_a_field_that_is_not_there(mesh, seen, side):
    """A field that Istio does not have"""
    spec = vs({"fault": abort(507), "fautl": {}})
    if side == "real":
        written = mesh.apply("VirtualService", "reviews", spec)
        assert "fautl" not in written["spec"]["http"][0]
        faulted(mesh, 507)
        seen("taken without it: the API server drops it")
    else:
        text = refused(mesh, "VirtualService", "reviews", spec)
        assert text.startswith("not implemented")
        seen(f"refused: {text}")


@pytest.mark.differs("the lab's control plane does not implement corsPolicy")
def test_cors(mesh, seen, side):
    """corsPolicy answers a browser's preflight"""
    spec = vs({"corsPolicy": {"allowOrigins": [{"exact": "http://shop.com"}], "allowMethods": ["GET"]}})
    if side == "real":
        mesh.apply("VirtualService", "reviews", spec)
        headers = {"origin": "http://shop.com", "access-control-request-method": "GET"}
        name = "access-control-allow-origin"
        reply = until(
            lambda: name in (one := mesh.call("sleep-v1", HOST, headers=headers, method="OPTIONS")).headers and one,
            "the policy is live",
        )
        assert (reply.status, reply.headers[name]) == (200, "http://shop.com")
        seen(f"{reply.status}, {name}: {reply.headers[name]}")
    else:
        text = refused(mesh, "VirtualService", "reviews", spec)
        assert text.startswith("not implemented")
        seen(f"refused: {text}")


@pytest.mark.differs("the lab's control plane does not implement delegates")
def test_delegates(mesh, seen, side):
    """A route that is delegated to another VirtualService"""
    root = {"hosts": ["reviews"], "http": [{"delegate": {"name": "part"}}]}
    part = {"http": [{"route": TO, "fault": abort(507)}]}
    if side == "real":
        mesh.apply("VirtualService", "part", part)
        mesh.apply("VirtualService", "reviews", root)
        faulted(mesh, 507)
        seen("the other's routes are in force")
    else:
        found = refused(mesh, "VirtualService", "part", part), refused(mesh, "VirtualService", "reviews", root)
        assert all("not implemented" in one for one in found)
        assert mesh.call("sleep-v1", HOST).status == 200
        seen(f"refused: {found[1]}; the part: {found[0]}")


@pytest.mark.differs("the lab's mesh speaks HTTP only")
@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_other_protocols(mesh, seen, side, protocol):
    """Routes of {protocol}"""
    match = {"match": [{"port": PORT, "sniHosts": ["reviews"]}]} if protocol == "tls" else {}
    spec = {"hosts": ["reviews"], protocol: [{**match, "route": TO}]}
    if side == "real":
        mesh.apply("VirtualService", "reviews", spec)
        assert mesh.call("sleep-v1", HOST).status == 200
        seen("taken; calls over HTTP are not affected")
    else:
        text = refused(mesh, "VirtualService", "reviews", spec)
        assert text.startswith("not implemented")
        seen(f"refused: {text}")


@pytest.mark.differs(
    "istiod takes codes that Envoy has no redirect for, and Envoy then refuses every route of the port"
)
def test_a_redirect_that_envoy_has_not(mesh, seen, side):
    """redirect.redirectCode 304"""
    spec = {"hosts": ["reviews"], "http": [{"redirect": {"uri": "/", "redirectCode": 304}}]}
    if side == "real":
        mesh.apply("VirtualService", "reviews", spec, wait=False)
        until(mesh.problems, "an Envoy refuses")
        seen("taken by istiod, refused by every Envoy")
    else:
        text = refused(mesh, "VirtualService", "reviews", spec)
        assert "304" in text
        seen(f"refused: {text}")
    assert mesh.call("sleep-v1", HOST).status == 200


SIDECARS = {f"{name}.default" for name in ("sleep-v1", "other-v1", "reviews-v1", "reviews-v2", "details-v1")}
ENVOYS = [
    ("a header value with an unknown variable", {"headers": {"request": {"set": {"x": "%NO_SUCH%"}}}}, "NO_SUCH"),
    ("directResponse.status 600", {"route": [], "directResponse": {"status": 600}}, "direct_response"),
]


@pytest.mark.parametrize(("case", "route", "words"), ENVOYS, ids=[one[0] for one in ENVOYS])
def test_what_only_envoy_refuses(mesh, seen, case, route, words):
    """{case}: istiod takes it, and Envoy does not"""
    mesh.apply("VirtualService", "reviews", vs({"fault": abort(507)}))
    faulted(mesh, 507)
    mesh.apply("VirtualService", "reviews", vs(route), wait=False)
    problems = until(mesh.problems, "an Envoy refuses")
    # of what a message validation says, Envoy sends the first 4,096 bytes only: they may end before the reason
    assert all(words in problem or len(problem) > 4000 for problem in problems), problems
    # a gateway that another test made has no route to reviews
    until(lambda: {one.name for one in mesh.proxies() if one.error} >= SIDECARS, "every sidecar refuses")
    mesh.apply("VirtualService", "details", {"hosts": ["details"], "http": [{"route": TO}]}, wait=False)
    assert mesh.call("sleep-v1", HOST).status == 507
    mesh.apply("VirtualService", "reviews", vs({"fault": abort(418)}))
    faulted(mesh, 418)
    assert mesh.problems() == []
    seen("every Envoy refuses and keeps what it has; once it is mended, what is written is in force")
