"""ServiceEntry: hosts outside the mesh, and others that Kubernetes does not know."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from echo_apps import Echo
from echo_mesh import PORT
from fault_words import abort, fixed_delay
from mtls import certificate
from outside import API, entry, settled
from refused import refused
from waiting import until

HOST = f"{API}:{PORT}"
PORTS = [{"number": PORT, "name": "http", "protocol": "HTTP"}]


@pytest.fixture(scope="module")
def outside(standing_mesh) -> list[str]:
    """The addresses of two applications that are in no mesh."""
    names = [standing_mesh.pod("outside", version, bare=True) for version in ("v1", "v2")]
    return [standing_mesh.addresses[name].inbound for name in names]


@pytest.fixture(scope="module")
def local(standing_mesh) -> int:
    """The port of an application that DNS finds as localhost."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", Echo("local").handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def serve() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner.addresses[0][1]

    yield standing_mesh.do(serve())
    standing_mesh.do(runner.cleanup())


def answers(mesh, host=HOST, source="sleep-v1", port=PORT) -> Any:
    """The first whole answer."""
    return until(lambda: (one := mesh.call(source, host, "/x", port=port)).status == 200 and one, f"{host} answers")


def test_an_unknown_host(mesh, seen):
    """A host that nobody declared"""
    assert mesh.flags("sleep-v1", HOST) == (502, "-")
    seen("502, without a flag")


def test_static(mesh, seen, outside):
    """ServiceEntry STATIC, MESH_EXTERNAL: reached by its name, in plain text; once deleted, unknown again"""
    entry(mesh, outside[:1])
    reply = answers(mesh)
    assert reply.json == {"name": "outside-v1", "path": "/x"}
    sent = mesh.apps["outside-v1"].seen[-1]
    assert "x-forwarded-client-cert" not in sent
    mesh.delete("ServiceEntry", "api")
    seen(f"the host it sees: {sent['host']}; {settled(mesh, {('sleep-v1', HOST): '502'}, 'it is gone')}")


@pytest.mark.parametrize("host", [API, f"{API}.", API.upper(), f"{API}:80", "api", f"x.{API}"])
def test_names(mesh, seen, outside, host):
    """ServiceEntry for api.example.com at port 9080, called as {host}"""
    entry(mesh, outside[:1])
    answers(mesh)
    seen(str(mesh.call("sleep-v1", host).status))


def test_several_hosts_and_ports(mesh, seen, outside):
    """ServiceEntry of two hosts and two ports, with an endpoint's own port and with targetPort"""
    ports = [
        {"number": 9191, "name": "http-a", "protocol": "HTTP"},
        {"number": 9192, "name": "http-b", "protocol": "http", "targetPort": PORT},
    ]
    one = {"address": outside[0], "ports": {"http-a": PORT}}
    entry(mesh, [one], hosts=[API, "two.example.com"], ports=ports)
    found = [
        answers(mesh, f"{host}:{port}", port=port).json["name"]
        for host in (API, "two.example.com")
        for port in (9191, 9192)
    ]
    assert found == ["outside-v1"] * 4
    seen("each host at each port is reached")


def test_several_endpoints(mesh, seen, outside):
    """ServiceEntry with two endpoints: which are reached"""
    entry(mesh, outside)
    answers(mesh)
    found = {mesh.call("sleep-v1", HOST).json["name"] for _ in range(40)}
    assert found == {"outside-v1", "outside-v2"}
    seen(", ".join(sorted(found)))


def test_weights(mesh, seen, outside):
    """ServiceEntry with endpoints of weight 1 and 99: the share of the lighter"""
    entry(mesh, [{"address": outside[0], "weight": 1}, {"address": outside[1], "weight": 99}])
    answers(mesh)
    found = [mesh.call("sleep-v1", HOST).json["name"] for _ in range(200)]
    assert found.count("outside-v1") <= 12
    seen("not above 6 % of 200")


def test_subsets(mesh, seen, outside):
    """ServiceEntry endpoints' labels make a DestinationRule's subsets"""
    ends = [{"address": one, "labels": {"version": f"v{number}"}} for number, one in enumerate(outside, 1)]
    entry(mesh, ends)
    subsets = [{"name": f"v{number}", "labels": {"version": f"v{number}"}} for number in (1, 2)]
    mesh.apply("DestinationRule", "api", {"host": API, "subsets": subsets})
    mesh.route(API, {"route": [{"destination": {"host": API, "subset": "v2"}}]}, name="api")
    until(lambda: mesh.call("sleep-v1", HOST).json["name"] == "outside-v2", "the subset is live")
    found = {mesh.call("sleep-v1", HOST).json["name"] for _ in range(20)}
    seen(", ".join(sorted(found)))


def test_without_endpoints(mesh, seen):
    """ServiceEntry STATIC without endpoints"""
    entry(mesh)
    until(lambda: mesh.call("sleep-v1", HOST).status == 503, "the host is known")
    seen(str(mesh.flags("sleep-v1", HOST)))


