from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Egress
from chaosmesh_ext.faults.egress import without
from chaosmesh_ext.istio.sidecars import imports
from chaosmesh_ext.mesh import Create, Destination, Edit, Source, View
from chaosmesh_ext.mesh.ledger import disturbed, undo
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.model import Marker, Span, Trace, Workload

API, OTHER = "api.example.com", "cdn.example.com"
LABELS = {"app": "prices", "version": "v1"}
SOURCE = Source("prices-v1", "default", LABELS, (Workload("prices", "v1"),))
OUT = place(source=SOURCE, destination=Destination(API, API, "", 80, (80,)))


def obj(kind: str, name: str, spec: dict | None = None, *, namespace: str = "default", **labels: str) -> dict:
    meta = {
        "name": name,
        "namespace": namespace,
        "labels": labels,
        "uid": name,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return {"kind": kind, "metadata": meta, "spec": spec or {}}


ENTRIES = (
    obj("ServiceEntry", "api", {"hosts": [API]}),
    obj("ServiceEntry", "cdn", {"hosts": [OTHER]}, namespace="web"),
)
PODS = (obj("Pod", "prices-1", **LABELS), obj("Pod", "shop-1", app="shop", version="v1"))


BLOCKED = Egress()


def only(*others: dict, fault: Egress = BLOCKED, where=OUT) -> Create | Edit:
    (change,) = fault.changes(where, View(others=(*ENTRIES, *PODS, *others)))
    return change


def test_a_workload_without_any_sidecar_gets_one_that_lets_all_but_the_host_in():
    made = only().obj
    assert made["metadata"]["name"] == "chaos-12345678-1"
    assert made["spec"] == {
        "workloadSelector": {"labels": LABELS},
        "egress": [{"hosts": ["*/*.svc.cluster.local", f"web/{OTHER}"]}],
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
    }


def test_everything_outside_may_be_kept_away():
    made = only(fault=Egress(everything=True)).obj
    assert made["spec"]["egress"] == [{"hosts": ["*/*.svc.cluster.local"]}]


def test_it_starts_from_the_one_in_force_which_istiod_will_not_merge():
    """A namespace's Sidecar is no longer looked at once the workload has its own."""
    theirs = {"egress": [{"hosts": ["./*", "web/*"]}], "inboundConnectionPool": {"tcp": {"maxConnections": 5}}}
    made = only(obj("Sidecar", "default", theirs)).obj
    assert made["spec"]["egress"] == [{"hosts": ["./*.svc.cluster.local", "web/*.svc.cluster.local", f"web/{OTHER}"]}]
    assert made["spec"]["inboundConnectionPool"] == {"tcp": {"maxConnections": 5}}


def test_a_sidecar_of_the_workload_alone_is_changed_and_given_back():
    theirs = obj(
        "Sidecar", "prices", {"workloadSelector": {"labels": {"app": "prices"}}, "egress": [{"hosts": ["*/*"]}]}
    )
    change = only(theirs)
    assert change.target == ("Sidecar", "default", "prices")
    changed = apply(theirs, change.compute(theirs))
    assert changed["spec"]["egress"] == [{"hosts": ["*/*.svc.cluster.local", f"web/{OTHER}"]}]
    assert changed["spec"]["outboundTrafficPolicy"] == {"mode": "REGISTRY_ONLY"}
    assert apply(changed, undo(changed, "12345678").ops) == theirs
    assert disturbed(changed, "12345678") == ""
    changed["spec"]["workloadSelector"]["labels"]["app"] = "reviews"
    assert disturbed(changed, "12345678") == "its workloadSelector changed"


def test_a_sidecar_that_others_go_by_too_is_left_alone():
    theirs = obj("Sidecar", "v1s", {"workloadSelector": {"labels": {"version": "v1"}}})
    with pytest.raises(InvalidInput, match="is for shop-1 too"):
        only(theirs)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": None}, "say which one, as source"),
        ({"marker": Marker("12345678", "1")}, "requests: all"),
        ({"match": {"method": {"exact": "GET"}}}, "leave out match"),
        (
            {"destination": Destination("reviews.default.svc.cluster.local", "reviews", "default", 80, (80,))},
            "is a service",
        ),
    ],
)
def test_a_place_that_a_sidecar_cannot_mean_is_refused(changes, words):
    with pytest.raises(InvalidInput, match=words):
        only(where=msgspec.structs.replace(OUT, **changes))


def test_a_host_of_a_wildcard_is_refused_by_the_name_that_would_do():
    with pytest.raises(InvalidInput, match=r"name that as destination"):
        only(obj("ServiceEntry", "all", {"hosts": ["*.example.com"]}))


_HOSTS = st.sampled_from(["a.example.com", "b.example.com", "c.other.org"])
_INSIDE = st.sampled_from(["reviews.default.svc.cluster.local", "ratings.web.svc.cluster.local"])
_ENTRIES = st.lists(
    st.sampled_from(
        ["*/*", "./*", "web/*", "*/*.example.com", "web/a.example.com", "./reviews.default.svc.cluster.local"]
    ),
    min_size=1,
    unique=True,
)


@given(hosts=_ENTRIES, blocked=_HOSTS, probe=_HOSTS, inside=_INSIDE, home=st.sampled_from(["default", "web"]))
def test_only_the_host_is_kept_out_and_all_others_come_in_as_before(hosts, blocked, probe, inside, home):
    """Whatever the Sidecar in force says, with a host of each in each namespace."""
    declared = [
        (space, one) for space in ("default", "web") for one in ("a.example.com", "b.example.com", "c.other.org")
    ]
    spared = [pair for pair in declared if pair[1] != blocked]
    before = imports(hosts, "default")
    after = imports(without(hosts, "default", [blocked, *(one for _, one in declared)], spared), "default")
    assert not after.service(home, blocked)
    if probe != blocked:
        assert after.service(home, probe) == before.service(home, probe)
    if before.service(home, inside):
        assert after.service(home, inside)


@pytest.mark.parametrize(
    ("status", "flags", "shows"),
    [(502, (), True), (503, ("NC",), True), (503, ("UF",), False), (200, (), False), (502, ("UPE",), False)],
)
def test_it_shows_as_the_own_sidecars_refusal(status, flags, shows):
    span = Span(
        "t", "s", "", "CLIENT", "o", 0.0, 0.1, Workload("prices"), peer=API, status=status, flags=frozenset(flags)
    )
    assert Egress().shows_in(span, Trace("t", (span,))) is shows
