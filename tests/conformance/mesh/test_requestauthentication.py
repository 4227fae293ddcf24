"""RequestAuthentication."""

from __future__ import annotations

import base64
import json

import pytest
from asking import get
from echo_mesh import PORT
from policies import Case, Request, asked, plain, policy, told
from refused import refused
from tokens import Issuer
from waiting import until

ROOT = "istio-system"
OURS, OTHER, STRANGER = Issuer(), Issuer("https://other.example.com"), Issuer()
DETAILS = {"matchLabels": {"app": "details"}}
BAD = {"authorization": "Bearer nonsense"}


def rule(issuer=OURS, **fields):
    return {"issuer": issuer.name, "jwks": issuer.jwks, **fields}


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def write(mesh, *rules, name="tokens", namespace="default", selector=DETAILS):
    spec = {"jwtRules": list(rules), **({"selector": selector} if selector else {})}
    mesh.apply("RequestAuthentication", name, spec, namespace)


def in_force(mesh, pod="details-v1", headers=BAD, path="/"):
    """Wait until a bad token is refused on new connections."""
    until(lambda: plain(mesh, pod, path, headers=headers) == 401, "a bad token is refused")


def arrived(mesh, headers, path="/"):
    """The headers that the application saw."""
    assert plain(mesh, path=path, headers=headers) == 200
    return mesh.apps["details-v1"].seen[-1]


@pytest.fixture
def mesh(standing_mesh):
    """The mesh, where tokens do not matter before and after."""
    yield standing_mesh
    standing_mesh.clean()
    until(lambda: plain(standing_mesh, headers=BAD) == 200, "no token matters")
    until(lambda: standing_mesh.call("sleep-v1", f"details:{PORT}", headers=BAD).status == 200, "nor in the mesh")


def forged(token):
    head, _, signature = token.split(".")
    payload = base64.urlsafe_b64encode(json.dumps({"iss": OURS.name, "sub": "admin"}).encode()).decode().rstrip("=")
    return f"{head}.{payload}.{signature}"


TOKENS = {
    "none": {},
    "a good one": bearer(OURS.token()),
    "one for its audience": bearer(OURS.token(aud="shop")),
    "one for several audiences": bearer(OURS.token(aud=["bank", "shop"])),
    "one for another audience": bearer(OURS.token(aud="bank")),
    "one without exp": bearer(OURS.token(exp=None)),
    "an expired one": bearer(OURS.token(lasts=-300)),
    "one not valid yet": bearer(OURS.token(nbf=4_000_000_000)),
    "one of another issuer": bearer(OTHER.token()),
    "one signed by a stranger": bearer(STRANGER.token()),
    "a forged payload": bearer(forged(OURS.token())),
    "nonsense": BAD,
    "an empty one": {"authorization": "Bearer "},
    "Basic, not Bearer": {"authorization": "Basic c2hvcDpzaG9w"},
    "a good one in another header": {"x-token": OURS.token()},
}


@pytest.fixture(scope="module", params=["no audiences", "audiences shop"])
def answers(standing_mesh, request):
    """What each of the tokens gets."""
    write(standing_mesh, rule(**({"audiences": ["shop"]} if "shop" in request.param else {})))
    in_force(standing_mesh)
    address = standing_mesh.addresses["details-v1"].inbound
    found = {
        name: get(address, port=PORT, path="/", headers={"Host": "details", **headers})
        for name, headers in TOKENS.items()
    }
    standing_mesh.clean()
    until(lambda: plain(standing_mesh, headers=BAD) == 200, "no token matters")
    return found


@pytest.mark.parametrize("token", TOKENS)
def test_a_token(answers, seen, token):
    """Token for a rule with {answers}: {token}"""
    reply = answers[token]
    body = "" if reply.status == 200 else f" '{reply.body.decode()}'"
    assert reply.status in {200, 401, 403}
    seen(f"{reply.status}{body}")


