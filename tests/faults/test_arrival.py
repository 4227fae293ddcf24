from __future__ import annotations

import pytest
from places import place
from spans import span, trace

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import arrival
from chaosmesh_ext.mesh import Destination, Source, View
from chaosmesh_ext.model import Answer, Marker, Workload

TWELVE = Marker("12345678", "12")
LABELS = {"app": "reviews", "version": "v2"}
SOURCE = Source("reviews-v2", "default", LABELS, (Workload("reviews", "v2"),))


def pod(name: str, account: str = "", namespace: str = "default", **labels: str) -> dict:
    spec = {"serviceAccountName": account} if account else {}
    return {"kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec}


def accounts(*pods: dict, names: tuple[str, ...] = (), source: Source | None = SOURCE) -> list[str]:
    return arrival.principals(place(source=source), View(others=pods), names)


def meets(conditions: list[dict], tracestate: str) -> bool:
    """As Istio documents values: exact, or with one ``*`` at either end."""

    def one(value: str) -> bool:
        if value.endswith("*"):
            return tracestate.startswith(value[:-1])
        return tracestate.endswith(value[1:]) if value.startswith("*") else tracestate == value

    return all(any(map(one, each["values"])) and not any(map(one, each.get("notValues", ()))) for each in conditions)


@pytest.mark.parametrize("state", ["{}", "{},foo=1", "foo=1,{}"])
def test_a_marker_is_found_alone_first_and_last(state):
    assert meets(arrival.marked(TWELVE), state.format("chaosmesh=12345678-12"))


@pytest.mark.parametrize("other", ["12345678-1", "12345678-121", "12345678-0", "02345678-12", "12345678-2"])
@pytest.mark.parametrize("state", ["{}", "{},foo=1", "foo=1,{}"])
def test_no_other_marker_is_taken_for_it(state, other):
    """Cell 1 is not cell 12, nor the other way round."""
    assert not meets(arrival.marked(TWELVE), state.format(f"chaosmesh={other}"))


def test_between_two_other_members_it_is_not_found():
    """The limit that the documentation names: Istio's values have one wildcard."""
    assert not meets(arrival.marked(TWELVE), "a=1,chaosmesh=12345678-12,b=2")


@pytest.mark.parametrize("state", ["{}", "{},foo=1", "foo=1,{}"])
def test_any_cell_of_the_run_but_the_control(state):
    run = arrival.marked(Marker("12345678", ""))
    assert [meets(run, state.format(f"chaosmesh=12345678-{cell}")) for cell in (1, 9, 40, 0)] == [
        True,
        True,
        True,
        False,
    ]
    assert not meets(run, state.format("chaosmesh=87654321-1"))


def test_everybodys_requests_have_no_condition():
    assert arrival.marked(None) == []


def test_a_source_is_the_principal_of_its_pods_service_account():
    found = accounts(
        pod("reviews-v2", "reviews-2", **LABELS), pod("reviews-v1", "reviews-1", app="reviews", version="v1")
    )
    assert found == ["cluster.local/ns/default/sa/reviews-2"]


def test_a_pod_that_names_no_service_account_has_the_default_one():
    assert accounts(pod("reviews-v2", **LABELS)) == ["cluster.local/ns/default/sa/default"]


def test_a_source_whose_account_others_have_too_is_refused():
    """Else a fault that is meant for one of them would hit the others, and nobody asked."""
    with pytest.raises(InvalidInput, match=r"reviews-v2 cannot be told from reviews-v1, .*\(bookinfo-reviews\)"):
        accounts(pod("reviews-v2", "bookinfo-reviews", **LABELS), pod("reviews-v1", "bookinfo-reviews", app="reviews"))


def test_the_same_account_name_of_another_namespace_is_another_account():
    assert accounts(pod("reviews-v2", "reviews", **LABELS), pod("reviews-v1", "reviews", "shop", app="reviews"))


def test_workloads_are_named_by_their_own_name_or_their_apps():
    both = (pod("reviews-v1", "reviews", app="reviews"), pod("reviews-v2", "reviews", app="reviews"))
    wanted = ["cluster.local/ns/default/sa/reviews"]
    assert accounts(*both, names=("reviews",)) == accounts(*both, names=("reviews-v1", "reviews-v2")) == wanted


@pytest.mark.parametrize("names", [(), ("reviews-v9",)])
def test_a_workload_without_pods_has_no_identity(names):
    with pytest.raises(InvalidInput, match=r"no pod of reviews-v[29] runs in default"):
        accounts(pod("ratings-v1", "ratings", app="ratings"), names=names)


def test_a_host_without_pods_in_the_mesh_refuses_nobody():
    with pytest.raises(InvalidInput, match=r"api\.example\.com has no pods in the mesh"):
        arrival.selector(place(destination=Destination("api.example.com", "api.example.com", "", 80, (80,))))


def test_what_the_callers_sidecar_would_read_is_no_scope_here():
    there = Destination("h", "reviews", "default", 9080, (9080,), {"app": "reviews"})
    with pytest.raises(InvalidInput, match="match is read by the caller's sidecar"):
        arrival.selector(place(destination=there, match={"uri": {"exact": "/"}}))


CALL = span(1, 0, "CLIENT", "productpage-v1 → details", 0, 0.01, status=403)
REFUSED = span(2, 1, "SERVER", "details-v1", 0.001, 0.001, status=403)


def test_a_refused_call_has_the_status_at_both_ends_and_nothing_behind():
    assert arrival.denied_call(CALL, trace(CALL, REFUSED))


@pytest.mark.parametrize(
    "spans",
    [
        (CALL,),
        (CALL, span(2, 1, "SERVER", "details-v1", 0.001, 0.001, status=500)),
        (CALL, REFUSED, span(3, 2, "CLIENT", "details-v1 → ratings", 0.001, 0.001, status=403)),
        (span(1, 0, "CLIENT", "productpage-v1 → details", 0, 0.01, status=403, flags="FI"), REFUSED),
        (span(1, 0, "CLIENT", "productpage-v1 → details", 0, 0.01), span(2, 1, "SERVER", "details-v1", 0, 0.01)),
    ],
    ids=["never arrived", "another status", "the application called on", "an injected abort", "answered"],
)
def test_what_looks_alike_is_no_refusal(spans):
    """An application that passes on the 403 that it was given itself was not refused."""
    assert not arrival.denied_call(spans[0], trace(*spans))


def test_grpc_is_refused_with_a_status_of_its_own():
    call = span(1, 0, "CLIENT", "productpage-v1 → details", 0, 0.01, grpc_status=7)
    assert arrival.denied_call(call, trace(call, span(2, 1, "SERVER", "details-v1", 0, 0.001, grpc_status=7)))


@pytest.mark.parametrize(("status", "size", "denied"), [(403, 19, True), (403, 20, False), (200, 19, False)])
def test_rbacs_own_answer_is_known_by_its_length(status, size, denied):
    assert arrival.denied_answer(Answer("t", "u", 0.0, 0.0, status, size=size)) is denied
