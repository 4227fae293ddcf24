"""The shipped Roles on a real kube-apiserver: enough as they are, and what is missing is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from leftovers import OTHER, fault, faults, lease, lock
from rbac_cluster import SYSTEM
from roles import clean, copied, role, verbs, whole_run
from waiting import until

from chaosmesh_ext import errors, mesh
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import Client
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.permissions import missing, needed
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import Run, undo_runs
from chaosmesh_ext.run.janitor import sweep
from chaosmesh_ext.settings import Settings

pytestmark = pytest.mark.xdist_group("real-rbac")
CHAOS = str(Path(sys.executable).with_name("chaos"))


def test_the_runners_role_is_enough_for_all_that_a_run_does(cluster, janitor, caplog):
    client, _ = cluster.account("chaosmesh-runner")
    assert [f"{one} {one.namespace}" for one in missing(client, needed("default", SYSTEM))] == [
        "get Namespace kube-system"
    ]
    before = cluster.admin.get("VirtualService", "default", "reviews")["spec"]
    assert whole_run(cluster.admin, client, caplog) == []
    assert cluster.admin.get("VirtualService", "default", "reviews")["spec"] == before
    told = {
        (event["involvedObject"]["name"], event["reason"])
        for event in cluster.admin.list("Event", "default", labels=mesh.LABEL)
    }
    assert told == set(product(("details", "reviews", "ratings"), ("ChaosFaultInjected", "ChaosFaultRemoved")))
    assert undo_runs(client, OTHER, namespaces=("default",)).left == ()
    assert clean(cluster.admin)


def test_the_runners_role_is_enough_to_tell_that_nobody_answers(cluster, janitor):
    run = Run(settings=Settings(), connect=lambda: cluster.account("chaosmesh-runner")[0])
    with pytest.raises(errors.InvalidInput, match="no pod of idle in default runs"):
        run.inject(Abort(503), Scope("idle", source="productpage-v1"), prove=False)


def test_a_kind_that_the_cluster_does_not_serve_is_missed_by_nobody(cluster, janitor):
    """To whoever has no permission it is 403, as if there were some."""
    client, _ = cluster.account("chaosmesh-janitor", SYSTEM)
    with pytest.raises(errors.Forbidden):
        client._call("GET", "/apis/argoproj.io/v1alpha1/rollouts", "Rollouts")
    assert client.list("Rollout") == []


def test_the_runners_role_is_enough_to_recover_what_others_left(cluster, caplog):
    client, _ = cluster.account("chaosmesh-runner")
    fault(cluster.admin)
    fault(cluster.admin, carrier="virtualservice", host="reviews")
    fault(cluster.admin, carrier="virtualservice", host="ratings")
    faults(cluster.admin)
    lease(cluster.admin)
    lock(cluster.admin)
    lock(cluster.admin, OTHER)
    with copied(cluster.admin):
        recovered = undo_runs(client, namespaces=("default",))
        assert len(recovered.left) == 1
        assert "a copy of an object of ours" in recovered.left[0]
        assert "labels" not in cluster.admin.get("EnvoyFilter", "default", "a-copy")["metadata"]
    assert clean(cluster.admin)


@pytest.fixture(scope="module")
def lesser(cluster) -> dict[tuple[str, str, str], Client]:
    """For each thing that the runner's Role allows, an account that may do all but that."""
    documents: list[dict] = []
    names: dict[tuple[str, str, str], str] = {}
    for number, (group, resource, verb) in enumerate(verbs("runner")):
        name = names[group, resource, verb] = f"lesser-{number}"
        rules = []
        for rule in deepcopy(role("runner")):
            for one in rule["resources"]:
                hit = (rule["apiGroups"], one) == ([group], resource)
                left = [word for word in rule["verbs"] if not (hit and word == verb)]
                rules += [{**rule, "resources": [one], "verbs": left}] if left else []
        documents += _bound(name, rules)
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))
    found = {key: cluster.account(name)[0] for key, name in names.items()}
    yield found
    # what their watchdogs could not undo, they may now
    cluster.kubectl(
        "create",
        "rolebinding",
        "all-again",
        "--role=chaosmesh-runner",
        "--group=system:serviceaccounts",
        "-n",
        "default",
    )


def _bound(name: str, rules: list[dict]) -> list[dict]:
    there = {"name": name, "namespace": "default"}
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": there},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": there, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": there,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", **there}],
        },
    ]


SILENT = {("argoproj.io", "rollouts"), ("flagger.app", "canaries"), ("networking.istio.io", "workloadentries")}
"""What only helps to refuse early: a run goes on without, and `chaos mesh check` says so."""


