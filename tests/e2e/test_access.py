"""deny_access, require_jwt and require_mtls on real sidecars: refused is who was meant, nobody else, and only meanwhile."""

from __future__ import annotations

import time

import httpx
import pytest

from chaosmesh_ext import actions, errors
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.model import Marker, new_trace_id
from chaosmesh_ext.run import current_run, reset_run, runs

PAGE, BOOK, RATINGS = "/productpage", "/api/v1/products/0", "/api/v1/products/0/ratings"
PLAIN = "k8s://default/details:9080/details/0"
LOST = "product details are currently unavailable"


@pytest.fixture
def mesh(lab, monkeypatch):
    """The lab, in this process' environment, with a run of its own."""
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    reset_run()
    yield lab
    reset_run()
    assert runs(connect()) == []


def get(mesh, path: str = BOOK, marker: Marker | None = None, **headers: str) -> httpx.Response:
    marked = marker.headers(new_trace_id()) if marker else {}
    return httpx.get(mesh.env["APP_URL"] + path, headers={**marked, **headers}, trust_env=False, timeout=20)


def sent(url: str, **headers: str) -> int:
    """The status of one of the run's own requests, in the cell that is live."""
    return current_run().send(url, headers=headers)[0].status


def test_a_denied_caller_gets_403_until_it_is_allowed_again(mesh):
    proof = actions.deny_access("details", source="productpage-v1", url=PAGE)
    run = current_run()
    assert (proof["by"], proof["objects"]) == ("traces", [f"AuthorizationPolicy default/chaos-{run.token}-1"])
    assert LOST in get(mesh, PAGE, run.marker).text
    assert LOST not in get(mesh, PAGE).text
    assert actions.recover()["gone_after"] is not None
    assert LOST not in get(mesh, PAGE, run.marker).text
    assert run.cells()[1].injected.words == "access denied"


def test_a_cells_marker_is_no_other_cells(mesh):
    """Cell 1 is not cell 12, wherever in tracestate it stands: Istio's conditions have no regular expressions."""
    actions.deny_access("details", source="productpage-v1", url=BOOK)
    token = current_run().token
    states = {
        f"chaosmesh={token}-1": 403,
        f"foo=1,chaosmesh={token}-1": 403,
        f"chaosmesh={token}-1,foo=1": 403,
        f"chaosmesh={token}-12": 200,
        f"foo=1,chaosmesh={token}-12": 200,
        f"chaosmesh={token}-0": 200,
    }
    marker = Marker(token, "1")
    assert {state: get(mesh, marker=marker, tracestate=state).status_code for state in states} == states


def test_one_path_is_denied_and_the_others_are_not(mesh):
    book = "/api/v1/products/1"
    actions.deny_access("details", source="productpage-v1", methods=["GET"], paths=["/details/1"], url=book)
    assert (sent(book), sent(BOOK), get(mesh, book).status_code) == (403, 200, 200)


def test_one_callers_marked_requests_are_denied_and_anothers_pass(mesh):
    """The stars of the reviews are gone; productpage's own call to ratings, with the same marker, is answered."""
    reviews = "cluster.local/ns/default/sa/bookinfo-reviews"
    actions.deny_access("ratings", principals=[reviews], url=PAGE)
    assert sent(RATINGS) == 200


def test_all_but_one_caller_are_denied(mesh):
    proof = actions.deny_access("details", except_sources=["productpage-v1"], url=PLAIN)
    assert proof["by"] == "answers"
    assert (sent(PLAIN), sent(BOOK)) == (403, 200)
    actions.recover()
    assert sent(PLAIN) == 200


def test_nothing_is_allowed_to_anybody(mesh):
    actions.deny_access("details", allow_nothing=True, requests="all", url=BOOK)
    assert get(mesh).status_code == 403
    actions.recover()
    assert get(mesh).status_code == 200


def test_who_shares_an_account_is_not_denied_by_mistake(mesh):
    with pytest.raises(errors.InvalidInput, match="reviews-v2 cannot be told from reviews-v1, reviews-v3"):
        actions.deny_access("ratings", source="reviews-v2", url=PAGE)
    assert connect().list("AuthorizationPolicy") == []


