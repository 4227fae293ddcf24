"""AuthorizationPolicies at real Envoys: who is let through, where, and what is left alone."""

import re

import pytest
from policies import plain, policy

from chaosmesh_ext.lab.controlplane.embedded.attachment import attached
from chaosmesh_ext.lab.controlplane.embedded.rbac import names_in_brackets
from chaosmesh_ext.lab.controlplane.embedded.refusal import refusals
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Workload
from chaosmesh_ext.lab.envoy import NodeInfo

HOST = "reviews:9080"
SLEEP = {"source": {"principals": ["cluster.local/ns/default/sa/sleep"]}}
PODS = ("reviews-v1", "reviews-v2")


@pytest.fixture
def mesh(mesh, helpers):
    """The mesh, open to everybody before and after."""
    yield mesh
    mesh.clean()
    settle(mesh, helpers, "/", 200)


def settle(mesh, helpers, path, status):
    """Wait until both versions answer so to all callers, on warm connections too: 16 calls in a row miss neither."""
    for source in ("sleep-v1", "other-v1"):
        helpers.until(
            lambda source=source: all(mesh.call(source, HOST, path).status == status for _ in range(16)),
            f"{path} is {status} for {source}",
        )


def test_one_caller_is_denied_one_path(mesh, helpers):
    rule = {"from": [SLEEP], "to": [{"operation": {"paths": ["/admin*"]}}]}
    canary = {"to": [{"operation": {"paths": ["/canary"]}}]}
    policy(mesh, selector={"matchLabels": {"app": "reviews"}}, action="DENY", rules=[rule, canary])
    settle(mesh, helpers, "/canary", 403)
    reply = mesh.call("sleep-v1", HOST, "/admin/a")
    assert (reply.status, reply.body) == (403, b"RBAC: access denied")
    assert mesh.call("sleep-v1", HOST, "/other").status == 200
    assert mesh.call("other-v1", HOST, "/admin/a").status == 200


def test_what_nobody_is_allowed_is_denied_and_deny_goes_first(mesh, helpers):
    policy(mesh, "open", rules=[{"to": [{"operation": {"paths": ["/open*"]}}]}])
    policy(mesh, "shut", action="DENY", rules=[{"to": [{"operation": {"paths": ["/open/not"]}}]}])
    wanted = {"/open": 200, "/open/not": 403, "/else": 403}
    for pod in PODS:
        helpers.until(lambda pod=pod: {path: plain(mesh, pod, path) for path in wanted} == wanted, f"{pod}: {wanted}")


def test_a_policy_that_is_deleted_is_gone(mesh, helpers):
    policy(mesh)
    settle(mesh, helpers, "/", 403)
    mesh.delete("AuthorizationPolicy", "policy")
    settle(mesh, helpers, "/", 200)


def test_only_the_workloads_that_it_is_for_get_new_listeners(mesh, helpers):
    before = {name: modified(mesh, name) for name in ("sleep-v1", "reviews-v1", "reviews-v2")}
    policy(mesh, selector={"matchLabels": {"app": "reviews", "version": "v1"}})
    helpers.until(lambda: plain(mesh, "reviews-v1") == 403, "v1 is denied")
    changed = [name for name, count in before.items() if modified(mesh, name) != count]
    assert changed == ["reviews-v1"]


def modified(mesh, pod):
    """How often POD's listeners were changed."""
    found = re.findall(r"listener_manager.listener_modified: (\d+)", mesh.stats(pod, "/stats?filter=listener_modified"))
    assert len(found) == 1
    return int(found[0])


def test_a_policy_that_is_refused_leaves_the_last_one_in_force(mesh, helpers):
    policy(mesh, action="DENY", rules=[{}])
    settle(mesh, helpers, "/", 403)
    policy(mesh, action="AUDIT")
    (problem,) = mesh.problems()
    assert "spec.action" in problem
    assert plain(mesh, "reviews-v1") == 403


@pytest.mark.parametrize("kind", ["AuthorizationPolicy", "PeerAuthentication"])
def test_a_dry_run_is_refused_by_its_annotation(kind):
    meta = {"name": "one", "namespace": "default", "annotations": {"istio.io/dry-run": "true"}}
    (found,) = refusals({"kind": kind, "apiVersion": "security.istio.io/v1", "metadata": meta, "spec": {}})
    assert found.field == "metadata.annotations[istio.io/dry-run]"
    assert found.reason == ("NotImplemented" if kind == "AuthorizationPolicy" else "Invalid")


def test_the_annotation_of_a_dry_run_is_seen_by_the_control_plane(mesh):
    meta = {"name": "tried", "namespace": "default", "annotations": {"istio.io/dry-run": "true"}}
    spec = {"action": "DENY", "rules": [{}]}
    obj = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": meta, "spec": spec}
    mesh.do(mesh.kube.apply(obj))
    (problem,) = mesh.problems()
    assert "metadata.annotations[istio.io/dry-run]" in problem


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("request.auth.claims[a]", ["a"]),
        ("request.auth.claims[a][b]", ["a", "b"]),
        ("request.auth.claims[https://x/a]", ["https://x/a"]),
        ("request.auth.claims[a]b]", ["a]b"]),
        ("request.auth.claims[a][b", []),
        ("request.auth.claims", []),
    ],
)
def test_the_names_of_nested_claims(key, names):
    assert names_in_brackets(key) == names


def test_policies_of_the_root_namespace_come_first_and_labels_choose():
    node = NodeInfo(
        name="r", namespace="default", ip="127.0.0.1", admin="127.0.0.1", workload="r", labels={"app": "reviews"}
    )
    pod = Workload(node=node, ready=True, proxied=True, app="127.0.0.1", ports=())

    def obj(name, namespace, **labels):
        return {"metadata": {"name": name, "namespace": namespace}, "spec": {"selector": {"matchLabels": labels}}}

    objects = [
        obj("a", "default"),
        obj("b", "istio-system", app="reviews"),
        obj("c", "far"),
        obj("d", "default", app="details"),
        obj("e", "istio-system"),
    ]
    assert [one["metadata"]["name"] for one in attached(objects, pod)] == ["b", "e", "a"]
