"""HTTPRoutes of a Gateway of Gateway API's: which rules become ours, and what is refused before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from overlays import EVERYBODY, RUN, place

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.faults import Abort, Routes, Shift, Timeout
from chaosmesh_ext.mesh import Source, View, overlay
from chaosmesh_ext.mesh import place as resolved
from chaosmesh_ext.mesh import view as seen
from chaosmesh_ext.mesh.entering import refuse_at_gateway
from chaosmesh_ext.mesh.httproute import plan
from chaosmesh_ext.mesh.ledger import undo
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.model import Scope, Workload
from chaosmesh_ext.run.evidence import Watched

ANY = {"path": {"type": "PathPrefix", "value": "/"}}
PARENT = {"name": "entry", "namespace": "edge"}
LABELS = {"istio": "ingressgateway"}
POD = {"containers": [{"name": "istio-proxy", "image": "proxy:1"}]}
ENTRY = Source("entry", "edge", LABELS, (Workload("istio-ingressgateway", "", "edge"),), "edge/entry", gateway_api=True)
OLD = Source("entry", "edge", LABELS, ENTRY.workloads, "edge/entry")


def path(value: str, kind: str = "PathPrefix", **more: Any) -> dict[str, Any]:
    return {"path": {"type": kind, "value": value}, **more}


def to(*names: str, port: int = 9080) -> list[dict[str, Any]]:
    return [{"group": "", "kind": "Service", "name": name, "port": port, "weight": 1} for name in names]


def rule(*matches: dict[str, Any], backends: Any = None, **more: Any) -> dict[str, Any]:
    return {"matches": list(matches) or [ANY], "backendRefs": backends or to("details"), **more}


def route(*rules: dict[str, Any], name: str = "shop", parents: Any = None, made: str = "2026-01-02T00:00:00Z", **spec):
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": made},
        "spec": {"parentRefs": parents or [PARENT], "hostnames": ["shop.example"], "rules": list(rules), **spec},
    }


def at(owner: dict[str, Any], *beside: dict[str, Any]) -> View:
    return View(http_route="default/shop", http_routes=(owner,), beside=beside)


def laid_over(fault: Any, owner: dict[str, Any], *beside: dict[str, Any], **scope: Any) -> dict[str, Any]:
    (change,) = plan(fault, place(**{"source": ENTRY, **scope}), at(owner, *beside))
    after = apply(owner, change.compute(owner))
    assert apply(after, undo(after, RUN).ops) == owner
    return after


def names(obj: dict[str, Any]) -> list[str | None]:
    return [one.get("name") for one in obj["spec"]["rules"]]


def refused(words: str, owner: dict[str, Any], *beside: dict[str, Any], fault: Any = None, **scope: Any) -> None:
    with pytest.raises(InvalidInput, match=words):
        plan(fault or Timeout(3), place(**{"source": ENTRY, **scope}), at(owner, *beside))


def test_only_rules_that_lead_to_the_destination_become_ours():
    other, port = rule(path("/other"), backends=to("other")), rule(path("/port"), backends=to("details", port=1))
    after = laid_over(Timeout(3), route(other, port, rule(name="all")))
    assert names(after) == [None, None, f"chaos-{RUN}-1", "all"]
    assert after["spec"]["rules"][2]["timeouts"] == {"request": "3s"}


def test_for_everybody_the_copy_stands_before_its_own():
    assert names(laid_over(Timeout(3), route(rule(name="all")), **EVERYBODY | {"source": ENTRY})) == [
        f"chaos-{RUN}-1",
        "all",
    ]


def test_a_rule_that_sends_elsewhere_too_is_divided_by_a_shift_alone():
    owner = route(rule(backends=to("details", "details-v2")))
    refused("sends to details and to details-v2, whose requests would meet it too", owner)
    shifted = laid_over(Shift({"details": 1, "details-v2": 9}), owner)["spec"]["rules"][0]
    assert [one["weight"] for one in shifted["backendRefs"]] == [1, 9]
    refused("and to details-v2", owner, fault=Shift({"details": 1, "details-v3": 9}))


def test_a_copy_that_would_go_before_what_leads_elsewhere_is_refused():
    """A header goes before a parameter; a copy of the other rule, with the marker too, would go before both."""
    mine = rule(path("/", queryParams=[{"name": "a", "type": "Exact", "value": "1"}]))
    other = rule(path("/", headers=[{"name": "x", "type": "Exact", "value": "1"}]), backends=to("other"))
    refused("a copy of rule 0 would be tried before rule 1", route(mine, other))


def test_what_takes_everything_stands_behind_expressions_at_a_gateway():
    """istiod puts it last there, and a copy with the marker is none of that sort; in the mesh it is the other way."""
    refused("before rule 0", route(rule(path("/a.*", "RegularExpression"), backends=to("other")), rule()))
    after = laid_over(Timeout(3), route(rule(path("/a", "Exact"), backends=to("other")), rule()))
    assert names(after) == [None, f"chaos-{RUN}-1", None]


@pytest.mark.parametrize(
    ("match", "made", "hosts", "taken"),
    [
        (path("/b"), "2026-01-01T00:00:00Z", ["shop.example"], True),
        (path("/a/b"), "2026-01-01T00:00:00Z", ["shop.example"], True),
        (path("/a"), "2026-01-01T00:00:00Z", ["shop.example"], False),
        (path("/a"), "2026-01-03T00:00:00Z", ["shop.example"], True),
        (path("/a"), "2026-01-01T00:00:00Z", ["*.example"], False),
        (path("/a"), "2026-01-01T00:00:00Z", ["other.example"], True),
    ],
)
def test_of_rules_in_other_routes_for_the_host_only_older_ones_that_are_as_specific_are_in_the_way(
    match, made, hosts, taken
):
    other = route(rule(match, backends=to("other")), name="a", made=made, hostnames=hosts)
    if taken:
        assert names(laid_over(Timeout(3), route(rule(path("/a"))), other))[0] == f"chaos-{RUN}-1"
    else:
        refused("a rule of another HTTPRoute for its hosts", route(rule(path("/a"))), other)


def test_routes_of_istio_for_the_same_host_are_refused():
    meta = {"name": "old", "namespace": "edge"}
    routes = {"kind": "VirtualService", "metadata": meta, "spec": {"hosts": ["shop.example"]}}
    server = {"kind": "Gateway", "metadata": meta, "spec": {"servers": [{"hosts": ["edge/shop.example"]}]}}
    everything = {"kind": "VirtualService", "metadata": meta, "spec": {"hosts": ["*"]}}
    refused("Istio's VirtualService edge/old have a host in common", route(rule()), routes)
    refused("Istio's Gateway edge/old have a host in common", route(rule()), server)
    refused("have a host in common", route(rule(), hostnames=[]), everything)
    assert laid_over(Timeout(3), route(rule()), everything)


def test_a_route_for_others_than_the_gateway_is_refused():
    service = {"group": "", "kind": "Service", "name": "details"}
    for other in (service, {"name": "second"}):
        refused("other parents than the Gateway edge/entry", route(rule(), parents=[PARENT, other]))
    sections = [{**PARENT, "sectionName": "http"}, {**PARENT, "sectionName": "https"}]
    assert laid_over(Timeout(3), route(rule(), parents=sections))


def test_what_there_is_no_way_to_do_at_a_gateway_is_refused():
    with pytest.raises(InvalidInput, match="a Gateway of Gateway API's, where rules of its HTTPRoutes are changed"):
        refuse_at_gateway(place(source=ENTRY), Routes())
    with pytest.raises(InvalidInput, match="a Gateway of Istio's, where calls can be delayed and aborted"):
        refuse_at_gateway(place(source=OLD), Timeout(3))
    with pytest.raises(InvalidInput, match="VirtualServices are not bound to it"):
        overlay.plan(Timeout(3), place(source=ENTRY), View())
    with pytest.raises(InvalidInput, match="no HTTPRoute of the Gateway edge/entry has a rule that leads to details"):
        plan(Timeout(3), place(source=ENTRY), View())
    refused("has no faults", route(rule()), fault=Abort(507))
    with pytest.raises(InvalidInput, match="several HTTPRoutes"):
        plan(Timeout(3), place(source=ENTRY), View(http_routes=(route(rule()), route(rule()))))


def test_the_watched_calls_are_those_that_the_gateway_sends_on():
    """A share of them goes to another Service, and is watched there."""
    watched = Watched.of(place(source=ENTRY, versions={"details": frozenset(), "details-v2": frozenset()}))
    assert (watched.namespace, watched.gateway, watched.instead) == ("edge", False, {"details", "details-v2"})
    assert Watched.of(place(source=OLD)).gateway


@pytest.fixture
def edge(api, client, make):
    """A Gateway of Gateway API in another namespace, whose address names the Service of its pods."""
    meta = {"name": "in", "namespace": "edge", "labels": LABELS | {"app": "istio-ingressgateway"}}
    front = make.service("front", "edge")
    front["spec"]["selector"] = LABELS
    address = {"type": "Hostname", "value": "front.edge.svc.cluster.local"}
    spec = {"gatewayClassName": "istio", "addresses": [address], "listeners": []}
    kind = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway"}
    deployed = {"name": "made-istio", "namespace": "edge", "labels": {"gateway.networking.k8s.io/gateway-name": "made"}}
    api.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}},
        make.service("details"),
        front,
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": POD},
        {"apiVersion": "v1", "kind": "Pod", "metadata": deployed, "spec": POD},
        {**kind, "metadata": {"name": "entry", "namespace": "edge"}, "spec": spec},
        {**kind, "metadata": {"name": "made", "namespace": "edge"}, "spec": {**spec, "addresses": []}},
        {**kind, "metadata": {"name": "empty", "namespace": "default"}, "spec": {**spec, "addresses": []}},
    )
    return client


def found(edge, **scope):
    return resolved(edge, Scope(**{"host": "details", "gateway": "edge/entry", **scope}), run=RUN, cell="1")


def test_a_gateway_is_the_pods_of_its_addresses_service_or_those_deployed_for_it(edge):
    assert found(edge).source == ENTRY
    assert found(edge).proxies_in == "edge"
    assert found(edge, gateway="edge/made").source.labels == {"gateway.networking.k8s.io/gateway-name": "made"}
    with pytest.raises(InvalidInput, match="no pod serves the Gateway default/empty"):
        found(edge, gateway="empty")
    with pytest.raises(NotFound, match="no Gateway nobody in namespace edge: there are entry, made"):
        found(edge, gateway="edge/nobody")
    with pytest.raises(InvalidInput, match="leave one of them out"):
        resolved(edge, Scope(host="details", source="in", gateway="edge/entry", namespace="edge"), run=RUN, cell="1")


def test_its_owner_is_the_route_that_leads_there_and_what_may_be_in_the_way_is_seen(edge, api, make):
    there = {"kind": "Gateway", "apiVersion": "networking.istio.io/v1"}
    old = {**there, "metadata": {"name": "old", "namespace": "edge"}, "spec": {"selector": LABELS, "servers": []}}
    far = {**there, "metadata": {"name": "far", "namespace": "edge"}, "spec": {"selector": {"a": "b"}, "servers": []}}
    mesh = route(rule(), name="mesh", parents=[{"group": "", "kind": "Service", "name": "details"}])
    second = route(rule(), name="second", parents=[{"name": "second"}])
    api.apply(route(rule()), second, mesh, old, far)
    api.apply(make.virtual_service("old", gateways=["edge/old"]), make.virtual_service("far", gateways=["edge/far"]))
    view = seen(edge, found(edge))
    assert [one["metadata"]["name"] for one in view.http_routes] == ["shop"]
    assert view.owner is None
    assert [(one["kind"], one["metadata"]["name"]) for one in view.beside] == [
        ("HTTPRoute", "second"),
        ("Gateway", "old"),
        ("VirtualService", "old"),
    ]
