"""Mutual TLS between real Envoys: automatic as Istio has it, and as PeerAuthentications and DestinationRules change it."""

import http.client

import pytest
from certificates_seen import HOST, certificate, counter

from chaosmesh_ext.lab.controlplane.embedded.peerauthentications import port_mode
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Snapshot, Workload
from chaosmesh_ext.lab.envoy import NodeInfo

ROOT = "istio-system"
IDENTITY = "spiffe://cluster.local/ns/default/sa/"


@pytest.fixture
def peer(mesh):
    """Writes a PeerAuthentication; without labels it is the namespace's, in the root namespace the mesh's."""

    def write(mode=None, name="peer", namespace="default", labels=None, ports=None):
        spec = {}
        if mode:
            spec["mtls"] = {"mode": mode}
        if labels:
            spec["selector"] = {"matchLabels": labels}
        if ports:
            spec["portLevelMtls"] = {str(port): {"mode": each} for port, each in ports.items()}
        mesh.apply("PeerAuthentication", name, spec, namespace)

    return write


@pytest.fixture
def plain(mesh, helpers):
    """A request in plain text, straight to a pod: its status, or 0 where the connection was closed without one."""

    def ask(pod="reviews-v1"):
        try:
            return helpers.get(mesh.addresses[pod].inbound, port=9080, path="/", headers={"Host": HOST}).status
        except (ConnectionResetError, http.client.RemoteDisconnected):
            return 0

    return ask


@pytest.fixture
def takes(mesh, plain, helpers):
    """Waits until a pod takes what it should: an Envoy acknowledges a listener a moment before it is the one in use."""

    def wait(mode, pod="reviews-v1", to=HOST):
        wanted = {"STRICT": (0, True), "PERMISSIVE": (200, True), "DISABLE": (200, False)}[mode]
        helpers.until(lambda: (plain(pod), secured(mesh, to=to)) == wanted, f"{pod} is {mode}: {wanted}")

    return wait


def secured(mesh, to=HOST):
    reply = mesh.call("sleep-v1", to)
    if reply.status != 200:
        return None
    return "x-forwarded-client-cert" in mesh.apps[reply.json["name"]].seen[-1]


def test_a_call_in_the_mesh_names_both_ends(mesh):
    found = certificate(mesh)
    assert f"By={IDENTITY}reviews;" in found
    assert f"URI={IDENTITY}sleep" in found
    assert 'Subject=""' in found


def test_an_application_cannot_pretend_to_be_another(mesh):
    found = certificate(mesh, headers={"x-forwarded-client-cert": f"URI={IDENTITY}admin"})
    assert "admin" not in found
    assert f"URI={IDENTITY}sleep" in found


def test_without_any_object_plain_text_is_taken_too(mesh, plain, helpers):
    assert plain() == 200
    forged = {"Host": HOST, "x-forwarded-client-cert": "URI=spiffe://forged"}
    helpers.get(mesh.addresses["reviews-v1"].inbound, port=9080, path="/", headers=forged)
    assert "x-forwarded-client-cert" not in mesh.apps["reviews-v1"].seen[-1], "a client without a certificate has none"


def test_strict_refuses_plain_text_and_takes_the_mesh(mesh, peer, takes, plain):
    peer("STRICT")
    takes("STRICT")
    assert plain("reviews-v2") == 0


def test_disable_takes_the_mesh_in_plain_text(mesh, peer, takes):
    peer("DISABLE")
    takes("DISABLE")


def test_strict_taken_back_is_permissive_again(mesh, peer, takes):
    peer("STRICT")
    takes("STRICT")
    mesh.delete("PeerAuthentication", "peer")
    takes("PERMISSIVE")


def test_the_meshs_object_holds_where_no_other_is(mesh, peer, takes):
    peer("STRICT", namespace=ROOT)
    takes("STRICT")


def test_the_namespaces_object_goes_before_the_meshs(mesh, peer, takes):
    peer("STRICT", namespace=ROOT)
    takes("STRICT")
    peer("PERMISSIVE")
    takes("PERMISSIVE")


