"""The shipped Roles, held against the requests that the product makes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from api_server import ApiServer
from leftovers import OTHER, fault, faults, lease, lock
from numbered_api import Exchange, NumberedApi, Treatment
from rbac_cluster import SYSTEM, inhabitants
from roles import clean, copied, verbs, whole_run

from chaosmesh_ext import errors, mesh
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import Client, connect
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import Run, injections, undo_runs
from chaosmesh_ext.run.janitor import sweep
from chaosmesh_ext.settings import Settings, shipped

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v[^/]+"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/.))?/(?P<resource>[^/?]+)(?:/(?P<name>[^/?]+))?"
)
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


class Watched:
    """admin: whose requests nobody counts. client: whose are counted."""

    def __init__(self, folder: Path) -> None:
        self.api = ApiServer()
        self.proxy = NumberedApi(self.api.kube.url)
        self.api.call(self.proxy.start())
        self.admin = self._client(folder / "admin", self.api.kube.url)
        self.client = self._client(folder / "client", self.proxy.url)
        for obj in inhabitants():
            self.api.apply(obj)
            if "status" in obj:
                self.api.call(self.api.kube.patch_status(obj, obj["status"]))
        allowed = {"name": "default", "labels": {"chaosmesh-ext/allow": "true"}}
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": allowed})
        mesh.Leadership(SYSTEM, "janitor", 600).keep(self.admin)

    def _client(self, file: Path, url: str) -> Client:
        config = self.api.kube.kubeconfig()
        config["clusters"][0]["cluster"]["server"] = url
        file.write_text(yaml.safe_dump(config))
        return connect({"KUBECONFIG": str(file)})

    def close(self) -> None:
        self.api.call(self.proxy.stop())
        self.api.stop()

    def asked(self) -> set[tuple[str, str, str, str]]:
        """Group, resource, verb and namespace of each request; what needs no permission is left out."""
        found = set()
        for exchange in self.proxy.log:
            # what a cluster serves, everybody may ask
            if (
                re.fullmatch(r"/version|/apis/[^/]+/[^/]+", exchange.path)
                or "selfsubjectaccessreviews" in exchange.path
            ):
                continue
            parts = _PATH.fullmatch(exchange.path)
            assert parts is not None, exchange.path
            group, resource, name = parts["group"] or "", parts["resource"], parts["name"]
            namespace = name if resource == "namespaces" else parts["namespace"]
            verb = _VERBS.get(exchange.method, "get" if name else "list")
            found.add((group, resource, verb, namespace or ""))
        return found


@pytest.fixture
def watched(tmp_path) -> Iterator[Watched]:
    there = Watched(tmp_path)
    yield there
    there.close()


def test_the_runners_role_allows_what_a_run_asks_and_no_more(watched, caplog):
    """Everything in its namespace; beside it only what everybody may, and what only helps to refuse early."""
    assert whole_run(watched.admin, watched.client, caplog) == []
    fault(watched.admin)
    with copied(watched.admin):
        undo_runs(watched.client)
    undo_runs(watched.client)
    assert clean(watched.admin)
    refused_for_nobody(watched)
    asked = watched.asked()
    assert {one for one in asked if one[3] not in ("", "default")} == {
        ("", "configmaps", "get", SYSTEM),
        ("coordination.k8s.io", "leases", "get", SYSTEM),
        ("", "namespaces", "get", "kube-system"),
        ("apps", "deployments", "list", "istio-system"),
    }
    inside = {one[:3] for one in asked if one[3] in ("", "default")}
    assert inside == set(verbs("runner"))


def refused_for_nobody(watched: Watched) -> None:
    """A fault on a service without pods, which may have machines outside of Kubernetes."""
    ports = [{"name": "http", "port": 9080}]
    spec = {"selector": {"app": "deserted"}, "ports": ports}
    watched.api.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "deserted", "namespace": "default"}, "spec": spec}
    )
    run = Run(settings=Settings(max_run=60), connect=lambda: watched.client)
    with pytest.raises(errors.InvalidInput, match="no pod of deserted"):
        run.inject(Abort(503), Scope("deserted", source="productpage-v1"), prove=False)
    run.close()


def test_the_readers_role_writes_nothing_and_reads_what_a_run_reads():
    reads = {one for one in verbs("runner") if one[2] in ("get", "list")}
    assert set(verbs("reader")) == reads


def test_who_asks_what_is_injected_needs_lists_alone(watched):
    lease(watched.admin)
    injections(watched.client)
    assert {verb for _, _, verb, _ in watched.asked()} == {"list"}


def test_the_janitors_role_allows_what_it_asks_and_no_more(watched):
    """Its own Lease is another Role's."""
    admin = watched.admin
    fault(admin)
    fault(admin, carrier="virtualservice", host="reviews")
    fault(admin, carrier="virtualservice", host="ratings")
    faults(admin)
    lease(admin, renewed=-60)
    for run in ("1" * 8, OTHER):
        lock(admin, run)
    meddled: list[object] = []

    async def meddle(exchange: Exchange) -> None:
        """A third run takes the lock as well, while the janitor lets go of it."""
        meddled.append(await asyncio.to_thread(lock, admin, "2" * 8))
        await exchange.answer(await exchange.forward())

    def treat(exchange: Exchange) -> Treatment | None:
        return meddle if exchange.method == "PATCH" and "/leases/" in exchange.path and not meddled else None

    watched.proxy.treat = treat
    assert {one.left for one in sweep(watched.client)} == {()}
    asked = {one[:3] for one in watched.asked()}
    assert asked == set(verbs("janitor"))
    undo_runs(admin)
    assert clean(admin)


