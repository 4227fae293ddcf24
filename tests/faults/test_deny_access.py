from __future__ import annotations

import msgspec
import pytest
from places import place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import DenyAccess
from chaosmesh_ext.mesh import Destination, Source, View
from chaosmesh_ext.model import Marker, Workload

DETAILS = Destination("details.shop.svc.cluster.local", "details", "shop", 9080, (9080,), {"app": "details"})
PAGE = Source("productpage-v1", "default", {"app": "productpage"}, (Workload("productpage", "v1"),))
POD = {
    "kind": "Pod",
    "metadata": {"name": "productpage-v1", "namespace": "default", "labels": {"app": "productpage"}},
    "spec": {"serviceAccountName": "page"},
}
MINE = "cluster.local/ns/default/sa/page"


def made(fault: DenyAccess, *others: dict, **where: object) -> dict:
    where = {"destination": DETAILS, "marker": Marker("12345678", "1"), **where}
    (change,) = fault.changes(place(**where), View(others=(POD, *others)))
    return change.obj


def allows(name: str, namespace: str = "shop", **spec: object) -> dict:
    return {"kind": "AuthorizationPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def test_it_stands_beside_the_pods_that_enforce_it():
    obj = made(DenyAccess(paths=("/details/*",), methods=("GET",)))
    assert (obj["metadata"]["name"], obj["metadata"]["namespace"]) == ("chaos-12345678-1", "shop")
    assert (obj["spec"]["selector"], obj["spec"]["action"]) == ({"matchLabels": {"app": "details"}}, "DENY")
    (rule,) = obj["spec"]["rules"]
    assert rule["to"] == [{"operation": {"paths": ["/details/*"], "methods": ["GET"], "ports": ["9080"]}}]
    assert "from" not in rule
    assert rule["when"][0]["values"][0] == "chaosmesh=12345678-1"


def server(port: int, namespace: str = "shop", **labels: str) -> dict:
    meta = {"name": f"details-{port}", "namespace": namespace, "labels": {"app": "details", **labels}}
    containers = [
        {"name": "app", "ports": [{"name": "admin", "containerPort": 1}, {"name": "web", "containerPort": port}]}
    ]
    return {"kind": "Pod", "metadata": meta, "spec": {"containers": containers}}


def test_it_is_for_the_pods_own_port_alone():
    """Else istiod denies every connection to their ports for TCP, where it cannot look at requests."""

    def ports(target: int | str, *pods: dict) -> list[str]:
        there = msgspec.structs.replace(DETAILS, target=target)
        return made(DenyAccess(), *pods, destination=there)["spec"]["rules"][0]["to"][0]["operation"]["ports"]

    assert ports(0) == ["9080"]
    assert ports(8080) == ["8080"]
    other = server(7, app="ratings")
    assert ports("web", server(8082), server(8081), server(6, "default"), other) == ["8081", "8082"]
    with pytest.raises(InvalidInput, match="no pod of details has a port named 'grpc'"):
        ports("grpc", server(8081))


def test_a_source_is_told_by_its_principal_and_a_spared_one_too():
    assert made(DenyAccess(), source=PAGE)["spec"]["rules"][0]["from"] == [{"source": {"principals": [MINE]}}]
    spared = made(DenyAccess(spared=("productpage-v1",)))["spec"]["rules"][0]["from"]
    assert spared == [{"source": {"notPrincipals": [MINE]}}]


def test_for_everybodys_requests_it_has_no_condition():
    assert "when" not in made(DenyAccess(namespaces=("guests",)), marker=None)["spec"]["rules"][0]


def test_whom_a_subset_does_not_select_it_does_not_refuse():
    there = Destination("h", "details", "shop", 9080, (9080,), {"app": "details", "version": "v2"})
    assert made(DenyAccess(), destination=there)["spec"]["selector"]["matchLabels"]["version"] == "v2"


def test_to_allow_nothing_is_a_policy_without_rules():
    assert made(DenyAccess(allow_nothing=True), marker=None)["spec"] == {
        "selector": {"matchLabels": {"app": "details"}},
        "action": "ALLOW",
    }


@pytest.mark.parametrize("selector", [{}, {"selector": {"matchLabels": {"app": "details"}}}])
def test_to_allow_nothing_beside_one_that_allows_something_is_refused(selector):
    """Istio lets through whom any of them allows, so ours would do nothing to those."""
    with pytest.raises(InvalidInput, match="AuthorizationPolicy shop/viewer allows some requests to details"):
        made(DenyAccess(allow_nothing=True), allows("viewer", rules=[{}], **selector), marker=None)


@pytest.mark.parametrize(
    "beside",
    [
        allows("viewer", "default", rules=[{}]),
        allows("viewer", rules=[{}], selector={"matchLabels": {"app": "ratings"}}),
        allows("nothing"),
        allows("deny", rules=[{}], action="DENY"),
    ],
    ids=["another namespace's", "another workload's", "one that allows nothing", "one that denies"],
)
def test_policies_that_allow_nobody_here_are_in_nobodys_way(beside):
    assert made(DenyAccess(allow_nothing=True), beside, marker=None)


@pytest.mark.parametrize(
    ("fault", "where", "words"),
    [
        (DenyAccess(), {"marker": None}, "would refuse everybody's requests to details"),
        (DenyAccess(allow_nothing=True), {}, "say requests: all"),
        (DenyAccess(allow_nothing=True), {"marker": None, "source": PAGE}, "leave out source"),
        (DenyAccess(principals=(MINE,)), {"source": PAGE}, "not both"),
        (DenyAccess(namespaces=("nowhere",)), {"source": PAGE}, r"namespaces \(nowhere\) do not have default, where"),
        (DenyAccess(namespaces=("a", "defaul"), principals=(MINE, "*/ns/x/sa/y")), {}, "do not have default, x, where"),
        (DenyAccess(spared=("productpage-v1",)), {"source": PAGE}, "spare everybody whom this would refuse"),
        (DenyAccess(spared=("productpage-v1",), principals=(MINE,)), {}, "spare everybody"),
    ],
)
def test_what_it_cannot_be_is_refused(fault, where, words):
    with pytest.raises(InvalidInput, match=words):
        made(fault, **where)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"paths": ("details",)}, "neither with / nor with"),
        ({"paths": ("/details?x=1",)}, "has a query"),
        ({"paths": ("*a*",)}, r"the path '\*a\*' has a \* that stands for itself.* at one end only, e.g. /details"),
        ({"paths": ("/a/*/b",)}, "at one end only"),
        ({"paths": ("/a/**",)}, "at one end only"),
        ({"paths": ("/a/{*}/b*",)}, "at one end only"),
        ({"methods": ("get",)}, "write GET"),
        ({"methods": ("FOO BAR",)}, "the method 'FOO BAR' is not HTTP's: write e.g. GET"),
        ({"methods": ("",)}, "the method '' is not HTTP's"),
        ({"methods": ("G*T",)}, "at one end only, e.g. P"),
        ({"principals": ("*/sa/*",)}, "the principal .* at one end only"),
        ({"principals": ("productpage",)}, "principal 'productpage' is none"),
        ({"allow_nothing": True, "paths": ("/",)}, "leave out paths"),
    ],
)
def test_arguments_that_istio_would_never_match_are_refused(arguments, words):
    with pytest.raises(InvalidInput, match=words):
        DenyAccess(**arguments)


@pytest.mark.parametrize("path", ["*", "/*", "*/a", "/a", "/a/{*}", "/a/{*}/b/{**}", "*.json"])
def test_a_star_as_istio_reads_it_is_taken(path):
    DenyAccess(
        paths=(path,),
        methods=("*", "P*", "*T", "GET", "M-SEARCH"),
        principals=("*", "*/sa/a", "cluster.local/*"),
        namespaces=("*guests*",),
    )


@pytest.mark.parametrize(
    ("spaces", "principals"),
    [(("nowhere", "d*t"), (MINE,)), (("default",), (MINE, "*/ns/x/sa/y")), (("nowhere",), ("*/sa/page",))],
)
def test_namespaces_that_may_be_those_of_the_principals_are_taken(spaces, principals):
    made(DenyAccess(namespaces=spaces, principals=principals))


def test_where_some_are_not_spared_they_are_refused():
    assert made(DenyAccess(spared=("productpage-v1",), principals=(MINE, "*/sa/others")))


def test_its_facts_say_what_is_denied():
    facts = DenyAccess(paths=("/details/1",), methods=("GET",)).facts("details", ("productpage-v1",), "", "policy")
    assert str(facts) == "GET /details/1 denied"
    assert not facts.at_the_caller