def test_nothing_listens(mesh, seen, outside):
    """ServiceEntry whose endpoint does not listen"""
    entry(mesh, [{"address": outside[0], "ports": {"http": 1}}])
    until(lambda: mesh.call("sleep-v1", HOST).status == 503, "the host is known")
    seen(str(mesh.flags("sleep-v1", HOST)))


@pytest.mark.parametrize("by", ["address", "name"])
def test_dns(mesh, seen, local, by):
    """ServiceEntry DNS with an endpoint by {by}"""
    address = "localhost" if by == "name" else "127.0.0.1"
    entry(mesh, [{"address": address, "ports": {"http": local}}], resolution="DNS")
    reply = answers(mesh)
    seen(f"{reply.status} {reply.json['name']}")


def test_dns_of_the_host(mesh, seen, local):
    """ServiceEntry DNS without endpoints: the host itself is looked up"""
    entry(mesh, hosts=["localhost"], resolution="DNS", ports=[{**PORTS[0], "targetPort": local}])
    reply = answers(mesh, "localhost")
    seen(f"{reply.status} {reply.json['name']}")


def test_dns_subsets(mesh, seen, local, outside):
    """ServiceEntry DNS: a subset's endpoints"""
    ends = [
        {"address": "localhost", "ports": {"http": local}, "labels": {"a": "b"}},
        {"address": outside[0], "labels": {"a": "c"}},
    ]
    entry(mesh, ends, resolution="DNS")
    mesh.apply("DestinationRule", "api", {"host": API, "subsets": [{"name": "b", "labels": {"a": "b"}}]})
    mesh.route(API, {"route": [{"destination": {"host": API, "subset": "b"}}]}, name="api")
    answers(mesh)
    found = {
        until(lambda: (one := mesh.call("sleep-v1", HOST)).status == 200 and one.json["name"], "it answers")
        for _ in range(20)
    }
    seen(", ".join(sorted(found)))


SECURED = [
    ("MESH_EXTERNAL", {}, "plain text"),
    ("MESH_INTERNAL", {}, "plain text"),
    ("MESH_INTERNAL", {"serviceAccount": "details"}, "mutual TLS"),
    ("MESH_EXTERNAL", {"serviceAccount": "details"}, "plain text"),
    ("MESH_INTERNAL", {"labels": {"security.istio.io/tlsMode": "istio"}}, "mutual TLS"),
]


@pytest.mark.parametrize(("location", "more", "wanted"), SECURED, ids=[f"{one[0]} {sorted(one[1])}" for one in SECURED])
def test_mutual_tls(mesh, seen, location, more, wanted):
    """ServiceEntry {location} to a pod of the mesh, endpoint with {more}"""
    entry(mesh, [{"address": mesh.addresses["details-v1"].inbound, **more}], location=location)
    answers(mesh)
    found = "mutual TLS" if "URI=" in (certificate(mesh, "sleep-v1", HOST) or "") else "plain text"
    assert found == wanted
    seen(found)


EXPORTS: dict[str, tuple[list[str] | None, str, str]] = {
    "nothing": (None, "200", "200"),
    "*": (["*"], "200", "200"),
    ".": (["."], "200", "502"),
    "far": (["far"], "502", "200"),
    ".,far": ([".", "far"], "200", "200"),
    "~": (["~"], "502", "502"),
}


@pytest.mark.parametrize("exported", EXPORTS)
def test_export_to(mesh, seen, guest, outside, exported):
    """ServiceEntry exportTo {exported}: whom it is for"""
    to, here, there = EXPORTS[exported]
    entry(mesh, outside[:1], **({"exportTo": to} if to else {}))
    seen(settled(mesh, {("sleep-v1", HOST): here, (guest, HOST): there}, "exportTo holds"))


def test_of_two_namespaces(mesh, seen, guest, outside):
    """ServiceEntries of two namespaces for one host: whose is taken"""
    entry(mesh, outside[:1])
    entry(mesh, outside[1:], namespace="far")
    found = {}
    for source in ("sleep-v1", guest):
        until(lambda caller=source: mesh.call(caller, HOST).status == 200, "it answers")
        found[source] = {mesh.call(source, HOST).json["name"] for _ in range(20)}
    assert found == {"sleep-v1": {"outside-v1"}, guest: {"outside-v2"}}
    seen("the caller's own")


MERGED = "the lab's control plane has one owner for each host of a namespace, and reports the other as in conflict"


@pytest.mark.differs(MERGED)
def test_of_one_namespace(mesh, seen, side, outside):
    """ServiceEntries of one namespace for one host and port: which endpoints are reached"""
    entry(mesh, outside[:1], "a")
    entry(mesh, outside[1:], "b")
    answers(mesh)
    found = {mesh.call("sleep-v1", HOST).json["name"] for _ in range(40)}
    if side == "embedded":
        assert found == {"outside-v1"}
        problem = until(mesh.problems, "the conflict is told of")
        words = "has no effect on the host api.example.com: the older ServiceEntry default/a has it; give one of them another"
        assert problem == [f"ServiceEntry default/b {words}"]
    else:
        assert found == {"outside-v1", "outside-v2"}
    seen(", ".join(sorted(found)))


