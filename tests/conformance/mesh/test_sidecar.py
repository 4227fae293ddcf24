"""Sidecar: what a proxy is told of, and so may call."""

from __future__ import annotations

import time
from typing import Any

import pytest
from echo_mesh import PORT
from fault_words import abort
from mtls import caller
from outside import API, entry, registry_only, settled, sidecar, status
from refused import refused
from waiting import until

SLEEP = {"app": "sleep"}
TARGETS = ("details.default", "reviews.default", "guest.far", API)


@pytest.fixture
def mesh(mesh, guest):
    """The mesh, with a service in the namespace far and a host outside; everybody may call all before and after."""
    if "outside-v3" not in mesh.addresses:
        mesh.pod("outside", "v3", bare=True)
        mesh.service("guest", "far")
    entry(mesh, [mesh.addresses["outside-v3"].inbound])
    everywhere(mesh)
    yield mesh
    mesh.clean()
    for source in ("sleep-v1", "other-v1", "details-v1"):
        registry_only(mesh, source)


def reached(mesh, wanted: str, source: str = "sleep-v1") -> str:
    """Wait until SOURCE gets the statuses WANTED, in the order of TARGETS."""
    pairs = zip(TARGETS, wanted.split(), strict=True)
    return settled(mesh, {(source, f"{host}:{PORT}"): one for host, one in pairs}, "the Sidecar is live")


def everywhere(mesh, *sources: str) -> None:
    for source in sources or ("sleep-v1", "other-v1"):
        reached(mesh, "200 200 200 200", source)


IMPORTS = {
    "*/*": "200 200 200 200",
    "./*": "200 200 502 200",
    "default/*": "200 200 502 200",
    "far/*": "502 502 200 502",
    "./details.default.svc.cluster.local": "200 502 502 502",
    "*/details.default.svc.cluster.local": "200 502 502 502",
    "far/details.default.svc.cluster.local, far/guest.far.svc.cluster.local": "502 502 200 502",
    "*/*.svc.cluster.local": "200 200 200 502",
    "*/*.default.svc.cluster.local": "200 200 502 502",
    "*/*.svc.cluster.local, */other.example.com": "200 200 200 502",
    "*/api.example.com": "502 502 502 200",
    "~*/api.example.com, */*": "200 200 200 502",
    "~./*, */*": "502 502 200 502",
}


@pytest.mark.parametrize("hosts", IMPORTS)
def test_what_is_imported(mesh, seen, hosts):
    """Sidecar of one workload, egress.hosts {hosts}"""
    sidecar(mesh, hosts.split(", "), labels=SLEEP)
    found = reached(mesh, IMPORTS[hosts])
    everywhere(mesh, "other-v1")
    mesh.delete("Sidecar", "sidecar")
    everywhere(mesh, "sleep-v1")
    seen(f"{found}; other workloads reach all; so does it, once it is deleted")


def test_a_port_that_nothing_has(mesh, seen):
    """Sidecar that imports nothing at a port: the proxy does not listen there"""
    ports = [{"number": 9191, "name": "http", "protocol": "HTTP", "targetPort": PORT}]
    entry(mesh, [mesh.addresses["outside-v3"].inbound], "other", hosts=["other.example.com"], ports=ports)
    until(lambda: status(mesh, "sleep-v1", "other.example.com", 9191) == "200", "it is there")
    sidecar(mesh, ["*/*.svc.cluster.local"], labels=SLEEP)
    until(lambda: status(mesh, "sleep-v1", "other.example.com", 9191) == "refused", "it is gone")
    seen("the connection is refused")


MODES: dict[str, str | None] = {"none": None, "{}": "", "REGISTRY_ONLY": "REGISTRY_ONLY"}


@pytest.mark.parametrize("mode", MODES)
def test_the_policy(mesh, seen, mode):
    """Sidecar outboundTrafficPolicy {mode}: a host that nobody declared"""
    sidecar(mesh, ["./*"], labels=SLEEP, mode=MODES[mode])
    reached(mesh, "200 200 502 200")
    seen(str(mesh.flags("sleep-v1", f"nobody.example.com:{PORT}")))


def test_allow_any(mesh, seen):
    """Sidecar outboundTrafficPolicy ALLOW_ANY: a host that nobody declared, where nothing is intercepted"""
    sidecar(mesh, ["./*"], labels=SLEEP, mode="ALLOW_ANY")
    until(lambda: status(mesh, "sleep-v1", f"nobody.example.com:{PORT}") != "502", "the policy is live")
    assert mesh.flags("other-v1", f"nobody.example.com:{PORT}") == (502, "-")
    seen(f"{mesh.flags('sleep-v1', f'nobody.example.com:{PORT}')}; others 502")


