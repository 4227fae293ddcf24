"""The Gateway API's objects in Istio's words; what they do in a mesh is in tests/conformance/mesh/test_httproutes*.py."""

import itertools

from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.rules import Home, converted, in_order
from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.status import stamped

HOME = Home("default", {"details.default.svc.cluster.local", "guest.far.svc.cluster.local"}, mesh=True)
MATCHES = [
    {"path": {"type": "Exact", "value": "/a"}},
    {"path": {"type": "PathPrefix", "value": "/a/b"}, "method": "GET"},
    {"path": {"type": "PathPrefix", "value": "/a/b"}, "headers": [{"name": name, "value": "1"} for name in "xy"]},
    {"path": {"type": "PathPrefix", "value": "/a/b"}, "headers": [{"name": "x", "value": "1"}]},
    {"path": {"type": "PathPrefix", "value": "/a/b"}, "queryParams": [{"name": "x", "value": "1"}]},
    {"path": {"type": "PathPrefix", "value": "/a/b"}},
    {"path": {"type": "PathPrefix", "value": "/a"}, "method": "GET"},
    {"path": {"type": "RegularExpression", "value": "/a/b/c/.*"}},
]


def names(routes):
    return [one["name"] for one in routes]


def test_rules_are_tried_in_one_order_however_they_are_written():
    """The Gateway API ranks matches; the order of an object's rules, or of objects, decides between equals only."""
    routes = [one for n, match in enumerate(MATCHES) for one in converted({"matches": [match]}, str(n), HOME)]
    for shuffled in itertools.islice(itertools.permutations(routes), 0, 40320, 97):
        assert names(in_order(list(shuffled))) == names(routes)


def test_a_rule_has_a_route_for_each_of_its_matches():
    found = list(converted({"name": "mine", "matches": MATCHES[:3]}, "other", HOME))
    assert names(found) == ["mine"] * 3
    assert [len(one["match"]) for one in found] == [1, 1, 1]


def test_another_namespace_is_open_to_the_mesh_and_closed_to_a_gateway():
    """A Gateway's route needs a ReferenceGrant, which the lab has not; a consumer's own route needs none."""
    ref = {"name": "guest", "namespace": "far", "port": 80}
    assert HOME.destination(ref) == {"host": "guest.far.svc.cluster.local", "port": {"number": 80}}
    assert HOME.trouble(ref) == ("", "")
    at_a_gateway = Home(HOME.namespace, HOME.services, mesh=False)
    assert at_a_gateway.destination(ref) == {"host": ""}
    assert at_a_gateway.trouble(ref)[0] == "RefNotPermitted"


def parent(name, **conditions):
    told = [{"type": kind, "status": status, "reason": "any"} for kind, status in conditions.items()]
    return {"parentRef": {"name": name}, "conditions": told}


def times(parents):
    return [[one["lastTransitionTime"] for one in each["conditions"]] for each in parents]


def test_a_condition_keeps_its_time_until_its_status_changes():
    first = stamped([parent("a", Accepted="True", ResolvedRefs="True")], [], "t1")
    second = stamped([parent("a", Accepted="True", ResolvedRefs="False"), parent("b", Accepted="True")], first, "t2")
    assert times(first) == [["t1", "t1"]]
    assert times(second) == [["t1", "t2"], ["t2"]]