def test_the_workloads_object_goes_before_the_namespaces(mesh, peer, takes, plain):
    peer("STRICT")
    takes("STRICT")
    peer("PERMISSIVE", "workload", labels={"app": "reviews", "version": "v1"})
    takes("PERMISSIVE")
    assert plain("reviews-v2") == 0, "v2 has no object of its own"


@pytest.mark.parametrize("mode", ["UNSET", None])
def test_an_unset_mode_is_inherited(mesh, peer, takes, mode):
    peer("STRICT", namespace=ROOT)
    peer(mode)
    peer(mode, "workload", labels={"app": "reviews"})
    takes("STRICT")


def test_a_selector_in_the_root_namespace_selects_nobody(mesh, peer, takes):
    """Istio takes workload objects from the workload's own namespace only."""
    peer("STRICT", "workload", namespace=ROOT, labels={"app": "reviews"})
    peer("STRICT", "other", labels={"app": "other"})
    takes("PERMISSIVE")


@pytest.mark.parametrize("labels", [{}, {"app": "reviews"}], ids=["namespace", "workload"])
@pytest.mark.parametrize("second", [1, 2], ids=["older", "name"])
def test_of_two_objects_of_one_level_the_older_holds_and_of_one_second_the_name(labels, second):
    node = NodeInfo(
        name="r", namespace="default", ip="127.0.0.1", admin="127.0.0.1", workload="r", labels={"app": "reviews"}
    )
    pod = Workload(node=node, ready=True, proxied=True, app="127.0.0.1", ports=())

    def obj(name, second, mode):
        meta = {"name": name, "namespace": "default", "creationTimestamp": f"2026-01-01T00:00:0{second}Z"}
        spec = {"selector": {"matchLabels": labels}, "mtls": {"mode": mode}}
        return {"kind": "PeerAuthentication", "metadata": meta, "spec": spec}

    objects = [obj("a", 3, "DISABLE"), obj("c", 2, "PERMISSIVE"), obj("b", second, "STRICT")]
    assert port_mode(Snapshot.of([], [pod], objects), pod, 9080) == "STRICT"


def test_a_port_goes_before_its_workload(mesh, peer, takes):
    peer("STRICT", labels={"app": "reviews"}, ports={9080: "PERMISSIVE", 9090: "DISABLE"})
    takes("PERMISSIVE")
    peer("PERMISSIVE", labels={"app": "reviews"}, ports={9080: "STRICT"})
    takes("STRICT")
    peer("STRICT", labels={"app": "reviews"}, ports={9090: "DISABLE"})
    takes("STRICT")


def test_a_ports_unset_mode_is_its_workloads(mesh, peer, takes):
    peer("STRICT", labels={"app": "reviews"}, ports={9080: "UNSET"})
    takes("STRICT")


def test_callers_know_of_a_workload_that_disables_it(mesh, peer, takes):
    """The cluster has both ways; the endpoint says which."""
    peer("DISABLE", labels={"app": "reviews"})
    takes("DISABLE")


def test_strict_below_a_namespace_that_disables_is_unreachable(mesh, peer, helpers):
    """As in Istio: a caller's cluster follows the callee's namespace, and that has no TLS."""
    peer("STRICT", "workload", labels={"app": "reviews"})
    peer("DISABLE", "namespace")
    helpers.until(lambda: mesh.flags("sleep-v1", HOST) == (503, "UC"), "the call is refused")


@pytest.mark.parametrize(
    "policy",
    [
        {"tls": {"mode": "DISABLE"}},
        {"tls": {}},
        {
            "tls": {"mode": "ISTIO_MUTUAL"},
            "portLevelSettings": [{"port": {"number": 9080}, "tls": {"mode": "DISABLE"}}],
        },
    ],
    ids=["policy", "default", "port"],
)
def test_a_destination_rule_without_tls_calls_in_plain_text(mesh, helpers, policy):
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "trafficPolicy": policy})
    helpers.until(lambda: secured(mesh) is False, "the call is in plain text")