def test_a_token_is_asked_for_three_ways(mesh):
    proof = actions.require_jwt("details", source="productpage-v1", url=BOOK)
    assert [name.split()[0] for name in proof["objects"]] == ["RequestAuthentication", "AuthorizationPolicy"]
    good, broken = ({"authorization": f"chaosmesh-jwt:{one}"} for one in ("good", "broken"))
    assert (sent(BOOK), sent(BOOK, **broken), sent(BOOK, **good)) == (403, 401, 200)
    actions.recover()
    assert (sent(BOOK), sent(BOOK, **broken)) == (200, 200)


def test_nobody_elses_token_is_asked_for_or_looked_at(mesh):
    """A RequestAuthentication is for everybody: a user's own token, of another issuer, must not become a 401."""
    actions.require_jwt("details", source="productpage-v1", url=BOOK)
    assert get(mesh).status_code == 200
    assert get(mesh, authorization="Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ0aGVpcnMifQ.c2ln").status_code == 200


def test_a_tokens_key_and_the_token_are_in_no_object_and_no_proof(mesh):
    proof = actions.require_jwt("details", url=PLAIN, token_header="jwt")
    tokens = current_run().tokens
    shown = f"{proof} {connect().list('RequestAuthentication')} {connect().list('AuthorizationPolicy')}"
    assert tokens.jwks.replace('"', "")[:8] in shown.replace('"', "").replace("\\", "")
    for token in (tokens.good, tokens.broken):
        assert token.rpartition(" ")[2] not in shown
    assert sent(PLAIN, jwt="chaosmesh-jwt:good") == 200


def test_a_plain_client_is_left_out_and_meshed_ones_go_on(mesh):
    proof = actions.require_mtls("details", url=PLAIN)
    assert proof["by"] == "answers"
    assert (sent(PLAIN), sent(BOOK)) == (0, 200)
    actions.recover()
    assert (sent(PLAIN), sent(BOOK)) == (200, 200)


@pytest.fixture
def strict(mesh):
    """Somebody's PeerAuthentication for exactly the pods of details, that has one port its own way."""
    spec = {
        "selector": {"matchLabels": {"app": "details"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"9081": {"mode": "DISABLE"}},
    }
    meta = {"name": "details", "namespace": "default", "labels": {"team": "books"}}
    client = connect()
    kind = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication"}
    obj = client.create({**kind, "metadata": meta, "spec": spec})
    deadline = time.monotonic() + 60
    while sent(PLAIN) != 0:
        assert time.monotonic() < deadline
    yield obj
    client.delete("PeerAuthentication", "default", "details", uid=obj["metadata"]["uid"])


def test_an_owners_mode_is_changed_and_given_back(mesh, strict):
    """From STRICT to PERMISSIVE, for a client that was left out."""
    proof = actions.require_mtls("details", mode="PERMISSIVE", url=PLAIN)
    assert proof["objects"] == ["PeerAuthentication default/details"]
    assert sent(PLAIN) == 200
    actions.recover()
    after = connect().get("PeerAuthentication", "default", "details")
    assert after["spec"] == strict["spec"]
    assert after["metadata"]["labels"] == strict["metadata"]["labels"]
    assert "annotations" not in after["metadata"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: actions.require_mtls("details", mode="strict", url=PLAIN), "mode 'strict' is none of Istio's"),
        (lambda: actions.require_mtls("details", mode="PERMISSIVE", url=PLAIN), "as with the fault already"),
        (lambda: actions.deny_access("details", paths=["details"], url=PAGE), "neither with / nor with"),
        (lambda: actions.deny_access("details", requests="all", url=PAGE), "would refuse everybody's requests"),
        (lambda: actions.require_jwt("details", token_header="a b", url=PAGE), "token_header 'a b'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_written(mesh, call, words):
    with pytest.raises((errors.InvalidInput, errors.NotProven), match=words) as raised:
        call()
    assert "\n" not in str(raised.value)
    for kind in ("AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication"):
        assert connect().list(kind) == []
