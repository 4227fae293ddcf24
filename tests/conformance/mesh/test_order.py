"""Order of changes."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from echo_mesh import PORT
from fault_words import abort, http_abort, http_fault
from waiting import until

HOST = f"details:{PORT}"
REVIEWS = f"reviews:{PORT}"
WHOLE = "details.default.svc.cluster.local"


def next_second():
    """Wait for the beginning of a second: timestamps are whole ones."""
    time.sleep(1.0 - time.time() % 1.0 + 0.01)


def speaks(mesh, name, status, namespace="default"):
    """A VirtualService for details that answers with STATUS."""
    http = [{"route": [{"destination": {"host": WHOLE}}], "fault": abort(status)}]
    mesh.apply("VirtualService", name, {"hosts": [WHOLE], "http": http}, namespace)


def subset(mesh, name, version):
    """A DestinationRule for reviews whose subset `it` is VERSION."""
    mesh.apply(
        "DestinationRule", name, {"host": "reviews", "subsets": [{"name": "it", "labels": {"version": version}}]}
    )


def patch(mesh, name, status):
    """An EnvoyFilter by which calls of details answer with STATUS."""
    value = {"typed_per_filter_config": http_fault(**http_abort(status))}
    config = {
        "applyTo": "VIRTUAL_HOST",
        "match": {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": {"name": f"{WHOLE}:{PORT}"}}},
        "patch": {"operation": "MERGE", "value": value},
    }
    mesh.apply("EnvoyFilter", name, {"configPatches": [config]})


def said(mesh):
    return mesh.call("sleep-v1", HOST).status


def says(mesh, status):
    """STATUS, once details' callers get it."""
    until(lambda: said(mesh) == status, lambda: f"details answers {status}, not {said(mesh)}")
    return status


def in_subset(mesh, version):
    """Wait until calls to the subset `it` are answered by VERSION; its name."""
    name = f"reviews-{version}"
    until(lambda: _answers(mesh) == {name}, f"{name} answers")
    return name


def _answers(mesh):
    found = [mesh.call("sleep-v1", REVIEWS) for _ in range(8)]
    return {one.json["name"] if one.status == 200 else one.status for one in found}


def age(mesh, kind, name, namespace="default"):
    return mesh.get(kind, name, namespace)["metadata"]["creationTimestamp"]


@pytest.mark.parametrize("first", ["a", "b"])
def test_virtual_services_of_one_second(mesh, seen, first):
    """Two VirtualServices a and b for one host, made in one second, {first} first"""
    next_second()
    for name in sorted("ab", reverse=first == "b"):
        speaks(mesh, name, {"a": 501, "b": 502}[name])
    assert age(mesh, "VirtualService", "a") == age(mesh, "VirtualService", "b")
    says(mesh, 501)
    seen("a speaks")


@pytest.mark.parametrize("first", ["default", "far"])
def test_virtual_services_of_one_name(mesh, seen, guest, first):
    """Two VirtualServices of one name in default and far for one host, made in one second, {first}'s first"""
    next_second()
    for namespace in sorted(("default", "far"), reverse=first == "far"):
        speaks(mesh, "same", {"default": 501, "far": 502}[namespace], namespace)
    assert age(mesh, "VirtualService", "same") == age(mesh, "VirtualService", "same", "far")
    until(lambda: mesh.call(guest, f"{WHOLE}:{PORT}").status == 501, "the caller in far")
    says(mesh, 501)
    seen("default's speaks, to callers in default and in far")


def test_a_change_does_not_make_younger(mesh, seen):
    """Of two VirtualServices for one host, the older is changed: it still speaks"""
    speaks(mesh, "b-older", 501)
    next_second()
    speaks(mesh, "a-younger", 502)
    says(mesh, 501)
    speaks(mesh, "b-older", 503)
    seen(f"501, then {says(mesh, 503)}")


def test_made_again_is_young(mesh, seen):
    """Of two VirtualServices for one host, the older is deleted and made again: the other speaks"""
    speaks(mesh, "a-older", 501)
    next_second()
    speaks(mesh, "b-younger", 502)
    found = [says(mesh, 501)]
    next_second()
    mesh.delete("VirtualService", "a-older")
    found.append(says(mesh, 502))
    speaks(mesh, "a-older", 501)
    speaks(mesh, "b-younger", 504)
    found.append(says(mesh, 504))
    mesh.delete("VirtualService", "b-younger")
    found.append(says(mesh, 501))
    seen(
        f"{found[0]}; deleted {found[1]}; made again, the other changed to 504: {found[2]}; the other deleted {found[3]}"
    )


@pytest.fixture
def routed(mesh):
    """Calls of reviews go to its subset `it`."""
    mesh.route("reviews", {"route": [{"destination": {"host": "reviews", "subset": "it"}}]})
    return mesh


@pytest.mark.parametrize("first", ["a", "b"])
def test_destination_rules_of_one_second(routed, seen, first):
    """Two DestinationRules a and b with a subset of one name, made in one second, {first} first"""
    next_second()
    for name in sorted("ab", reverse=first == "b"):
        subset(routed, name, {"a": "v1", "b": "v2"}[name])
    assert age(routed, "DestinationRule", "a") == age(routed, "DestinationRule", "b")
    in_subset(routed, "v1")
    seen("a's is in force")


def test_a_destination_rule_made_again(routed, seen):
    """Of two DestinationRules with a subset of one name, the older is deleted and made again: the other's is in force"""
    subset(routed, "a-older", "v1")
    next_second()
    subset(routed, "b-younger", "v2")
    found = [in_subset(routed, "v1")]
    next_second()
    routed.delete("DestinationRule", "a-older")
    found.append(in_subset(routed, "v2"))
    subset(routed, "a-older", "v1")
    found.append(in_subset(routed, "v2"))
    seen(", then ".join(found))


