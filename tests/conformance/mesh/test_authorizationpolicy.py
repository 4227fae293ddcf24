"""AuthorizationPolicy."""

from __future__ import annotations

import threading

import pytest
from asking import get
from policies import HOST, Case, Request, asked, let_through, plain, policy, told
from refused import refused
from waiting import until

ROOT = "istio-system"
SLEEP = "cluster.local/ns/default/sa/sleep"
DETAILS = {"matchLabels": {"app": "details"}}
ALL = ({"sleep": Request(), "guest": Request("guest-v1"), "plain text": Request("plain")})  # fmt: skip


def source(**fields):
    return {"from": [{"source": fields}]}


def operation(**fields):
    return {"to": [{"operation": fields}]}


def when(key, *values, but=()):
    return {
        "when": [
            {"key": key, **({"values": list(values)} if values else {}), **({"notValues": list(but)} if but else {})}
        ]
    }


def paths(*found):
    return {path: Request(path=path) for path in found}


def methods(*found):
    return {method: Request(method=method) for method in found}


def hosts(*found):
    return {host: Request(host=host) for host in found}


def header(*values):
    return {f"x-a: {value}": Request(headers={"x-a": value}) for value in values} | {"no x-a": Request()}


FORWARDED = {
    "x-forwarded-for 203.0.113.9": Request(headers={"x-forwarded-for": "203.0.113.9"}),
    "x-forwarded-for 203.0.113.9, 10.0.0.1": Request(headers={"x-forwarded-for": "203.0.113.9, 10.0.0.1"}),
    "none": Request(),
}
CALLERS = [
    source(principals=[SLEEP]),
    source(principals=["cluster.local/ns/default/*"]),
    source(principals=["*/sa/guest"]),
    source(principals=["*"]),
    source(principals=[SLEEP, "cluster.local/ns/far/sa/guest"]),
    source(principals=["spiffe://" + SLEEP]),
    source(notPrincipals=[SLEEP]),
    source(notPrincipals=["*"]),
    source(namespaces=["default"]),
    source(namespaces=["f*"]),
    source(namespaces=["*"]),
    source(namespaces=["def"]),
    source(notNamespaces=["default"]),
    source(serviceAccounts=["sleep"]),
    source(serviceAccounts=["far/guest"]),
    source(notServiceAccounts=["default/sleep"]),
    source(trustDomains=["cluster.local"]),
    source(trustDomains=["cluster.*"]),
    source(trustDomains=["elsewhere"]),
    source(notTrustDomains=["cluster.local"]),
    source(ipBlocks=["127.0.0.0/8"]),
    source(ipBlocks=["10.0.0.0/8", "127.0.0.99"]),
    source(notIpBlocks=["10.0.0.0/8"]),
    source(remoteIpBlocks=["127.0.0.0/8"]),
    source(notRemoteIpBlocks=["127.0.0.0/8"]),
    source(principals=["*"], notNamespaces=["far"]),
    {"from": [], "to": [], "when": []},
    {"from": [{"source": {"namespaces": ["far"]}}, {"source": {"notPrincipals": ["*"]}}]},
    when("source.principal", SLEEP),
    when("source.principal", "cluster.local/*", but=[SLEEP]),
    when("source.namespace", "far"),
    when("source.namespace", but=["far"]),
    when("source.serviceAccount", "sleep"),
    when("source.trustDomain", "*"),
    when("source.ip", "127.0.0.1"),
    when("remote.ip", but=["127.0.0.1"]),
    when("destination.port", "9080"),
    when("destination.port", "9090"),
    when("destination.ip", "127.0.0.0/8"),
    when("connection.sni", "outbound_.9080_._.details.default.svc.cluster.local"),
    when("connection.sni", "outbound*"),
    operation(ports=["9080"]),
    operation(ports=["8000"]),
    operation(notPorts=["9080"]),
    {**source(namespaces=["default"]), **operation(ports=["9080"])},
    {},
]
REQUESTS = [
    (operation(paths=["/admin"]), paths("/admin", "/admin/", "/Admin", "/admin?a=1", "/a", "/x/../admin")),
    (operation(paths=["/admin*"]), paths("/admin", "/admin/a", "/administrator", "/a")),
    (operation(paths=["*/admin"]), paths("/admin", "/a/admin", "/admin/a", "/a/admin?b=1")),
    (operation(paths=["*"]), paths("/", "/a")),
    (operation(paths=["/a", "/b"]), paths("/a", "/b", "/c")),
    (operation(paths=["/a/{*}"]), paths("/a", "/a/", "/a/b", "/a/b/c", "/a/b?c=1")),
    (operation(paths=["/a/{*}/c"]), paths("/a/b/c", "/a/c", "/a/b/d", "/a/b/b/c")),
    (operation(paths=["/a/{**}"]), paths("/a", "/a/", "/a/b", "/a/b/c", "/b/a")),
    (operation(paths=["/a/{*}/{**}"]), paths("/a/b", "/a/b/", "/a/b/c", "/a/b/c/d")),
    (operation(notPaths=["/open*"]), paths("/open", "/opened", "/closed")),
    (operation(notPaths=["/a/{*}"]), paths("/a/b", "/a/b/c")),
    (operation(methods=["GET"]), methods("GET", "HEAD", "POST")),
    (operation(methods=["P*"]), methods("GET", "POST", "PUT")),
    (operation(methods=["*"]), methods("GET", "DELETE")),
    (operation(methods=["get"]), methods("GET")),
    (operation(notMethods=["GET", "HEAD"]), methods("GET", "HEAD", "POST")),
    (operation(hosts=["details:9080"]), hosts("details:9080", "DETAILS:9080", "details.default:9080")),
    (operation(hosts=["details"]), hosts("details:9080")),
    (operation(hosts=["details.default*"]), hosts("details:9080", "details.default:9080", "details.default.svc:9080")),
    (operation(hosts=["*.default:9080"]), hosts("details:9080", "details.default:9080")),
    (operation(notHosts=["details:9080"]), hosts("details:9080", "details.default:9080")),
    (operation(paths=["/a*"], methods=["POST"]), {
        "POST /a": Request(path="/a", method="POST"), "GET /a": Request(path="/a"), "POST /b": Request(path="/b", method="POST"),
    }),
    (operation(paths=["/a*"], notPaths=["/ab*"]), paths("/a", "/ab", "/ac")),
    ({"to": [{"operation": {"paths": ["/a"]}}, {"operation": {"methods": ["POST"]}}]}, {
        "GET /a": Request(path="/a"), "POST /b": Request(path="/b", method="POST"), "GET /b": Request(path="/b"),
    }),
    (source(remoteIpBlocks=["203.0.113.0/24"]), FORWARDED),
    (source(ipBlocks=["203.0.113.0/24"]), FORWARDED),
    (source(notRemoteIpBlocks=["203.0.113.9"]), FORWARDED),
    (when("request.headers[x-a]", "one"), header("one", "two", "ONE")),
    (when("request.headers[X-A]", "o*", "*ee"), header("one", "two", "three")),
    (when("request.headers[x-a]", "*"), header("one")),
    (when("request.headers[x-a]", but=["one"]), header("one", "two")),
    ({**operation(paths=["/a"]), **when("request.headers[x-a]", "one")}, {
        "/a with x-a": Request(path="/a", headers={"x-a": "one"}), "/a": Request(path="/a"), "x-a": Request(headers={"x-a": "one"}),
    }),
]  # fmt: skip