def documents(*folder: str) -> list[dict]:
    path = shipped("manifests").joinpath(*folder)
    return [obj for file in sorted(path.glob("*.yaml")) for obj in yaml.safe_load_all(file.read_text())]


def test_the_janitors_cluster_role_is_its_role_everywhere():
    [everywhere] = [obj for obj in documents("janitor") if obj["kind"] == "ClusterRole"]
    [here] = [
        obj
        for obj in documents("rbac", "namespace")
        if obj["kind"] == "Role" and obj["metadata"]["name"] == "chaosmesh-janitor"
    ]
    assert everywhere["rules"] == here["rules"]


def test_the_janitors_own_lease_needs_its_own_role_alone(watched):
    leadership = mesh.Leadership(SYSTEM, "another", 1)
    watched.api.call(watched.api.kube.delete("Lease", SYSTEM, mesh.JANITOR))
    watched.proxy.begin()
    leadership.keep(watched.client)
    leadership.give_up(watched.client)
    leadership.keep(watched.client)
    [own] = [
        obj for obj in documents("janitor") if "rules" in obj and obj["metadata"]["name"] == "chaosmesh-janitor-lease"
    ]
    allowed = {(resource, verb) for rule in own["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert {one[1:3] for one in watched.asked()} == allowed


def test_the_janitors_pods_have_no_privileges_and_one_takes_over_from_the_other():
    [deployment] = [obj for obj in documents("janitor") if obj["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 2
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} == container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]
    assert container["command"] == [
        "chaos", "--no-version-check", "--no-log-file", "mesh", "janitor", "--watch", "--json",
    ]  # fmt: skip
    [kustomization] = [obj for obj in documents("janitor") if obj["kind"] == "Kustomization"]
    assert [image["name"] for image in kustomization["images"]] == [container["image"]]


@pytest.mark.parametrize(
    "folder", ["janitor", "rbac", "rbac/namespace", "rbac/system", "rbac/istio-system", "rbac/reach"]
)
def test_each_kustomization_has_all_files_of_its_folder(folder):
    path = shipped("manifests") / folder
    resources = yaml.safe_load((path / "kustomization.yaml").read_text())["resources"]
    assert all((path / name).exists() for name in resources)
    assert {file.name for file in path.glob("*.yaml")} - {"kustomization.yaml"} == {
        name for name in resources if name.endswith(".yaml")
    }


def test_every_role_names_what_it_allows():
    """No wildcards, and nothing that could give more rights."""
    folders = [("janitor",), *(("rbac", name) for name in ("namespace", "system", "istio-system", "reach"))]
    for rule in [rule for folder in folders for obj in documents(*folder) for rule in obj.get("rules", ())]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"secrets", "roles", "rolebindings", "clusterroles"} & set(rule["resources"])