def test_an_envoy_filter_made_again(mesh, seen):
    """Of two EnvoyFilters for one virtual host, the older is deleted and made again: it is the last, and wins"""
    patch(mesh, "b-older", 501)
    next_second()
    patch(mesh, "a-younger", 502)
    found = [says(mesh, 502)]
    next_second()
    mesh.delete("EnvoyFilter", "b-older")
    patch(mesh, "b-older", 503)
    found.append(says(mesh, 503))
    mesh.delete("EnvoyFilter", "b-older")
    found.append(says(mesh, 502))
    mesh.delete("EnvoyFilter", "a-younger")
    found.append(says(mesh, 200))
    seen(f"{found[0]}; made again {found[1]}; deleted {found[2]}; the other deleted too {found[3]}")


SUBSETS = [{"name": "v1", "labels": {"version": "v1"}}]
TRIO = {
    "Service": {"selector": {"app": "reviews"}, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]},
    "DestinationRule": {"host": "trio", "subsets": SUBSETS},
    "VirtualService": {"hosts": ["trio"], "http": [{"route": [{"destination": {"host": "trio", "subset": "v1"}}]}]},
}
ORDERS = [" ".join(order) for order in itertools.permutations(TRIO)]


@pytest.fixture
def trio(mesh):
    """Takes away the service too."""
    yield mesh
    if mesh.get("Service", "trio"):
        mesh.delete("Service", "trio")


def met(mesh):
    """How calls of trio come out: a status, and who answered."""
    found = [mesh.call("sleep-v1", f"trio:{PORT}") for _ in range(8)]
    names = sorted({one.json["name"] if one.status == 200 else "nobody" for one in found})
    return f"{'/'.join(sorted({str(one.status) for one in found}))} by {' and '.join(names)}"


def expected(made):
    """What is met when the kinds MADE are there."""
    if "Service" not in made:
        return "502 by nobody"
    if "VirtualService" not in made:
        return "200 by reviews-v1 and reviews-v2"
    return "200 by reviews-v1" if "DestinationRule" in made else "503 by nobody"


@pytest.mark.parametrize("order", ORDERS)
def test_one_after_another(trio, seen, order):
    """{order}, one after another: what callers meet after each"""
    met_then = []
    for count, kind in enumerate(order.split(), 1):
        trio.apply(kind, "trio", TRIO[kind])
        wanted = expected(order.split()[:count])
        until(lambda wanted=wanted: met(trio) == wanted, lambda wanted=wanted: f"{wanted}, not {met(trio)}")
        met_then.append(wanted)
    seen("; ".join(met_then))


@pytest.mark.parametrize("order", ORDERS)
def test_all_at_once(trio, seen, order):
    """{order}, written at once: what callers meet in the end"""
    for kind in order.split():
        trio.apply(kind, "trio", TRIO[kind], wait=False)
    wanted = expected(TRIO)
    until(lambda: met(trio) == wanted, lambda: f"{wanted}, not {met(trio)}")
    trio.synced()
    assert met(trio) == wanted
    seen(wanted)


def under_load(mesh, change):
    """How many calls of reviews came out how while CHANGE was made, with calls before and after."""
    going, found = threading.Event(), Counter()

    def load():
        while not going.is_set():
            found[mesh.call("sleep-v1", REVIEWS).status] += 1

    def more():
        before = found.total()
        until(lambda: found.total() > before + 10, "ten more calls")

    with ThreadPoolExecutor(3) as pool:
        callers = [pool.submit(load) for _ in range(3)]
        try:
            for step in change:
                more()
                step()
            more()
        finally:
            going.set()
    for one in callers:
        one.result()
    return set(found)


TO_SUBSET = {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews", "subset": "v1"}}]}]}
RULE = {"host": "reviews", "subsets": SUBSETS}


def test_a_subset_and_then_the_route_to_it(mesh, seen):
    """DestinationRule, then VirtualService; deleted in the opposite order, under load: no call fails"""
    steps = [
        lambda: mesh.apply("DestinationRule", "reviews", RULE),
        lambda: mesh.apply("VirtualService", "reviews", TO_SUBSET),
        lambda: mesh.delete("VirtualService", "reviews"),
        lambda: mesh.delete("DestinationRule", "reviews"),
    ]
    assert under_load(mesh, steps * 3) == {200}
    seen("only 200")


def test_a_subset_and_the_route_to_it_at_once(mesh, seen):
    """DestinationRule and VirtualService written at once, under load: no promise that no call fails"""

    def come():
        mesh.apply("DestinationRule", "reviews", RULE, wait=False)
        mesh.apply("VirtualService", "reviews", TO_SUBSET)
        assert {mesh.call("sleep-v1", REVIEWS).status for _ in range(20)} == {200}

    # Envoy takes the route while the new cluster still waits for its endpoints: 503 NC
    assert under_load(mesh, [come]) <= {200, 503}
    seen("once Envoys have both, only 200; before that perhaps 503")


def test_a_subset_that_moves(mesh, seen):
    """DestinationRule whose subset becomes another version's, under load: no call fails"""
    mesh.route("reviews", {"route": [{"destination": {"host": "reviews", "subset": "it"}}]})
    subset(mesh, "reviews", "v1")
    in_subset(mesh, "v1")
    steps = [lambda version=version: subset(mesh, "reviews", version) for version in ("v2", "v1", "v2")]
    assert under_load(mesh, steps) == {200}
    seen(f"only 200, in the end by {in_subset(mesh, 'v2')}")
