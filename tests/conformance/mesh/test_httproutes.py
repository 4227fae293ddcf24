"""HTTPRoutes of the Gateway API on Services: matches and parents."""

from __future__ import annotations

import pytest
from chance import likely
from echo_mesh import PORT
from gateway_routes import TAG, attach, backend, rule, to_service

HOST = "reviews:9080"
WHOLE = "reviews.default.svc.cluster.local"
FAR = f"{WHOLE}:9080"


def path(value, kind="PathPrefix"):
    return {"path": {"type": kind, "value": value}}


def header(value, kind="Exact", name="x-a"):
    return {"headers": [{"name": name, "type": kind, "value": value}]}


def query(value, kind="Exact"):
    return {"queryParams": [{"name": "q", "type": kind, "value": value}]}


MATCHES = [
    ("path PathPrefix takes whole elements", path("/a"), ["/a", "/a/b", "/a?q=1"], ["/ab", "/", "/A"]),
    ("path PathPrefix ends with a slash", path("/a/"), ["/a", "/a/b"], ["/ab"]),
    ("path Exact", path("/a", "Exact"), ["/a", "/a?q=1"], ["/a/", "/a/b"]),
    ("path RegularExpression takes the whole path", path("/a.", "RegularExpression"), ["/ab"], ["/a", "/abc"]),
    ("no path", {"method": "GET"}, ["/", "/a"], []),
    ("queryParams", query("1"), ["/?q=1"], ["/", "/?q=2", "/?q=11"]),
    ("queryParams RegularExpression", query("1.*", "RegularExpression"), ["/?q=1", "/?q=12"], ["/?q=21"]),
    ("a path and queryParams", {**path("/a"), **query("1")}, ["/a?q=1"], ["/a", "/b?q=1"]),
]


@pytest.mark.parametrize(("case", "match", "taken", "left"), MATCHES, ids=[one[0] for one in MATCHES])
def test_a_match(mesh, seen, case, match, taken, left):
    """matches: {case}"""
    attach(mesh, rule(match))
    found = {one: mesh.call("sleep-v1", HOST, one).status for one in (*taken, *left)}
    assert found == {**dict.fromkeys(taken, 200), **dict.fromkeys(left, 404)}
    seen(", ".join(f"{one} {status}" for one, status in found.items()))


HEADERS = [
    ("headers", header("one"), "one", "two"),
    ("headers, their names in another case", header("one", name="X-A"), "one", "ONE"),
    ("headers RegularExpression takes the whole value", header("on.", "RegularExpression"), "one", "ones"),
]


@pytest.mark.parametrize(("case", "match", "good", "bad"), HEADERS, ids=[one[0] for one in HEADERS])
def test_a_header(mesh, seen, case, match, good, bad):
    """matches: {case}"""
    attach(mesh, rule(match))
    found = [mesh.call("sleep-v1", HOST, headers={"x-a": value}).status for value in (good, bad)]
    found.append(mesh.call("sleep-v1", HOST).status)
    assert found == [200, 404, 404]
    seen(f"{good} {found[0]}, {bad} {found[1]}, none {found[2]}")


def test_a_method(mesh, seen):
    """matches: method"""
    attach(mesh, rule({"method": "POST"}))
    found = {one: mesh.call("sleep-v1", HOST, method=one).status for one in ("POST", "GET")}
    assert found == {"POST": 200, "GET": 404}
    seen(", ".join(f"{one} {status}" for one, status in found.items()))


def test_several_matches(mesh, seen):
    """Several matches of a rule: any of them is enough"""
    attach(mesh, rule(path("/a"), header("one")))
    found = [
        mesh.call("sleep-v1", HOST, one, headers).status
        for one, headers in (("/a", {}), ("/", {"x-a": "one"}), ("/", {}))
    ]
    assert found == [200, 200, 404]
    seen(f"the first {found[0]}, the second {found[1]}, neither {found[2]}")


