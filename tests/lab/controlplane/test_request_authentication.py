"""RequestAuthentications at real Envoys: tokens that are good, bad or not there, and what their claims are good for."""

import pytest
from policies import plain, policy
from tokens import Issuer

from chaosmesh_ext.lab.controlplane.embedded.refusal import refusals

ISSUER = Issuer()
BAD = {"authorization": "Bearer nonsense"}
POD = "reviews-v1"


def bearer(**claims):
    return {"authorization": f"Bearer {ISSUER.token(**claims)}"}


@pytest.fixture
def mesh(mesh, helpers):
    """The mesh, where tokens do not matter before and after."""
    yield mesh
    mesh.clean()
    helpers.until(lambda: plain(mesh, POD, headers=BAD) == 200, "no token matters")


@pytest.fixture
def wanted(mesh, helpers):
    """Writes a RequestAuthentication, and waits until bad tokens are refused."""

    def write(**rule):
        rule = {"issuer": ISSUER.name, "jwks": ISSUER.jwks, **rule}
        mesh.apply("RequestAuthentication", "tokens", {"jwtRules": [rule]})
        helpers.until(lambda: plain(mesh, POD, headers=BAD) == 401, "a bad token is refused")

    return write


def test_no_token_passes_a_bad_one_does_not_a_good_one_does(mesh, wanted):
    wanted()
    found = [plain(mesh, POD, headers=one) for one in ({}, BAD, bearer(), bearer(iss="x"), bearer(lasts=-300))]
    assert found == [200, 401, 200, 401, 401]


def test_claims_are_what_policies_ask_for(mesh, wanted, helpers):
    wanted()
    role = {"when": [{"key": "request.auth.claims[role]", "values": ["admin"]}]}
    policy(mesh, rules=[role])
    helpers.until(lambda: plain(mesh, POD) == 403, "the policy is in force")
    found = [plain(mesh, POD, headers=one) for one in (bearer(), bearer(role="admin"), bearer(role=["a", "admin"]))]
    assert found == [403, 200, 200]


def test_the_token_is_kept_from_the_application_unless_it_is_forwarded(mesh, wanted):
    wanted(forwardOriginalToken=False, outputClaimToHeaders=[{"header": "x-sub", "claim": "sub"}])
    assert plain(mesh, POD, headers=bearer(sub="me")) == 200
    seen = mesh.apps[POD].seen[-1]
    assert "authorization" not in seen
    assert seen["x-sub"] == "me"


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"jwks": ISSUER.jwks}, "spec.jwtRules[0].issuer"),
        ({"issuer": "a"}, "spec.jwtRules[0].jwks"),
        ({"issuer": "a", "jwksUri": "https://a/keys"}, "spec.jwtRules[0].jwksUri"),
        ({"issuer": "a", "jwks": "{}"}, "spec.jwtRules[0].jwks"),
        ({"issuer": "a", "jwks": '{"keys": [1]}'}, "spec.jwtRules[0].jwks"),
        ({"issuer": "a", "jwks": ISSUER.jwks, "audiences": [""]}, "spec.jwtRules[0].audiences[0]"),
        ({"issuer": "a", "jwks": ISSUER.jwks, "fromHeaders": [{}]}, "spec.jwtRules[0].fromHeaders[0].name"),
        ({"issuer": "a", "jwks": ISSUER.jwks, "fromParams": [""]}, "spec.jwtRules[0].fromParams[0]"),
    ],
)
def test_what_is_wrong_is_named(rule, field):
    meta = {"name": "one", "namespace": "default"}
    kind = {"kind": "RequestAuthentication", "apiVersion": "security.istio.io/v1"}
    (found,) = refusals({**kind, "metadata": meta, "spec": {"jwtRules": [rule]}})
    assert found.field == field
