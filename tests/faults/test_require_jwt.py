from __future__ import annotations

import msgspec
import pytest
from places import place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import RequireJwt
from chaosmesh_ext.mesh import Destination, View
from chaosmesh_ext.model import Marker

CELL = Marker("12345678", "1")
DETAILS = Destination("details.shop.svc.cluster.local", "details", "shop", 9080, (9080,), {"app": "details"})
JWKS = '{"keys": []}'


def made(fault: RequireJwt, marker: Marker | None = CELL) -> list[dict]:
    return [change.obj for change in fault.changes(place(destination=DETAILS, marker=marker), View())]


def test_who_authenticates_is_written_before_who_denies():
    """The other way round, a good token would be nobody's for a moment."""
    who, denies = made(RequireJwt("chaosmesh-12345678", JWKS))
    assert (who["kind"], denies["kind"]) == ("RequestAuthentication", "AuthorizationPolicy")
    assert who["spec"]["selector"] == denies["spec"]["selector"] == {"matchLabels": {"app": "details"}}
    (rule,) = denies["spec"]["rules"]
    assert rule["from"] == [{"source": {"notRequestPrincipals": ["chaosmesh-12345678/chaosmesh"]}}]
    assert rule["when"][0]["values"][0] == "chaosmesh=12345678-1"


def test_nobody_elses_token_is_looked_at():
    """A RequestAuthentication cannot be for marked requests only: the word before our token makes it so."""
    who, _ = made(RequireJwt("chaosmesh-12345678", JWKS, header="jwt"))
    (rule,) = who["spec"]["jwtRules"]
    assert rule["fromHeaders"] == [{"name": "jwt", "prefix": "Chaosmesh "}]
    assert rule["forwardOriginalToken"] is True


def test_for_everybodys_requests_it_has_no_condition():
    assert "when" not in made(RequireJwt("chaosmesh-12345678", JWKS), marker=None)[1]["spec"]["rules"][0]


@pytest.mark.parametrize("header", ["", "a b", "authorization:", "jwt\n"])
def test_a_header_that_cannot_be_is_refused(header):
    with pytest.raises(InvalidInput, match="token_header"):
        RequireJwt("i", JWKS, header)


@pytest.mark.parametrize(
    "header", ["tracestate", "Traceparent", "host", "x-request-id", "Content-Length", "grpc-timeout"]
)
def test_a_header_that_requests_need_as_it_is_is_refused(header):
    """The marker, or whom a request is for, would be gone, and the proof waited for it in vain."""
    with pytest.raises(InvalidInput, match=f"token_header '{header}' is one that HTTP or traces need as it is"):
        RequireJwt("i", JWKS, header)


def test_a_destination_that_speaks_grpc_is_refused():
    """Envoy answers its calls 200 with a status of gRPC's, whichever token they have, so that none would be told."""

    def told(protocol: str) -> None:
        there = msgspec.structs.replace(DETAILS, protocol=protocol)
        RequireJwt("i", JWKS).changes(place(destination=there, marker=CELL), View())

    for protocol in ("grpc", "grpc-web"):
        with pytest.raises(InvalidInput, match=f"port 9080 of details speaks {protocol}.* require_jwt is for HTTP"):
            told(protocol)
    for protocol in ("", "http", "http2"):
        told(protocol)