WINNERS = [
    ("a longer prefix before a shorter one", path("/a"), path("/a/b"), "/a/b/c", {}),
    ("an exact path before a prefix", path("/a/b/"), path("/a/b", "Exact"), "/a/b", {}),
    ("a prefix before a regex", path("/a/b/c.*", "RegularExpression"), path("/a"), "/a/b/cd", {}),
    ("a method before headers", {**path("/a"), **header("one")}, {**path("/a"), "method": "GET"}, "/a", {"x-a": "one"}),
    ("headers before queryParams", {**path("/a"), **query("1")}, {**path("/a"), **header("1")}, "/a?q=1", {"x-a": "1"}),
    ("a path before anything else", header("one"), path("/a"), "/a", {"x-a": "one"}),
]


@pytest.mark.parametrize(
    ("case", "first", "winner", "asked", "headers"), WINNERS, ids=[one[0].replace(" ", "-") for one in WINNERS]
)
def test_which_rule_wins(mesh, seen, case, first, winner, asked, headers):
    """Of two rules that match: {case}, whatever their order"""
    attach(mesh, rule(first, tag="first"), rule(winner, tag="winner"))
    found = mesh.call("sleep-v1", HOST, asked, headers).headers[TAG]
    assert found == "winner"
    seen(found)


def test_equal_rules(mesh, seen):
    """Of two rules that match equally well the first counts"""
    attach(mesh, rule(path("/a"), tag="first"), rule(path("/a"), tag="second"))
    found = mesh.call("sleep-v1", HOST, "/a").headers[TAG]
    assert found == "first"
    seen(found)


def test_several_routes(mesh, seen):
    """Rules of several HTTPRoutes for one Service: the more specific one, whichever route it is of"""
    attach(mesh, rule(tag="older"), name="a")
    attach(mesh, rule(path("/a"), tag="younger"), rule(tag="never"), name="b")
    found = [mesh.call("sleep-v1", HOST, one).headers[TAG] for one in ("/a", "/")]
    assert found == ["younger", "older"]
    seen(f"/a by the {found[0]} route, / by the {found[1]} one")


def test_no_rules(mesh, seen):
    """An HTTPRoute without rules"""
    mesh.apply("HTTPRoute", "route", {"parentRefs": [to_service()]})
    found = mesh.call("sleep-v1", HOST).status
    assert found == 500
    seen(str(found))


def test_no_matches(mesh, seen):
    """A rule without matches takes every request"""
    attach(mesh, rule())
    found = mesh.call("sleep-v1", HOST, "/any?q=1", method="PUT").status
    assert found == 200
    seen(str(found))


BACKENDS = [
    ("none", [], 500, ""),
    ("one of weight 0", [backend(weight=0)], 500, ""),
    ("one that is not there", [backend("gone")], 500, ""),
    ("another service", [backend("details")], 200, "details"),
    ("one of weight 0 and another", [backend(weight=0), backend("details")], 200, "details"),
    ("a port that the service has not", [backend(port=1)], 500, ""),
    ("one in another namespace, without a ReferenceGrant", [backend("guest", namespace="far")], 200, "guest"),
]


@pytest.mark.parametrize(("case", "refs", "status", "name"), BACKENDS, ids=[one[0] for one in BACKENDS])
def test_backends(mesh, guest, seen, case, refs, status, name):
    """backendRefs: {case}"""
    mesh.service("guest", namespace="far")
    attach(mesh, rule(backendRefs=refs))
    reply = mesh.call("sleep-v1", HOST)
    assert reply.status == status
    if name:
        assert reply.json["name"].startswith(name)
    seen(f"{status}{', ' + name if name else ''}")


def test_weights(mesh, seen):
    """backendRefs: weights need not add up to 100"""
    attach(mesh, rule(backendRefs=[backend(weight=3), backend("details", weight=1)]))
    for _ in range(200):
        mesh.call("sleep-v1", HOST)
    assert mesh.hits("reviews") in likely(75, 200)
    assert mesh.hits("reviews") + mesh.hits("details") == 200
    seen("3 to 1 within the binomial bound")