def words(rule):
    return (
        " and ".join(
            " or ".join(_words(entry.get("source") or entry.get("operation") or entry) for entry in entries)
            or f"{name}: []"
            for name, entries in rule.items()
        )
        or "an empty rule"
    )


def _words(fields):
    if "key" in fields:
        fields = {fields["key"]: fields.get("values"), f"{fields['key']} not": fields.get("notValues")}
    return " and ".join(f"{name} {', '.join(values)}" for name, values in fields.items() if values)


CASES = {words(rule): Case(rule, ALL) for rule in CALLERS} | {
    words(rule): Case(rule, found) for rule, found in REQUESTS
}


@pytest.fixture(scope="module")
def meant(standing_mesh, guest):
    """Which requests each rule means, all asked at once."""
    standing_mesh.clean()
    assert guest == "guest-v1"
    return asked(standing_mesh, CASES)


@pytest.mark.parametrize("case", CASES)
def test_a_rule(meant, seen, case):
    """A rule with {case}, in a policy that denies and in one that allows"""
    assert set(meant[case]) == set(CASES[case].requests)
    seen(told(meant[case]))


@pytest.fixture
def mesh(standing_mesh):
    """The mesh, open to everybody before and after."""
    yield standing_mesh
    standing_mesh.clean()
    until(lambda: standing_mesh.call("sleep-v1", HOST).status == 200, "details lets sleep through")