def test_what_the_refused_get(mesh, seen):
    """RequestAuthentication: what a caller in the mesh gets with a bad token, and what its span says"""
    write(mesh, rule())
    until(lambda: mesh.call("sleep-v1", f"details:{PORT}", headers=BAD).status == 401, "a bad token is refused")
    hits = mesh.hits("details")
    reply, tags = mesh.traced("sleep-v1", f"details:{PORT}", headers=BAD)
    assert mesh.hits("details") == hits
    assert reply.status == 401
    seen(f"401, www-authenticate {reply.headers['www-authenticate']}, flags {tags['response_flags']}; not reached")


def test_a_warm_connection_is_late(mesh, seen):
    """RequestAuthentication written: the first request on a warm connection still meets what was before"""
    assert mesh.call("sleep-v1", f"details:{PORT}", headers=BAD).status == 200
    write(mesh, rule())
    in_force(mesh)
    found = [mesh.call("sleep-v1", f"details:{PORT}", headers=BAD).status for _ in range(3)]
    assert found == [200, 401, 401]
    seen("200, 401, 401")


@pytest.mark.parametrize("forward", [False, True])
def test_the_token_itself(mesh, seen, forward):
    """forwardOriginalToken {forward}: what the application sees of a good token"""
    write(mesh, rule(forwardOriginalToken=forward))
    in_force(mesh)
    found = arrived(mesh, bearer(OURS.token())).get("authorization")
    assert (found is not None) == forward
    seen("the token" if found else "nothing")


def test_the_claims_in_headers(mesh, seen):
    """outputClaimToHeaders and outputPayloadToHeader: what the application sees of a good token"""
    claims = [{"header": f"x-{name}", "claim": name} for name in ("sub", "level", "admin", "groups", "missing")]
    write(mesh, rule(outputClaimToHeaders=claims, outputPayloadToHeader="x-payload"))
    in_force(mesh)
    told_headers = {
        **bearer(OURS.token(level=3, admin=True, groups=["a", "b"])),
        "x-missing": "forged",
        "x-sub": "forged",
    }
    found = arrived(mesh, told_headers)
    payload = found["x-payload"]
    assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"] == "somebody"
    seen(", ".join(f"x-{name}: {found.get(f'x-{name}')}" for name in ("sub", "level", "admin", "groups", "missing")))


PLACES = [
    ("fromHeaders x-token", {"fromHeaders": [{"name": "x-token"}]}, lambda token: ({"x-token": token}, "/")),
    ("fromHeaders x-token with a prefix", {"fromHeaders": [{"name": "x-token", "prefix": "Token "}]}, lambda token: ({"x-token": f"Token {token}"}, "/")),
    ("fromParams", {"fromParams": ["token"]}, lambda token: ({}, f"/?a=1&token={token}")),
    ("fromCookies", {"fromCookies": ["token"]}, lambda token: ({"cookie": f"a=1; token={token}"}, "/")),
]  # fmt: skip


@pytest.mark.parametrize(("case", "fields", "place"), PLACES, ids=[one[0] for one in PLACES])
def test_a_place(mesh, seen, case, fields, place):
    """{case}: a bad token there, a good one there, a bad one in authorization"""
    write(mesh, rule(**fields))
    headers, path = place(STRANGER.token())
    in_force(mesh, headers=headers, path=path)
    headers, path = place(OURS.token())
    found = plain(mesh, path=path, headers=headers), plain(mesh, headers=BAD)
    assert found == (200, 200)
    seen(f"401, {found[0]}, {found[1]}")


@pytest.mark.parametrize("case", ["one object", "two objects", "the root namespace's and the namespace's"])
def test_two_issuers(mesh, seen, case):
    """Two issuers in {case}: each one's tokens, and a stranger's"""
    if case == "one object":
        write(mesh, rule(), rule(OTHER))
    else:
        write(mesh, rule())
        write(mesh, rule(OTHER), name="other", namespace="default" if "two" in case else ROOT, selector=None)
    wanted = (200, 200, 401, 200)

    def now():
        tokens = (bearer(OURS.token()), bearer(OTHER.token()), bearer(STRANGER.token()), {})
        return tuple(plain(mesh, headers=one) for one in tokens)

    until(lambda: now() == wanted, lambda: f"{wanted}, not {now()}")
    seen("200, 200, 401; without any 200")