def test_a_destination_rule_without_tls_is_refused_by_strict(mesh, peer, takes, helpers):
    peer("STRICT")
    takes("STRICT")
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "trafficPolicy": {"tls": {"mode": "DISABLE"}}})
    helpers.until(lambda: mesh.flags("sleep-v1", HOST) == (503, "UC"), "the call is refused")


def test_a_destination_rules_word_goes_before_what_the_callee_says(mesh, peer, takes, helpers):
    """TLS that was asked for is spoken to a callee that does not understand it."""
    peer("DISABLE")
    takes("DISABLE")
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}})
    helpers.until(lambda: mesh.flags("sleep-v1", HOST) == (503, "URX,UF"), "the handshake fails")


def test_a_subset_may_differ_from_its_service(mesh, helpers):
    spec = {
        "host": "reviews",
        "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}},
        "subsets": [
            {"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
            {"name": "v2", "labels": {"version": "v2"}},
        ],
    }
    mesh.apply("DestinationRule", "reviews", spec)
    for subset, found in (("v1", False), ("v2", True)):
        mesh.route("reviews", {"route": [{"destination": {"host": "reviews", "subset": subset}}]})
        helpers.until(lambda found=found: secured(mesh) is found, f"{subset} is called as it should be")


def test_settings_of_a_port_that_do_not_speak_of_tls_leave_it(mesh, helpers):
    """istiod builds such a cluster for both ways, and its endpoints as the policy says."""
    port = {"port": {"number": 9080}, "connectionPool": {"tcp": {"maxConnections": 10}}}
    policy = {"tls": {"mode": "DISABLE"}, "portLevelSettings": [port]}
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "trafficPolicy": policy})
    helpers.until(lambda: secured(mesh) is False, "the call is in plain text")


def test_strict_does_not_replace_the_callers_clusters(mesh, peer, takes):
    """A replaced cluster loses its connections and its ejections."""
    before = counter(mesh, "cluster_manager.cluster_modified")
    peer("STRICT")
    takes("STRICT")
    assert counter(mesh, "cluster_manager.cluster_modified") == before


def test_a_fault_leaves_the_listeners_alone(mesh, helpers):
    before = counter(mesh, "listener_manager.listener_modified")
    mesh.route("reviews", {"fault": helpers.abort(507)})
    assert mesh.call("sleep-v1", HOST).status == 507
    assert counter(mesh, "listener_manager.listener_modified") == before


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"mtls": {"mode": "MUTUAL"}}, "spec.mtls.mode: 'MUTUAL' is none of UNSET, DISABLE, PERMISSIVE, STRICT"),
        ({"portLevelMtls": {"9080": {"mode": "STRICT"}}}, "peer authentication cannot have port level mTLS"),
        (
            {"selector": {"matchLabels": {"app": "reviews"}}, "portLevelMtls": {}},
            "port level mTLS, if defined, must have at least one element",
        ),
        (
            {"selector": {"matchLabels": {"app": "reviews"}}, "portLevelMtls": {"0": {}}},
            "spec.portLevelMtls[0]: port must be in range 1..65535",
        ),
        ({"selector": {"matchLabels": {"app": "rev*"}}}, "wildcard is not supported in selector"),
        ({"selector": {"matchLabels": {"": "x"}}}, "empty key is not supported in selector"),
        ({"selector": {"app": "reviews"}}, "spec.selector.app: not implemented"),
        ({"selector": []}, "spec.selector: an object is wanted, not []"),
        ({"selector": {"matchLabels": []}}, "spec.selector.matchLabels: an object is wanted, not []"),
        ({"portLevelMtls": []}, "spec.portLevelMtls: an object is wanted, not []"),
    ],
)
def test_what_istio_refuses_is_refused_and_not_in_force(mesh, plain, spec, words):
    mesh.apply("PeerAuthentication", "peer", {"mtls": {"mode": "STRICT"}, **spec})
    (problem,) = mesh.problems()
    assert problem.startswith("PeerAuthentication default/peer refused: ")
    assert words in problem
    assert plain() == 200