def test_the_policy_alone(mesh, seen):
    """Sidecar with an outboundTrafficPolicy and no egress: everything is imported"""
    sidecar(mesh, labels=SLEEP, mode="ALLOW_ANY")
    until(lambda: status(mesh, "sleep-v1", f"nobody.example.com:{PORT}") != "502", "the policy is live")
    seen(reached(mesh, "200 200 200 200"))


def test_of_a_namespace(mesh, seen, guest):
    """Sidecar without a workloadSelector: all of its namespace, and no other"""
    sidecar(mesh, ["./*"])
    found = [reached(mesh, "200 200 502 200", source) for source in ("sleep-v1", "other-v1")]
    everywhere(mesh, guest)
    seen(f"{'; '.join(found)}; the other namespace reaches all")


def test_the_workloads_goes_before_the_namespaces(mesh, seen):
    """Sidecar with a workloadSelector goes before one without; they are not merged"""
    sidecar(mesh, ["./details.default.svc.cluster.local"], name="a")
    reached(mesh, "200 502 502 502", "other-v1")
    sidecar(mesh, ["far/*"], labels=SLEEP, name="b")
    seen(f"{reached(mesh, '502 502 200 502')}; {reached(mesh, '200 502 502 502', 'other-v1')}")


def test_the_meshs(mesh, seen):
    """Sidecar in the root namespace: for namespaces without one of their own"""
    sidecar(mesh, ["far/*"], namespace="istio-system")
    found = reached(mesh, "502 502 200 502")
    sidecar(mesh, ["./*"])
    seen(f"{found}; then {reached(mesh, '200 200 502 200')}")


def test_the_oldest_holds(mesh, seen):
    """Two Sidecars select one workload: the older holds"""
    sidecar(mesh, ["./*"], labels=SLEEP, name="m")
    time.sleep(1.0 - time.time() % 1.0 + 0.01)  # timestamps are whole seconds
    sidecar(mesh, ["far/*"], labels=SLEEP, name="a")
    sidecar(mesh, ["./*"], labels={"app": "other"}, name="z")
    reached(mesh, "200 200 502 200", "other-v1")
    older = reached(mesh, "200 200 502 200")
    mesh.delete("Sidecar", "m")
    seen(f"{older}; once it is deleted: {reached(mesh, '502 502 200 502')}")


def test_a_selector_that_fits_partly(mesh, seen):
    """Sidecar selector with a label that the pod lacks selects it not"""
    sidecar(mesh, ["far/*"], labels={**SLEEP, "version": "v9"}, name="a")
    sidecar(mesh, ["./*"], labels={"app": "other"}, name="b")
    reached(mesh, "200 200 502 200", "other-v1")
    seen(reached(mesh, "200 200 200 200"))


def test_another_namespaces(mesh, seen, guest):
    """Sidecar of another namespace does not matter"""
    sidecar(mesh, ["far/*"], namespace="far")
    there = reached(mesh, "502 502 200 502", guest)
    seen(f"{there}; {reached(mesh, '200 200 200 200')}")


def test_a_change(mesh, seen):
    """Sidecar that is changed: the last version holds"""
    sidecar(mesh, ["./*"], labels=SLEEP)
    first = reached(mesh, "200 200 502 200")
    sidecar(mesh, ["far/*"], labels=SLEEP)
    seen(f"{first}; then {reached(mesh, '502 502 200 502')}")


def test_those_who_call_it(mesh, seen):
    """Sidecar of a callee does not keep its callers away, and mutual TLS goes on"""
    sidecar(mesh, ["far/*"], labels={"app": "details"})
    until(lambda: status(mesh, "details-v1", f"reviews.default:{PORT}") == "502", "the Sidecar is live")
    seen(caller(mesh, "sleep-v1", f"details:{PORT}"))


def test_a_virtual_services_destination(mesh, seen):
    """A VirtualService of an imported host leads to one that is not imported"""
    mesh.route("details", {"route": [{"destination": {"host": "reviews"}}]})
    sidecar(mesh, ["./details.default.svc.cluster.local"], labels=SLEEP)
    reached(mesh, "200 502 502 502")
    name = mesh.call("sleep-v1", f"details:{PORT}").json["name"].partition("-")[0]
    seen(f"details is answered by {name}; reviews itself 502")


def test_a_virtual_service_written_later(mesh, seen):
    """A VirtualService that is written after the Sidecar leads to what is not imported"""
    sidecar(mesh, ["./details.default.svc.cluster.local"], labels=SLEEP)
    reached(mesh, "200 502 502 502")
    mesh.route("details", {"route": [{"destination": {"host": "reviews"}}]})
    reply = mesh.call("sleep-v1", f"details:{PORT}")
    assert reply.status == 200
    seen(f"details is answered by {reply.json['name'].partition('-')[0]}")


