"""HTTPRoutes of the Gateway API: their status."""

from __future__ import annotations

import pytest
from gateway_routes import attach, backend, rule, to_service
from waiting import until

MIRROR = {"type": "RequestMirror", "requestMirror": {"backendRef": backend("mirror")}}


def told(mesh, generation=1):
    """What the status says once it is about a GENERATION, or None."""
    parents = ((mesh.get("HTTPRoute", "route") or {}).get("status") or {}).get("parents")
    if parents is None or any(
        one["observedGeneration"] != generation for each in parents for one in each["conditions"]
    ):
        return None
    return [
        "{}: {}".format(
            each["parentRef"]["name"],
            ", ".join(
                f"{one['type']} {one['status']}, {one['reason']}, {one['message']}" for one in each["conditions"]
            ),
        )
        for each in parents
    ] or ["no parents"]


CASES = [
    ("that is fine", to_service(), [rule()]),
    ("for a Service that is not there", to_service("gone"), [rule()]),
    ("for a Gateway that is not there", {"name": "gone"}, [rule()]),
    ("with backends that are not there", to_service(), [rule(backendRefs=[backend("gone"), backend("lost")])]),
    ("with a mirror that is not there", to_service(), [rule(filters=[MIRROR])]),
    ("with a backend of weight 0 that is not there", to_service(), [rule(backendRefs=[backend("gone", weight=0)])]),
    ("without backends", to_service(), [rule(backendRefs=[])]),
]


@pytest.mark.parametrize(("case", "parent", "rules"), CASES, ids=[one[0] for one in CASES])
def test_a_status(mesh, seen, case, parent, rules):
    """An HTTPRoute {case}"""
    attach(mesh, *rules, parent=parent)
    for line in until(lambda: told(mesh), "a status"):
        seen(line)


def test_two_parents(mesh, seen):
    """An HTTPRoute for two Services, one of which is not there"""
    mesh.apply("HTTPRoute", "route", {"parentRefs": [to_service(), to_service("gone")], "rules": [rule()]})
    for line in until(lambda: told(mesh), "a status"):
        seen(line)


def test_a_change(mesh, seen):
    """A status follows a change, and what becomes of the backends"""
    attach(mesh, rule(backendRefs=[backend("later")]))
    until(lambda: told(mesh), "a status")
    attach(mesh, rule(backendRefs=[backend("later", weight=2)]))
    found = [until(lambda: told(mesh, 2), "a status of the second generation")[0]]
    mesh.service("later")
    try:
        found.append(
            until(lambda: next((one for one in told(mesh, 2) or [] if one != found[0]), None), "another status")
        )
    finally:
        mesh.delete("Service", "later")
    assert ["BackendNotFound" in one for one in found] == [True, False]
    seen("it does")