def test_what_the_denied_get(mesh, seen):
    """AuthorizationPolicy: what a caller gets that is denied, and what its span says"""
    policy(mesh, action="DENY", rules=[{}])
    until(lambda: mesh.call("sleep-v1", HOST).status == 403, "the policy is in force")
    hits = mesh.hits("details")
    reply, tags = mesh.traced("sleep-v1", HOST)
    assert (reply.status, reply.body) == (403, b"RBAC: access denied")
    assert mesh.hits("details") == hits
    seen(
        f"{reply.status} '{reply.body.decode()}' {reply.headers['content-type']}, flags {tags['response_flags']}; not reached"
    )


def test_what_grpc_callers_get(mesh, seen):
    """AuthorizationPolicy: what a caller gets that asks for gRPC"""
    policy(mesh, action="DENY", rules=[{}])
    until(lambda: mesh.call("sleep-v1", HOST).status == 403, "the policy is in force")
    reply = mesh.call("sleep-v1", HOST, headers={"content-type": "application/grpc"})
    assert (reply.status, reply.headers["grpc-status"]) == (200, "7")
    seen(f"{reply.status}, grpc-status {reply.headers['grpc-status']}, '{reply.headers['grpc-message']}'")


NOTHING = {"action": "ALLOW"}
EVERYTHING = {"action": "DENY", "rules": [{}]}
PODS = ("details-v1", "reviews-v1", "reviews-v2", "guest-v1")


def scope(*denied):
    return {pod: 403 if pod in denied else 200 for pod in PODS}


@pytest.mark.parametrize(
    ("case", "namespace", "labels", "denied", "spec"),
    [
        ("of the namespace, without a selector", "default", None, PODS[:3], NOTHING),
        ("of the namespace, with an empty selector", "default", {}, PODS[:3], EVERYTHING),
        ("with a selector", "default", {"app": "reviews"}, PODS[1:3], NOTHING),
        ("with a selector of two labels", "default", {"app": "reviews", "version": "v2"}, PODS[2:3], EVERYTHING),
        ("of the root namespace", ROOT, None, PODS, NOTHING),
        ("of the root namespace, with a selector", ROOT, {"app": "guest"}, PODS[3:], EVERYTHING),
        ("of another namespace", "far", None, PODS[3:], NOTHING),
    ],
)
def test_a_scope(mesh, seen, guest, case, namespace, labels, denied, spec):
    """AuthorizationPolicy {case}: {spec}"""
    spec = dict(spec)
    if labels is not None:
        spec["selector"] = {"matchLabels": labels}
    policy(mesh, namespace=namespace, **spec)
    seen(let_through(mesh, scope(*denied)))


def test_a_selector_that_selects_nobody(mesh, seen):
    """AuthorizationPolicy with a label that the pods lack denies nobody"""
    policy(mesh, "nobody", selector={"matchLabels": {"app": "details", "version": "v9"}})
    policy(mesh, "reviews", selector={"matchLabels": {"app": "reviews"}})
    seen(let_through(mesh, scope("reviews-v1", "reviews-v2")))


def test_allow_all(mesh, seen):
    """AuthorizationPolicy ALLOW with an empty rule, beside one that allows nothing"""
    policy(mesh, "nothing")
    let_through(mesh, {"details-v1": 403})
    policy(mesh, "all", rules=[{}])
    seen(let_through(mesh, {"details-v1": 200}))


def answers(mesh, *found):
    return tuple(plain(mesh, path=path) for path in found)


def test_deny_goes_before_allow(mesh, seen):
    """AuthorizationPolicy DENY goes before ALLOW of the same requests"""
    policy(mesh, "allow", rules=[operation(paths=["/a*"])])
    policy(mesh, "deny", action="DENY", rules=[operation(paths=["/ab"])])
    until(lambda: answers(mesh, "/a", "/ab", "/b") == (200, 403, 403), "both are in force")
    seen("allowed /a* and denied /ab: /a 200, /ab 403, /b 403")