def test_a_virtual_service_that_is_not_imported(mesh, seen, guest):
    """A VirtualService in a namespace that is not imported has no effect"""
    spec = {"hosts": ["details.default.svc.cluster.local"]}
    route = {"route": [{"destination": {"host": "details.default.svc.cluster.local"}}], "fault": abort(507)}
    mesh.apply("VirtualService", "details", {**spec, "http": [route]}, "far")
    until(lambda: status(mesh, "sleep-v1", f"details.default:{PORT}") == "507", "the fault is live")
    sidecar(mesh, ["./*"], labels=SLEEP)
    found = reached(mesh, "200 200 502 200")
    assert status(mesh, "other-v1", f"details.default:{PORT}") == "507"
    seen(f"{found}; others 507")
    mesh.delete("VirtualService", "details", "far")


def test_a_fault_on_what_is_imported(mesh, seen):
    """A VirtualService for an imported host holds"""
    sidecar(mesh, ["./*"], labels=SLEEP)
    reached(mesh, "200 200 502 200")
    mesh.route("details", {"fault": abort(507)})
    until(lambda: status(mesh, "sleep-v1", f"details:{PORT}") == "507", "the fault is live")
    seen("507")


def test_spans_go_on(mesh, seen):
    """Spans of a workload whose Sidecar does not import the collector"""
    sidecar(mesh, ["./details.default.svc.cluster.local"], labels=SLEEP)
    reached(mesh, "200 502 502 502")
    seen(str(mesh.flags("sleep-v1", f"reviews:{PORT}")))


EGRESS = [{"hosts": ["./*"]}]
INVALID: list[tuple[str, dict[str, Any]]] = [
    ("nothing", {}),
    ("egress without hosts", {"egress": [{"hosts": []}]}),
    ("a host without a namespace", {"egress": [{"hosts": ["details"]}]}),
    ("a namespace that is none", {"egress": [{"hosts": ["a_b/*"]}]}),
    ("a short name", {"egress": [{"hosts": ["./details"]}]}),
    ("two listeners without a port", {"egress": EGRESS * 2}),
    ("a selector with a wildcard", {"egress": EGRESS, "workloadSelector": {"labels": {"app": "*"}}}),
]


@pytest.mark.parametrize(("case", "spec"), INVALID, ids=[one[0] for one in INVALID])
def test_refused(mesh, seen, case, spec):
    """Sidecar with {case}"""
    seen(f"refused: {refused(mesh, 'Sidecar', 'refused', spec)}")


REPEATED = [
    ("a host without a name", "./", "config namespace and dnsName in host entry cannot be empty"),
    ("a name that is none", "./a_b.example.com", 'domain name "a_b.example.com" invalid (label "a_b" invalid)'),
]


@pytest.mark.differs("istiod says of one host all that is wrong with it, some of it twice; the lab's control plane one")
@pytest.mark.parametrize(("case", "host", "words"), REPEATED, ids=[one[0] for one in REPEATED])
def test_refused_for_several_reasons(mesh, seen, case, host, words):
    """Sidecar with {case}"""
    text = refused(mesh, "Sidecar", "refused", {"egress": [{"hosts": [host]}]})
    assert text.startswith(words)
    seen(f"refused: {text}")


PORTED = {"number": 9191, "name": "http", "protocol": "HTTP"}
NOT_HERE: list[tuple[str, dict[str, Any]]] = [
    ("ingress", {"ingress": [{"port": PORTED, "defaultEndpoint": "127.0.0.1:9191"}]}),
    ("egress.port", {"egress": [{"port": PORTED, "hosts": ["./*"]}, *EGRESS]}),
    ("egress.bind", {"egress": [{"bind": "127.0.0.9", "port": PORTED, "hosts": ["./*"]}, *EGRESS]}),
    ("egress.captureMode", {"egress": [{"captureMode": "NONE", "hosts": ["./*"]}]}),
    ("inboundConnectionPool", {"inboundConnectionPool": {"tcp": {"maxConnections": 9}}}),
    (
        "outboundTrafficPolicy.egressProxy",
        {"outboundTrafficPolicy": {"mode": "ALLOW_ANY", "egressProxy": {"host": "a.b", "port": {"number": 80}}}},
    ),
]


@pytest.mark.differs("the lab's control plane implements a Sidecar's egress.hosts and outboundTrafficPolicy.mode")
@pytest.mark.parametrize(("case", "spec"), NOT_HERE, ids=[one[0] for one in NOT_HERE])
def test_not_implemented(mesh, seen, side, case, spec):
    """Sidecar with {case}"""
    spec = {**spec, "workloadSelector": {"labels": {"app": "nobody"}}}
    if side == "real":
        mesh.apply("Sidecar", "sidecar", spec)
        seen("taken")
    else:
        text = refused(mesh, "Sidecar", "sidecar", spec)
        assert "not implemented" in text
        seen(f"refused: {text}")