@pytest.mark.parametrize(
    ("case", "namespace", "selector", "pods"),
    [
        ("with a selector", "default", DETAILS, ("details-v1",)),
        ("of the namespace", "default", None, ("details-v1", "reviews-v1")),
        ("of the root namespace", ROOT, None, ("details-v1", "reviews-v1", "guest-v1")),
        ("of another namespace", "far", None, ("guest-v1",)),
    ],
)
def test_a_scope(mesh, seen, guest, case, namespace, selector, pods):
    """RequestAuthentication {case}: where a bad token is refused"""
    write(mesh, rule(), namespace=namespace, selector=selector)
    wanted = {pod: 401 if pod in pods else 200 for pod in ("details-v1", "reviews-v1", guest)}
    until(lambda: {pod: plain(mesh, pod, headers=BAD) for pod in wanted} == wanted, f"{wanted}")
    seen(", ".join(f"{pod} {status}" for pod, status in wanted.items()))


def test_a_token_is_wanted(mesh, seen):
    """RequestAuthentication with an AuthorizationPolicy that denies requests without a principal"""
    write(mesh, rule())
    policy(mesh, action="DENY", rules=[{"from": [{"source": {"notRequestPrincipals": ["*"]}}]}])
    wanted = (403, 401, 200)

    def now():
        return tuple(plain(mesh, headers=one) for one in ({}, BAD, bearer(OURS.token())))

    until(lambda: now() == wanted, lambda: f"{wanted}, not {now()}")
    seen("without 403, with a bad one 401, with a good one 200")