def test_several_that_allow(mesh, seen):
    """AuthorizationPolicies that allow add up, of the root namespace too"""
    policy(mesh, "a", rules=[operation(paths=["/a"])])
    policy(mesh, "b", rules=[operation(paths=["/b"])])
    policy(mesh, "c", ROOT, rules=[operation(paths=["/c"])])
    until(lambda: answers(mesh, "/a", "/b", "/c", "/d") == (200, 200, 200, 403), "all are in force")
    seen("/a 200, /b 200, /c 200, /d 403")


def test_several_that_deny(mesh, seen):
    """AuthorizationPolicies that deny add up, of the root namespace too"""
    policy(mesh, "a", action="DENY", rules=[operation(paths=["/a"])])
    policy(mesh, "c", ROOT, action="DENY", rules=[operation(paths=["/c"])])
    until(lambda: answers(mesh, "/a", "/b", "/c") == (403, 200, 403), "both are in force")
    seen("/a 403, /b 200, /c 403")


def test_a_change(mesh, seen):
    """AuthorizationPolicy that changes, then is deleted"""
    policy(mesh, action="DENY", rules=[operation(paths=["/a"])])
    until(lambda: answers(mesh, "/a", "/b") == (403, 200), "the first version is in force")
    policy(mesh, action="ALLOW", rules=[operation(paths=["/a"])])
    until(lambda: answers(mesh, "/a", "/b") == (200, 403), "the second version is in force")
    mesh.delete("AuthorizationPolicy", "policy")
    until(lambda: answers(mesh, "/a", "/b") == (200, 200), "none is in force")
    seen("denies /a, then allows but /a, then nothing")


def test_a_warm_connection_is_late(mesh, seen):
    """AuthorizationPolicy written or deleted: the first request on a warm connection still meets what was before"""
    found = []
    for change, fresh in ((lambda: policy(mesh), 403), (lambda: mesh.delete("AuthorizationPolicy", "policy"), 200)):
        assert mesh.call("sleep-v1", HOST).status == 603 - fresh
        change()
        until(lambda fresh=fresh: plain(mesh) == fresh, "new connections meet the change")
        found.append([mesh.call("sleep-v1", HOST).status for _ in range(3)])
    assert found == [[200, 403, 403], [403, 200, 200]]
    seen("written 200, 403, 403; deleted 403, 200, 200")


def test_a_request_in_flight(mesh, seen):
    """AuthorizationPolicy that denies everything breaks no request in flight"""
    before = mesh.hits("details")
    mesh.apps["details-v1"].delay = 0.5
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(mesh.call("sleep-v1", HOST).status))
    waiting.start()
    until(lambda: mesh.hits("details") > before, "the request is in flight")
    policy(mesh)
    waiting.join()
    assert replies == [200]
    seen(str(replies[0]))