def test_a_virtual_service(mesh, seen, outside):
    """VirtualService for a ServiceEntry's host: fault, timeout"""
    entry(mesh, outside[:1])
    mesh.route(API, {"fault": abort(507)}, name="api")
    until(lambda: mesh.call("sleep-v1", HOST).status == 507, "the fault is live")
    mesh.apps["outside-v1"].delay = 1.0
    mesh.route(API, {"timeout": "0.2s"}, name="api")
    until(lambda: mesh.call("sleep-v1", HOST).status == 504, "the timeout is live")
    seen(f"507; {mesh.flags('sleep-v1', HOST)}")


def test_a_delay(mesh, seen, outside):
    """VirtualService with a delay for a ServiceEntry's host"""
    entry(mesh, outside[:1])
    answers(mesh)
    mesh.route(API, {"fault": fixed_delay("0.3s")}, name="api")
    until(lambda: mesh.call("sleep-v1", HOST).took > 0.29, "the delay is live")
    seen(str(mesh.flags("sleep-v1", HOST)))


INVALID: list[tuple[str, dict[str, Any]]] = [
    ("host *", {"hosts": ["*"]}),
    ("a host that is none", {"hosts": ["a_b.example.com"]}),
    ("a port's name that is none", {"ports": [{**PORTS[0], "name": "a_b"}]}),
    ("a protocol that is none", {"ports": [{**PORTS[0], "protocol": "SMOKE"}]}),
    ("an endpoint's port that is not the entry's", {"endpoints": [{"address": "10.0.0.1", "ports": {"x": 1}}]}),
    ("STATIC by name", {"endpoints": [{"address": "localhost"}]}),
    ("DNS by neither", {"resolution": "DNS", "endpoints": [{"address": "a_b"}]}),
    ("exportTo ~ and .", {"exportTo": ["~", "."]}),
    ("exportTo * and .", {"exportTo": ["*", "."]}),
]


@pytest.mark.parametrize(("case", "spec"), INVALID, ids=[one[0] for one in INVALID])
def test_refused(mesh, seen, case, spec):
    """ServiceEntry with {case}"""
    whole = {"hosts": [API], "resolution": "STATIC", "ports": PORTS, **spec}
    seen(f"refused: {refused(mesh, 'ServiceEntry', 'refused', whole)}")


DEFINED: list[tuple[str, dict[str, Any], str, str]] = [
    ("no hosts", {"hosts": []}, "must have at least one host", "should have at least 1 items"),
    ("two ports of one name", {"ports": [*PORTS, {**PORTS[0], "number": 1}]}, "already defined", "Duplicate value"),
    (
        "two ports of one number",
        {"ports": [*PORTS, {**PORTS[0], "name": "a"}]},
        "duplicated",
        "number cannot be duplicated",
    ),
    ("a port that is none", {"ports": [{**PORTS[0], "number": 70000}]}, "1-65535", "port must be between 1-65535"),
]


@pytest.mark.differs(
    "Istio's resource definitions speak before istiod does; the lab's control plane says it in istiod's words"
)
@pytest.mark.parametrize(("case", "spec", "ours", "theirs"), DEFINED, ids=[one[0] for one in DEFINED])
def test_refused_by_the_definition(mesh, seen, side, case, spec, ours, theirs):
    """ServiceEntry with {case}"""
    whole = {"hosts": [API], "resolution": "STATIC", "ports": PORTS, **spec}
    text = refused(mesh, "ServiceEntry", "refused", whole)
    assert (theirs if side == "real" else ours) in text
    seen(f"refused: {text}")


NOT_HERE: list[tuple[str, dict[str, Any]]] = [
    ("a TCP port", {"ports": [{**PORTS[0], "protocol": "TCP"}]}),
    ("an HTTPS port", {"ports": [{**PORTS[0], "protocol": "HTTPS"}]}),
    ("resolution NONE", {"resolution": "NONE"}),
    ("no resolution", {"resolution": None}),
    ("resolution DNS_ROUND_ROBIN", {"resolution": "DNS_ROUND_ROBIN"}),
    ("a host with a wildcard", {"hosts": ["*.example.com"]}),
    ("addresses", {"addresses": ["10.1.2.3"]}),
    ("workloadSelector", {"workloadSelector": {"labels": {"app": "details"}}}),
    ("subjectAltNames", {"subjectAltNames": ["a"]}),
    ("an endpoint's locality", {"endpoints": [{"address": "10.0.0.1", "locality": "a/b"}]}),
]


@pytest.mark.differs("the lab's control plane implements ServiceEntries for HTTP, with STATIC and DNS resolution")
@pytest.mark.parametrize(("case", "spec"), NOT_HERE, ids=[one[0] for one in NOT_HERE])
def test_not_implemented(mesh, seen, side, case, spec):
    """ServiceEntry with {case}"""
    whole = {"hosts": [API], "resolution": "STATIC", "ports": PORTS, **spec}
    whole = {key: value for key, value in whole.items() if value is not None}
    if side == "real":
        mesh.apply("ServiceEntry", "api", whole)
        seen("taken")
    else:
        text = refused(mesh, "ServiceEntry", "api", whole)
        assert "not implemented" in text
        seen(f"refused: {text}")