def test_a_gateway(mesh, seen, gateway):
    """RequestAuthentication for an ingress gateway, with an AuthorizationPolicy that wants a token for one host"""
    server = {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    mesh.apply("Gateway", "entry", {"selector": {"istio": "ingressgateway"}, "servers": [server]})
    route = [{"route": [{"destination": {"host": "details"}}]}]
    mesh.apply("VirtualService", "entry", {"hosts": ["*"], "gateways": ["entry"], "http": route})
    selector = {"matchLabels": {"istio": "ingressgateway"}}
    write(mesh, rule(), namespace=ROOT, selector=selector)
    wanted = {
        "from": [{"source": {"notRequestPrincipals": ["*"]}}],
        "to": [{"operation": {"hosts": ["shop.example.com"]}}],
    }
    policy(mesh, namespace=ROOT, selector=selector, action="DENY", rules=[wanted])
    address = mesh.addresses[gateway].inbound

    def ask(host="shop.example.com", **headers):
        return get(address, port=8080, path="/", headers={"Host": host, **headers}).status

    until(lambda: (ask(), ask(**BAD)) == (403, 401), "both are in force")
    found = ask(**bearer(OURS.token())), ask("other.example.com"), plain(mesh, headers=BAD)
    assert found == (200, 200, 200)
    seen("without 403, with a bad one 401, with a good one 200; another host without 200; in the mesh a bad one 200")


def claims(key, *values, but=()):
    return {
        "when": [
            {"key": key, **({"values": list(values)} if values else {}), **({"notValues": list(but)} if but else {})}
        ]
    }


def principals(*values):
    return {"from": [{"source": {"requestPrincipals": list(values)}}]}


WHO = {
    "no token": {},
    "plain": OURS.token(),
    "admin": OURS.token(
        sub="admin", role="admin", groups=["one", "two"], org={"team": {"name": "blue"}}, level=3, aud="shop"
    ),
    "other": OTHER.token(
        sub="admin", scope="read write", azp="portal", aud=["shop", "bank"], **{"https://x.example.com/a": "b"}
    ),
}
RULES = [
    principals("*"),
    principals(f"{OURS.name}/admin"),
    principals(f"{OURS.name}/*"),
    principals("*/admin"),
    principals(f"{OURS.name}/ad*"),
    principals("*other.example.com/admin"),
    principals(OURS.name),
    principals("https://*"),
    principals("*dmin"),
    {"from": [{"source": {"notRequestPrincipals": [f"{OURS.name}/*"]}}]},
    claims("request.auth.principal", f"{OURS.name}/admin"),
    claims("request.auth.claims[iss]", OTHER.name),
    claims("request.auth.claims[iss]", "https://other*"),
    claims("request.auth.claims[role]", "admin"),
    claims("request.auth.claims[role]", "*"),
    claims("request.auth.claims[role]", but=["admin"]),
    claims("request.auth.claims[groups]", "two"),
    claims("request.auth.claims[groups]", "t*"),
    claims("request.auth.claims[org][team][name]", "blue", "red"),
    claims("request.auth.claims[level]", "3"),
    claims("request.auth.claims[scope]", "write"),
    claims("request.auth.claims[https://x.example.com/a]", "b"),
    claims("request.auth.claims[missing]", "*"),
    claims("request.auth.audiences", "shop"),
    claims("request.auth.audiences", "bank"),
    claims("request.auth.presenter", "portal"),
]  # fmt: skip


def words(rule):
    (found,) = rule.values()
    fields = found[0].get("source") or found[0]
    if "key" not in fields:
        return " ".join(f"{name} {', '.join(values)}" for name, values in fields.items())
    return " ".join([fields["key"], *fields.get("values", ["not", *fields.get("notValues", [])])])


REQUESTS = {name: Request("plain", headers=bearer(token) if token else {}) for name, token in WHO.items()}
CASES = {words(one): Case(one, REQUESTS) for one in RULES}


@pytest.fixture(scope="module")
def meant(standing_mesh):
    """Which tokens each rule means."""
    write(standing_mesh, rule(), rule(OTHER))
    in_force(standing_mesh)
    found = asked(standing_mesh, CASES)
    standing_mesh.clean()
    until(lambda: plain(standing_mesh, headers=BAD) == 200, "no token matters")
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_rule(meant, seen, case):
    """AuthorizationPolicy with {case}, in a policy that denies and in one that allows"""
    assert set(meant[case]) == set(WHO)
    seen(told(meant[case]))


KEYS = {"issuer": "a", "jwks": OURS.jwks}
REFUSED = [
    ("no issuer", {"jwks": OURS.jwks}, "issuer or jwksUri must be non-empty string"),
    ("jwks that is no JSON", {**KEYS, "jwks": "nonsense"}, "jwks parse error"),
    ("jwks without keys", {**KEYS, "jwks": "{}"}, "jwks parse error"),
    ("a key of no type", {**KEYS, "jwks": '{"keys": [{"kty": "none"}]}'}, "jwks parse error"),
    ("an invalid header", {**KEYS, "outputClaimToHeaders": [{"header": "a b", "claim": "c"}]}, ""),
    ("an empty audience", {**KEYS, "audiences": [""]}, ""),
    ("an empty cookie", {**KEYS, "fromCookies": [""]}, ""),
]


@pytest.mark.parametrize(("case", "fields", "says"), REFUSED, ids=[one[0] for one in REFUSED])
def test_it_is_refused(standing_mesh, seen, case, fields, says):
    """RequestAuthentication with {case} is refused"""
    text = refused(standing_mesh, "RequestAuthentication", "refused", {"jwtRules": [fields]})
    assert says in text
    seen(f"refused{f': …{says}…' if says else ''}")


@pytest.mark.differs("the lab's control plane fetches no keys")
@pytest.mark.parametrize("case", ["jwksUri", "neither jwks nor jwksUri"])
def test_keys_that_must_be_fetched(mesh, seen, side, case):
    """RequestAuthentication with {case}"""
    far = {"jwksUri": "http://keys.default.svc.cluster.local:1/keys"} if case == "jwksUri" else {}
    fields = {"issuer": OURS.name, **far}
    if side == "embedded":
        text = refused(mesh, "RequestAuthentication", "refused", {"jwtRules": [fields]})
        assert plain(mesh, headers=BAD) == 200
        seen(f"refused: {text}")
    else:
        write(mesh, fields)
        in_force(mesh)
        assert plain(mesh, headers=bearer(OURS.token())) == 401
        seen("taken; while the keys cannot be had, every token is refused")