def test_a_gateway(mesh, seen, gateway):
    """AuthorizationPolicy for an ingress gateway"""
    server = {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    mesh.apply("Gateway", "entry", {"selector": {"istio": "ingressgateway"}, "servers": [server]})
    route = [{"route": [{"destination": {"host": "details"}}]}]
    mesh.apply("VirtualService", "entry", {"hosts": ["*"], "gateways": ["entry"], "http": route})
    denied = [{**operation(paths=["/admin*"], hosts=["shop.example.com"]), **source(ipBlocks=["127.0.0.0/8"])}]
    policy(mesh, namespace=ROOT, selector={"matchLabels": {"istio": "ingressgateway"}}, action="DENY", rules=denied)

    def ask(path, host="shop.example.com"):
        return enter(mesh, gateway, path, host)

    until(lambda: ask("/admin") == 403, "the policy is in force")
    found = ask("/admin"), ask("/"), ask("/admin", "other.example.com"), mesh.call("sleep-v1", HOST, "/admin").status
    assert found == (403, 200, 200, 200)
    seen("/admin of its host 403, / 200, /admin of another host 200; in the mesh 200")


def enter(mesh, gateway, path, host):
    return get(mesh.addresses[gateway].inbound, port=8080, path=path, headers={"Host": host}).status


def deny(*rules):
    return {"action": "DENY", "rules": list(rules)}


REFUSED = [
    ("DENY without rules", {"action": "DENY"}, "DENY action without `rules` is meaningless"),
    ("DENY with rules: []", deny(), "DENY action without `rules` is meaningless"),
    ("an empty source", deny(source()), "`from.source` must not be empty"),
    ("an empty operation", deny(operation()), "`to.operation` must not be empty"),
    ("an empty path", deny(operation(paths=[""])), "empty value not allowed, found in Paths"),
    ("an empty notMethods", deny(operation(notMethods=[""])), "empty value not allowed, found in NotMethods"),
    ("an empty principal", deny(source(principals=[""])), "empty value not allowed, found in Principals"),
    ("a port that is a name", deny(operation(ports=["http"])), "bad port (http)"),
    ("port 65536", deny(operation(ports=["65536"])), "bad port (65536)"),
    ("an address that is none", deny(source(ipBlocks=["here"])), "bad IP address (here)"),
    ("a range that is none", deny(source(remoteIpBlocks=["10.0.0.0/99"])), "bad CIDR range (10.0.0.0/99)"),
    ("{**} in the middle", deny(operation(paths=["/a/{**}/b/{*}"])), "{**} is not the last operator"),
    ("{} in a path", deny(operation(paths=["/a/{b}"])), "Contains '{' or '}' beyond a supported path template"),
    ("a template with a wildcard", deny(operation(notPaths=["/a*/{*}"])), "with invalid string literal"),
    ("serviceAccounts and namespaces", deny(source(serviceAccounts=["a"], namespaces=["b"])), "annot set serviceAccounts with namespaces or principals"),
    ("a serviceAccount with a wildcard", deny(source(serviceAccounts=["a*"])), "wildcard not allowed, found in ServiceAccounts"),
    ("a serviceAccount of three parts", deny(source(serviceAccounts=["a/b/c"])), "expected format 'serviceAccount' or 'namespace/serviceAccount'"),
    ("a trustDomain with a wildcard inside", deny(source(trustDomains=["a*b"])), "wildcard is only allowed at the start or end"),
    ("a trustDomain with a slash", deny(source(trustDomains=["a/b"])), "trust domain must not contain '/'"),
    ("an unknown key", deny(when("source.color", "red")), "unknown attribute: source.color"),
    ("a key without values", deny(when("source.ip")), "at least one of `values` or `notValues` must be set for key source.ip"),
    ("a header without a name", deny(when("request.headers", "a")), "bad key (request.headers): should have format a[b]"),
    ("a claim without a name", deny(when("request.auth.claims[]", "a")), "bad key (request.auth.claims[]): should have format a[b]"),
    ("a port that is none in when", deny(when("destination.port", "x")), "bad port (x)"),
    ("an attribute that is gone", deny(when("destination.labels[a]", "x")), "attribute destination.labels[a] is replaced by the workload selector"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "spec", "says"), REFUSED, ids=[one[0] for one in REFUSED])
def test_it_is_refused(standing_mesh, seen, case, spec, says):
    """AuthorizationPolicy with {case} is refused"""
    text = refused(standing_mesh, "AuthorizationPolicy", "refused", spec)
    assert says in text
    seen(f"refused: …{says}…")


TRIED = {"istio.io/dry-run": "true"}


@pytest.mark.differs("the lab's control plane has ALLOW and DENY, for workloads, and none that is only tried")
@pytest.mark.parametrize(
    ("case", "spec", "annotations"),
    [
        ("of action AUDIT", {"action": "AUDIT", "rules": [{}]}, {}),
        ("with targetRefs", {"targetRefs": [{"kind": "Service", "group": "", "name": "details"}]}, {}),
        ("that is only tried", {"action": "DENY", "rules": [{}]}, TRIED),
    ],
)
def test_what_the_lab_has_not(mesh, seen, side, case, spec, annotations):
    """AuthorizationPolicy {case}"""
    meta = {"name": "other", "namespace": "default", "annotations": annotations}
    mesh.do(
        mesh.kube.apply(
            {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": meta, "spec": spec}
        )
    )
    policy(mesh, "canary", action="DENY", rules=[operation(paths=["/canary"])])
    until(lambda: plain(mesh, path="/canary") == 403, "policies are in force")
    assert plain(mesh) == 200
    if side == "real":
        seen("taken; without effect on a sidecar")
    else:
        (problem,) = mesh.problems()
        assert "not implemented" in problem
        seen(f"refused: {problem.partition(' refused: ')[2]}")