def test_a_missing_one_of_two(mesh, seen):
    """backendRefs: one of two is not there"""
    attach(mesh, rule(backendRefs=[backend(), backend("gone")]))
    found = {mesh.call("sleep-v1", HOST).status for _ in range(40)}
    assert found == {200, 500}
    seen("its share of requests is answered by 500")


def test_a_port(mesh, seen):
    """parentRefs.port: that port of the Service only"""
    mesh.service("details", port=9081)
    try:
        attach(mesh, rule(tag="ruled"), parent=to_service("details", port=9081))
        mesh.apply(
            "Service",
            "details",
            {
                "selector": {"app": "details"},
                "ports": [
                    {"name": "http", "port": PORT, "targetPort": PORT},
                    {"name": "http-too", "port": 9081, "targetPort": PORT},
                ],
            },
        )
        found = [TAG in mesh.call("sleep-v1", f"details:{port}", port=port).headers for port in (9081, PORT)]
    finally:
        mesh.service("details")
        mesh.synced()
    assert found == [True, False]
    seen("by the rule at that port, not at another")


def test_a_route_for_a_port_and_one_for_all(mesh, seen):
    """An HTTPRoute for a port beside one for all ports: rules of one of them count"""
    # the older one's, by the second in which each was made; in the same second those of the one for a port
    attach(mesh, rule(tag="port"), name="b", parent=to_service(port=PORT))
    attach(mesh, rule(path("/a"), tag="all"), name="a")
    found = [mesh.call("sleep-v1", HOST, one).headers[TAG] for one in ("/a", "/")]
    assert found == ["port", "port"]
    seen(f"/a by the one for the {found[0]}, / by the one for the {found[1]}")


def test_callers(mesh, guest, seen):
    """An HTTPRoute in its Service's namespace is for all callers"""
    attach(mesh, rule(tag="ruled"))
    found = [mesh.call(source, FAR).headers.get(TAG) for source in ("sleep-v1", guest)]
    assert found == ["ruled", "ruled"]
    seen("of this namespace and of another")


def test_a_consumers_route(mesh, guest, seen):
    """An HTTPRoute in another namespace than its Service's is for callers of its own"""
    attach(mesh, rule(tag="ruled", backendRefs=[backend(namespace="default")]), namespace="far", parent=far_parent())
    found = [mesh.call(source, FAR).headers.get(TAG) for source in ("sleep-v1", guest)]
    assert found == [None, "ruled"]
    seen("for those of its own namespace only")


def far_parent():
    return to_service(namespace="default")


def test_a_consumers_route_and_the_producers(mesh, guest, seen):
    """A consumer's HTTPRoute beside the producer's"""
    attach(mesh, rule(tag="producer"))
    attach(mesh, rule(path("/a"), tag="consumer", backendRefs=[backend(namespace="default")]), namespace="far",
           name="own", parent=far_parent())  # fmt: skip
    found = [mesh.call(guest, FAR, "/a").headers.get(TAG), mesh.call(guest, FAR, "/").status]
    found.append(mesh.call("sleep-v1", FAR, "/a").headers.get(TAG))
    assert found == ["consumer", 404, "producer"]
    seen(f"its callers have its rules alone: /a {found[0]}, / {found[1]}; others /a {found[2]}")


def test_hostnames(mesh, seen):
    """hostnames of an HTTPRoute on a Service count for nothing"""
    attach(mesh, rule(tag="ruled"), hostnames=["elsewhere.com"])
    found = mesh.call("sleep-v1", HOST).headers.get(TAG)
    assert found == "ruled"
    seen(found)


def test_a_changed_route(mesh, seen):
    """A change and the end of an HTTPRoute"""
    found = []
    for tag in ("one", "two"):
        attach(mesh, rule(tag=tag))
        found.append(mesh.call("sleep-v1", HOST).headers.get(TAG))
    mesh.delete("HTTPRoute", "route")
    found.append(mesh.call("sleep-v1", HOST).headers.get(TAG))
    assert found == ["one", "two", None]
    seen("in force at once, and gone at once")
