from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import RequireMtls
from chaosmesh_ext.faults.require_mtls import MODES
from chaosmesh_ext.mesh import Create, Destination, Edit, View
from chaosmesh_ext.mesh.ledger import created, disturbed, runs_in, undo
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.model import Answer, Marker

LABELS = {"app": "details"}
DETAILS = Destination("details.shop.svc.cluster.local", "details", "shop", 9080, (9080,), LABELS)
HERE = place(destination=DETAILS)


def owners(spec: dict, name: str = "own", namespace: str = "shop", **meta: object) -> dict:
    meta = {"name": name, "namespace": namespace, "uid": name, **meta}
    return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": meta, "spec": spec}


def only(fault: RequireMtls, *others: dict, where=HERE) -> Create | Edit:
    (change,) = fault.changes(where, View(others=others))
    return change


def test_without_one_for_these_pods_one_of_ours_is_made():
    change = only(RequireMtls(), owners({"mtls": {"mode": "PERMISSIVE"}}, "default"))
    assert change.obj["spec"] == {"selector": {"matchLabels": LABELS}, "mtls": {"mode": "STRICT"}}
    assert change.target == ("PeerAuthentication", "shop", "chaos-12345678-1")


def test_one_port_may_be_meant():
    assert only(RequireMtls("DISABLE", 9080)).obj["spec"]["portLevelMtls"] == {"9080": {"mode": "DISABLE"}}


def server(*ports: int, name: str = "details-1", namespace: str = "shop", **labels: str) -> dict:
    containers = [
        {"name": "app", "ports": [{"containerPort": port} for port in ports]},
        {"name": "istio-proxy", "ports": [{"containerPort": 15090}]},
    ]
    meta = {"name": name, "namespace": namespace, "labels": {**LABELS, **labels}}
    return {"kind": "Pod", "metadata": meta, "spec": {"containers": containers}}


@pytest.mark.parametrize("port", [1, 80, 15090])
def test_a_port_that_no_pod_has_is_refused_with_those_that_are(port):
    """Istio would take it for one of an application that nobody calls, and nothing would change."""
    others = (server(9080, 9443), server(port, app="other"), server(port, namespace="default"))
    with pytest.raises(InvalidInput, match=f"no pod of details has the port {port}: there are 9080, 9443"):
        only(RequireMtls(port=port), *others)


@pytest.mark.parametrize(
    ("port", "others"),
    [(9443, (server(9080, 9443),)), (9080, (server(7),)), (1, (server(9080), server(name="silent"))), (1, ())],
    ids=["declared", "the Service's own", "one declares none", "no pods"],
)
def test_a_port_that_a_pod_may_have_is_taken(port, others):
    assert only(RequireMtls(port=port), *others)


def test_the_one_for_exactly_these_pods_is_changed():
    own = owners({"selector": {"matchLabels": LABELS}, "mtls": {"mode": "PERMISSIVE"}})
    change = only(RequireMtls(), own)
    assert change.target == ("PeerAuthentication", "shop", "own")
    changed = apply(own, change.compute(own))
    assert changed["spec"]["mtls"] == {"mode": "STRICT"}
    assert disturbed(changed, HERE.run) == ""
    changed["spec"]["selector"] = {"matchLabels": {"app": "others"}}
    assert disturbed(changed, HERE.run) == "its selector changed"


specs = st.fixed_dictionaries(
    {"selector": st.just({"matchLabels": LABELS})},
    optional={
        "mtls": st.one_of(st.just({}), st.fixed_dictionaries({"mode": st.sampled_from([*MODES, "UNSET"])})),
        "portLevelMtls": st.dictionaries(
            st.sampled_from(["9080", "9443"]), st.fixed_dictionaries({}, optional={"mode": st.sampled_from(MODES)})
        ),
    },
)
metas = st.fixed_dictionaries({}, optional={"labels": st.just({"team": "books"}), "annotations": st.just({"a": "b"})})


@given(specs, metas, st.sampled_from(MODES), st.sampled_from([0, 9080]), st.booleans())
def test_whatever_an_owner_has_it_ends_as_it_began_but_for_his_own_edits(spec, meta, mode, port, edited):
    own = owners(spec, **meta)
    try:
        change = only(RequireMtls(mode, port), own)
    except InvalidInput as error:
        assert "already" in str(error)  # noqa: PT017 - the only refusal there may be
        return
    faulted = apply(own, change.compute(own))
    now = faulted["spec"]["portLevelMtls"][str(port)] if port else faulted["spec"]["mtls"]
    assert now["mode"] == mode
    wanted = deepcopy(own)
    if edited:
        for obj in (faulted, wanted):
            obj["metadata"].setdefault("labels", {})["edited"] = "true"
    assert runs_in(faulted) == {"12345678"}
    assert apply(faulted, undo(faulted, "12345678").ops) == wanted


def test_a_mode_that_is_so_already_is_refused():
    with pytest.raises(InvalidInput, match="already: nothing would change"):
        only(RequireMtls(), owners({"selector": {"matchLabels": LABELS}, "mtls": {"mode": "STRICT"}}))


def test_one_that_another_run_changed_is_refused():
    own = owners({"selector": {"matchLabels": LABELS}}, "chaos-87654321-1")
    with pytest.raises(InvalidInput, match="chaos mesh recover --run 87654321"):
        only(RequireMtls(), created(own, "87654321", "1"))


@pytest.mark.parametrize("labels", [{"version": "v1"}, {"app": "details", "version": "v1"}])
def test_one_that_may_be_for_some_of_these_pods_by_other_labels_is_in_the_way(labels):
    """Istio takes the older of two, and which pods have which labels changes."""
    with pytest.raises(InvalidInput, match="PeerAuthentication shop/own may be for pods of details too"):
        only(RequireMtls(), owners({"selector": {"matchLabels": labels}}))


@pytest.mark.parametrize(
    "beside",
    [
        owners({"selector": {"matchLabels": {"app": "ratings"}}}),
        owners({"selector": {"matchLabels": LABELS}}, "n", "x"),
    ],
    ids=["another workload's", "another namespace's"],
)
def test_one_for_other_pods_is_not_touched(beside):
    assert isinstance(only(RequireMtls(), beside), Create)


def test_it_is_for_no_requests_in_particular():
    with pytest.raises(InvalidInput, match="a handshake comes before any request"):
        only(RequireMtls(), where=place(destination=DETAILS, marker=Marker("12345678", "1")))


@pytest.mark.parametrize("arguments", [("strict",), ("UNSET",), ("STRICT", -1), ("STRICT", 70000)])
def test_modes_and_ports_that_are_none_are_refused(arguments):
    with pytest.raises(InvalidInput):
        RequireMtls(*arguments)


@pytest.mark.parametrize(
    ("mode", "status", "shows"), [("STRICT", 0, True), ("STRICT", 200, False), ("DISABLE", 200, True)]
)
def test_a_plain_clients_answer_shows_it(mode, status, shows):
    assert RequireMtls(mode).shows_in_answer(Answer("t", "u", 0.0, 0.0, status)) is shows
