"""PeerAuthentication and mutual TLS."""

from __future__ import annotations

import re
import time

import pytest
from echo_mesh import PORT
from mtls import DISABLE, PERMISSIVE, ROOT, STRICT, caller, certificate, peer, plain, settled, takes, ways
from waiting import until

HOST = f"details:{PORT}"
DETAILS = {"app": "details"}
BY_MODE = {"STRICT": STRICT, "PERMISSIVE": PERMISSIVE, "DISABLE": DISABLE}
PODS = {"details": ["details-v1"], "reviews": ["reviews-v1", "reviews-v2"]}
FORGED = {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/default/sa/admin"}


@pytest.fixture
def mesh(mesh):
    """The mesh, PERMISSIVE before and after."""
    settled(mesh, PODS)
    yield mesh
    mesh.clean()
    settled(mesh, PODS)


def test_a_call_in_the_mesh_names_both_ends(mesh, seen):
    """x-forwarded-client-cert names both ends' service accounts, as the callee's application sees it"""
    found = certificate(mesh, "sleep-v1", HOST)
    found = re.sub(r"Hash=[0-9a-f]{64}", "Hash=…", found)
    assert found == (
        'By=spiffe://cluster.local/ns/default/sa/details;Hash=…;Subject="";'
        "URI=spiffe://cluster.local/ns/default/sa/sleep"
    )
    seen(found)


def test_callers_of_other_namespaces_are_named(mesh, seen, guest):
    """x-forwarded-client-cert of a caller in another namespace"""
    found = caller(mesh, guest, f"details.default:{PORT}")
    assert found == "200 as far/guest"
    seen(found)


def test_an_application_cannot_pretend_to_be_another(mesh, seen):
    """x-forwarded-client-cert that the caller's application sent does not arrive"""
    found = certificate(mesh, "sleep-v1", HOST, FORGED)
    assert "admin" not in found
    assert found.count("URI=") == 1
    assert found.endswith("/sa/sleep")
    seen("the sidecar's own only")


def test_a_client_in_plain_text_cannot_pretend_either(mesh, seen):
    """x-forwarded-client-cert of a client in plain text does not arrive"""
    assert plain(mesh, "details-v1", FORGED) == "200"
    assert "x-forwarded-client-cert" not in mesh.apps["details-v1"].seen[-1]
    seen("200, no such header")


def test_without_any_object(mesh, seen):
    """No PeerAuthentication at all"""
    assert ways(mesh) == PERMISSIVE
    seen(PERMISSIVE)


LEVELS = {"mesh": {"namespace": ROOT}, "namespace": {}, "workload": {"labels": DETAILS}}


@pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE", "DISABLE"])
@pytest.mark.parametrize("level", LEVELS)
def test_modes(mesh, seen, level, mode):
    """PeerAuthentication of a {level}: {mode}"""
    if mode == "PERMISSIVE":
        peer(mesh, "STRICT", **LEVELS[level])
        takes(mesh, STRICT)
    peer(mesh, mode, **LEVELS[level])
    seen(takes(mesh, BY_MODE[mode]))


def test_what_a_plain_text_client_meets(mesh, seen):
    """STRICT closes a connection in plain text without an answer, and the application is not reached"""
    peer(mesh, "STRICT")
    takes(mesh, STRICT)
    hits = mesh.hits("details")
    assert plain(mesh, "details-v1") == "closed"
    assert mesh.hits("details") == hits
    seen("closed, not reached")


def test_the_namespaces_goes_before_the_meshs(mesh, seen):
    """PeerAuthentication of the namespace goes before the mesh's"""
    peer(mesh, "STRICT", namespace=ROOT)
    takes(mesh, STRICT)
    peer(mesh, "PERMISSIVE")
    seen(f"STRICT, then PERMISSIVE: {takes(mesh, PERMISSIVE)}")


def test_the_workloads_goes_before_the_namespaces(mesh, seen):
    """PeerAuthentication of a workload goes before the namespace's, for that workload only"""
    peer(mesh, "STRICT")
    takes(mesh, STRICT)
    peer(mesh, "PERMISSIVE", "workload", labels={"app": "reviews", "version": "v1"})
    until(lambda: plain(mesh, "reviews-v1") == "200", "v1 takes plain text")
    assert plain(mesh, "reviews-v2") == "closed"
    seen("plain text to v1 200, to v2 closed")


def test_all_labels_of_a_selector_must_be_there(mesh, seen):
    """PeerAuthentication selector with a label that the pod lacks selects it not"""
    peer(mesh, "STRICT", labels={**DETAILS, "version": "v9"})
    peer(mesh, "STRICT", "v2", labels={"app": "reviews", "version": "v2"})
    until(lambda: plain(mesh, "reviews-v2") == "closed", "v2 refuses plain text")
    assert ways(mesh) == PERMISSIVE
    seen(PERMISSIVE)


def test_a_selector_in_the_root_namespace(mesh, seen):
    """PeerAuthentication with a selector in the root namespace selects nobody elsewhere"""
    peer(mesh, "STRICT", "details", namespace=ROOT, labels=DETAILS)
    peer(mesh, "STRICT", "v2", labels={"app": "reviews", "version": "v2"})
    until(lambda: plain(mesh, "reviews-v2") == "closed", "v2 refuses plain text")
    assert ways(mesh) == PERMISSIVE
    seen(PERMISSIVE)


def test_another_namespaces_object(mesh, seen, guest):
    """PeerAuthentication of another namespace does not matter"""
    peer(mesh, "STRICT", namespace="far")
    until(lambda: plain(mesh, guest) == "closed", "the pod there refuses plain text")
    assert ways(mesh) == PERMISSIVE
    seen("there plain text is closed, here it is taken")


@pytest.mark.parametrize("mode", ["UNSET", None], ids=["UNSET", "no mtls"])
@pytest.mark.parametrize("below", ["mesh", "namespace"])
def test_an_unset_mode_is_inherited(mesh, seen, below, mode):
    """PeerAuthentication without a mode inherits what stands below"""
    peer(mesh, "STRICT", "below", **LEVELS[below])
    if below == "mesh":
        peer(mesh, mode, "namespace")
    peer(mesh, mode, "workload", labels=DETAILS)
    seen(takes(mesh, STRICT))


@pytest.mark.parametrize("level", ["namespace", "workload"])
@pytest.mark.parametrize("younger", ["a", "z"])
def test_the_oldest_holds(mesh, seen, level, younger):
    """Two PeerAuthentications of one {level}, the younger named {younger}: the older holds"""
    peer(mesh, "STRICT", "m", **LEVELS[level])
    born = mesh.get("PeerAuthentication", "m")["metadata"]["creationTimestamp"]
    time.sleep(1.0 - time.time() % 1.0 + 0.01)  # timestamps are whole seconds
    peer(mesh, "DISABLE", younger, **LEVELS[level])
    assert mesh.get("PeerAuthentication", younger)["metadata"]["creationTimestamp"] > born
    older = takes(mesh, STRICT)
    mesh.delete("PeerAuthentication", "m")
    seen(f"{older}; once it is deleted: {takes(mesh, DISABLE)}")


@pytest.mark.parametrize(
    ("mode", "port", "each", "wanted"),
    [
        ("STRICT", 9080, "PERMISSIVE", PERMISSIVE),
        ("PERMISSIVE", 9080, "STRICT", STRICT),
        ("STRICT", 9080, "DISABLE", DISABLE),
        ("STRICT", 9080, "UNSET", STRICT),
        ("STRICT", 9090, "DISABLE", STRICT),
        (None, 9080, "STRICT", STRICT),
    ],
)
def test_a_port_goes_before_its_workload(mesh, seen, mode, port, each, wanted):
    """PeerAuthentication {mode} with portLevelMtls {port}: {each}, seen at 9080"""
    peer(mesh, mode, labels=DETAILS, ports={port: each})
    seen(takes(mesh, wanted))


@pytest.fixture
def shop(mesh):
    """The service shop, which calls details' port 9080 its port 8000."""
    mesh.apply("Service", "shop", {"selector": DETAILS, "ports": [{"name": "http", "port": 8000, "targetPort": PORT}]})
    until(lambda: mesh.call("sleep-v1", "shop", port=8000).status == 200, "the shop is open")
    yield
    mesh.delete("Service", "shop")


def test_the_port_is_the_pods(mesh, seen, shop):
    """PeerAuthentication portLevelMtls names the pod's port, not the service's"""
    peer(mesh, "STRICT", labels=DETAILS, ports={PORT: "PERMISSIVE"})
    pods = takes(mesh, PERMISSIVE)
    peer(mesh, "STRICT", labels=DETAILS, ports={8000: "PERMISSIVE"})
    services = takes(mesh, STRICT)
    assert mesh.call("sleep-v1", "shop", port=8000).status == 200
    seen(f"STRICT, 9080 PERMISSIVE: {pods}; STRICT, 8000 PERMISSIVE: {services}")


def test_strict_below_a_namespace_that_disables(mesh, seen):
    """PeerAuthentication STRICT of a workload in a namespace with DISABLE: the mesh's calls fail"""
    peer(mesh, "STRICT", "workload", labels=DETAILS)
    peer(mesh, "DISABLE", "namespace")
    seen(takes(mesh, "plain text: closed; mesh: 503 UC"))


def test_taken_back(mesh, seen):
    """PeerAuthentication deleted: as it was before"""
    peer(mesh, "STRICT")
    takes(mesh, STRICT)
    mesh.delete("PeerAuthentication", "peer")
    seen(takes(mesh, PERMISSIVE))