@pytest.mark.parametrize("lost", list(verbs("runner")), ids=" ".join)
def test_each_verb_that_is_missing_is_named(cluster, janitor, lesser, lost, caplog):
    """By `chaos mesh check` before a run, and by the run with verb, resource and namespace."""
    group, resource, verb = lost
    client = lesser[lost]
    kinds = {(kind.group, kind.plural): name for name, kind in KINDS.items()}
    named = [str(one) for one in missing(client, needed("default", SYSTEM)) if one.namespace == "default"]
    assert named == [f"{verb} {kinds[group, resource]}"]
    if lost == ("networking.istio.io", "envoyfilters", "patch"):  # no run of ours does; recover does
        fault(cluster.admin)
        with copied(cluster.admin):
            said = list(undo_runs(client, namespaces=("default",)).left)
    else:
        said = whole_run(cluster.admin, client, caplog)
    undo_runs(cluster.admin)
    assert clean(cluster.admin)
    if (group, resource) in SILENT:
        assert said == []
        return
    if resource == "namespaces":
        assert "whether the namespace default allows faults may not be read: ask for get on it" in said[0]
        return
    where = f'in API group "{group}" in the namespace "default"'
    assert any(f'cannot {verb} resource "{resource}" {where}' in line for line in said), said


def test_the_reader_sees_what_is_injected_and_writes_nothing(cluster, janitor):
    client, file = cluster.account("chaosmesh-reader")
    assert verbs_of("reader") == {"get", "list"}
    fault(cluster.admin)
    lease(cluster.admin)
    env = {**os.environ, "KUBECONFIG": str(file)}
    done = subprocess.run(
        [CHAOS, "--no-version-check", "--no-log-file", "mesh", "runs"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "0badcafe  live until" in done.stdout
    assert done.stderr == "Only default was looked into: this account may not list the whole cluster.\n"
    done = subprocess.run(
        [CHAOS, "--no-version-check", "--no-log-file", "mesh", "check"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "create EnvoyFilter" in done.stdout + done.stderr, done.stdout + done.stderr
    run = Run(settings=Settings(), connect=lambda: client)
    with pytest.raises(errors.Forbidden, match='cannot create resource "leases"'):
        run.inject(Abort(503), Scope("ratings", source="productpage-v1"), prove=False)
    run.close()
    recovered = undo_runs(client, namespaces=("default",))
    assert any('cannot delete resource "envoyfilters"' in line for line in recovered.left)
    assert undo_runs(cluster.admin).left == ()
    assert clean(cluster.admin)


def verbs_of(name: str) -> set[str]:
    return {verb for _, _, verb in verbs(name)}


def test_the_janitors_role_is_enough_for_it(cluster, janitor):
    """It leads, and undoes what died; the fixture has nothing but its account."""
    assert [swept.error for swept in janitor if swept.error] == []
    lease(cluster.admin, duration=1)
    fault(cluster.admin)
    fault(cluster.admin, carrier="virtualservice", host="reviews")
    fault(cluster.admin, carrier="virtualservice", host="ratings")
    faults(cluster.admin)
    lock(cluster.admin)
    lock(cluster.admin, OTHER)
    lease(cluster.admin, OTHER, duration=1)
    until(lambda: clean(cluster.admin))
    assert [swept.error for swept in janitor if swept.error] == []


def test_the_janitors_role_of_one_namespace_is_enough_there(cluster):
    """Where it may not have the ClusterRole; in the namespaces that it is told."""
    rules = role("janitor")
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(_bound("janitor-here", rules)))
    client, _ = cluster.account("janitor-here")
    for run in ("11111111", "22222222"):
        lock(cluster.admin, run, "ratings")
    fault(cluster.admin, "11111111", carrier="virtualservice", host="reviews")
    fault(cluster.admin, "22222222")
    until(lambda: client.may("delete", "Lease", "default"))
    swept = list(sweep(client, ("default",)))
    assert {one.run for one in swept} == {"11111111", "22222222"}
    assert [one.left for one in swept] == [(), ()]
    assert clean(cluster.admin)


def test_who_is_on_call_may_halt_and_nobody_else(cluster):
    for_all, _ = cluster.account("chaosmesh-reader")
    assert mesh.halted(for_all, SYSTEM) is None
    with pytest.raises(errors.Forbidden, match='cannot create resource "configmaps"'):
        mesh.halt(for_all, SYSTEM, "reader", "no")
    documents = [one for one in _bound("on-call", []) if one["kind"] == "ServiceAccount"]
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))
    cluster.kubectl(
        "create", "rolebinding", "on-call", "--role=chaosmesh-halter", "--serviceaccount=default:on-call", "-n", SYSTEM
    )
    on_call, _ = cluster.account("on-call")
    until(lambda: on_call.may("create", "ConfigMap", SYSTEM))
    halt: Any = mesh.halt(on_call, SYSTEM, "sre@desk", "incident")
    assert mesh.halt(on_call, SYSTEM, "sre@desk", "again") == halt
    assert mesh.halted(for_all, SYSTEM) == halt
    assert mesh.resume(on_call, SYSTEM) == halt
    assert re.match(r"20\d\d-", halt.at)
