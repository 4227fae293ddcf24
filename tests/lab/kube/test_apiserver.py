"""A real kube-apiserver over etcd as the lab's Kubernetes API: its life, its secrets, and what the lab's parts ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import ssl
import stat
import time
from pathlib import Path

import aiohttp
import psutil
import pytest
from waiting import come

from chaosmesh_ext.errors import Conflict, InvalidInput, LabError, Unprocessable
from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.kube.api import NODE
from chaosmesh_ext.lab.kube.apiserver import ApiServer
from chaosmesh_ext.lab.kube.apiserver.informer import Informer
from chaosmesh_ext.lab.parts import names, part
from chaosmesh_ext.lab.place import Place

_MISSING = [name for name in ("etcd", "kube-apiserver", "kubectl", "istiod") if tools.find(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(_MISSING), reason=f"not built: {', '.join(_MISSING)}: chaos mesh lab tools"),
    pytest.mark.asyncio(loop_scope="module"),
]
PORTS = (6443, 10250, 2379, 2380)


def place(folder: Path) -> Place:
    """An address of its own on which nobody listens."""
    while True:
        host = f"127.{random.randint(1, 62)}.{random.randint(1, 254)}.9"
        try:
            for port in PORTS:
                with contextlib.closing(socket.socket()) as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return Place(control=host, directory=folder)


def programs(folder: Path) -> list[psutil.Process]:
    """Every process that names FOLDER."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                found.append(process)
    return found


@contextlib.asynccontextmanager
async def running(kube):
    try:
        await kube.start()
        yield kube
    finally:
        await kube.stop()


@pytest.fixture(scope="module")
async def kube(tmp_path_factory):
    async with running(part("kube", "apiserver").create(place(tmp_path_factory.mktemp("kube")))) as kube:
        yield kube


@pytest.fixture
async def kubectl(kube, tmp_path):
    """Run the real kubectl against the server: its output, or what it complains of where `fails`."""
    config = tmp_path / "kubeconfig"
    config.write_text(json.dumps(kube.kubeconfig()))

    async def run(*words: str, fails: bool = False) -> str:
        process = await asyncio.create_subprocess_exec(
            str(tools.need("kubectl")),
            *words,
            env={**os.environ, "KUBECONFIG": str(config), "HOME": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode != 0) is fails, out + err
        return (err if fails else out).decode()

    return run


def pod(name: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }


def virtual_service(name: str, host: str = "details", **metadata) -> dict:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"hosts": [host]},
    }


class TestLife:
    async def test_it_is_one_of_the_parts_by_being_there(self):
        assert names("kube") == ["apiserver", "embedded"]

    async def test_the_kubeconfig_is_all_that_kubectl_needs(self, kubectl):
        assert await kubectl("get", "--raw", "/readyz") == "ok"
        assert await kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}") == "chaosmesh-lab"

    async def test_its_certificate_is_for_its_address_and_of_its_own_authority(self, kube):
        host, port = kube.url.removeprefix("https://").split(":")
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(host, int(port), ssl=ssl.create_default_context())

    @pytest.mark.parametrize(("headers", "status"), [({}, 403), ({"Authorization": "Bearer guessed"}, 401)])
    async def test_without_its_token_nobody_reads_a_thing(self, kube, headers, status):
        root = kube._place.directory / "kube-apiserver" / "root.crt"
        context = ssl.create_default_context(cafile=root)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as client,
            client.get(f"{kube.url}/api/v1/namespaces", headers=headers) as answer,
        ):
            assert answer.status == status

    async def test_its_secrets_are_the_users_alone(self, kube):
        folder = kube._place.directory / "kube-apiserver"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}

    async def test_every_definition_can_be_discovered_once_it_is_ready(self, kubectl):
        served = set((await kubectl("api-resources", "-o", "name")).split())
        assert {"virtualservices.networking.istio.io", "httproutes.gateway.networking.k8s.io"} <= served
        assert {"envoyfilters.networking.istio.io", "telemetries.telemetry.istio.io"} <= served

    async def test_the_node_is_ready_and_the_namespaces_are_there(self, kubectl):
        assert (await kubectl("get", "nodes", "--no-headers")).split()[:2] == [NODE, "Ready"]
        found = (await kubectl("get", "namespaces", "-o", "name")).split()
        assert {"namespace/default", "namespace/istio-system", "namespace/kube-system"} <= set(found)

    async def test_logs_of_pods_come_from_whoever_serves_them(self, kube, kubectl):
        await kube.create({**pod("talks"), "spec": {**pod("")["spec"], "nodeName": NODE}})
        assert "keeps no logs" in await kubectl("logs", "talks", fails=True)
        kube.serve_pod_logs(lambda pod, container: f"one\n{pod['metadata']['name']} {container}\n")
        assert await kubectl("logs", "talks") == "one\ntalks app\n"
        assert await kubectl("logs", "talks", "--tail=1") == "talks app\n"
        await kube.delete("Pod", "default", "talks", grace=0)

    async def test_the_kubelets_port_is_for_the_api_server_alone(self, kube):
        context = ssl.create_default_context(cafile=kube._place.directory / "kube-apiserver" / "root.crt")
        address = f"https://{kube._place.control}:10250/containerLogs/default/talks/app"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as client:
            with pytest.raises(aiohttp.ClientError):
                async with client.get(address) as answer:
                    await answer.read()


class TestEnd:
    async def test_a_second_one_stands_beside_and_leaves_nothing_when_it_is_stopped(self, kube, tmp_path):
        second = part("kube", "apiserver").create(place(tmp_path))
        async with running(second):
            assert second.kubeconfig()["users"] != kube.kubeconfig()["users"]
            await second.create(virtual_service("mine"))
            assert await kube.get("VirtualService", "default", "mine") is None
            assert len(programs(tmp_path)) == 2
            assert second.dead() == ""
            [etcd] = [one for one in programs(tmp_path) if one.name() == "etcd"]
            etcd.send_signal(signal.SIGKILL)
            await come(second.dead)
            assert second.dead().startswith("etcd died of SIGKILL; its last words: ")
            began = time.monotonic()
            await second.stop()
            assert time.monotonic() - began < 5
        assert second.dead() == ""
        assert programs(tmp_path) == []
        assert [path.name for path in tmp_path.iterdir()] == ["logs"]
        assert kube.dead() == ""

    async def test_a_port_that_is_taken_is_named(self, tmp_path):
        here = place(tmp_path)
        with contextlib.closing(socket.socket()) as taken:
            taken.bind((here.control, 2379))
            taken.listen(1)
            with pytest.raises(LabError, match=f"{here.control}:2379 cannot be had"):
                async with running(part("kube", "apiserver").create(here)):
                    pass

    async def test_a_program_that_dies_at_the_start_leaves_its_last_words(self, tmp_path):
        wrong = ApiServer(place(tmp_path), etcd=tools.need("kube-apiserver"), program=Path(), definitions=[])
        with pytest.raises(
            LabError, match=r"^etcd died at its start with status 1; its last words: .*unknown flag: --unsafe-no-fsync"
        ):
            async with running(wrong):
                pass
        wrong = ApiServer(
            place(tmp_path), etcd=tools.need("etcd"), program=tools.need("kubectl"), definitions=tools.definitions()
        )
        with pytest.raises(
            LabError, match=r"^kube-apiserver died with status 1; its last words: .*unknown flag: --etcd-servers"
        ):
            async with running(wrong):
                pass
        assert programs(tmp_path) == []

    async def test_a_definition_that_is_refused_is_named(self, tmp_path):
        wrong = tmp_path / "wrong.yaml"
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "odd.example.com"},
            "spec": {"group": "example.com", "scope": "Anywhere", "names": {"kind": "Odd", "plural": "odd"}},
        }
        wrong.write_text(json.dumps(definition))
        kube = ApiServer(
            place(tmp_path), etcd=tools.need("etcd"), program=tools.need("kube-apiserver"), definitions=[wrong]
        )
        with pytest.raises(LabError, match=r"refuses the resource definition odd\.example\.com: .*Anywhere"):
            async with running(kube):
                pass

    async def test_definitions_that_cannot_be_read_are_named(self, tmp_path):
        (wrong := tmp_path / "wrong.yaml").write_text("a: [")
        kube = ApiServer(
            place(tmp_path), etcd=tools.need("etcd"), program=tools.need("kube-apiserver"), definitions=[wrong]
        )
        with pytest.raises(LabError, match=r"wrong\.yaml cannot be read"):
            async with running(kube):
                pass


class TestObjects:
    async def test_apply_creates_and_then_replaces_what_is_mentioned(self, kube):
        made = await kube.apply(virtual_service("vs", labels={"team": "a"}, annotations={"note": "kept"}))
        again = await kube.apply(virtual_service("vs", host="reviews", labels={"team": "b"}))
        assert again["metadata"]["uid"] == made["metadata"]["uid"]
        assert again["metadata"]["labels"] == {"team": "b"}
        assert again["metadata"]["annotations"] == {"note": "kept"}
        assert again["spec"] == {"hosts": ["reviews"]}
        assert "managedFields" not in again["metadata"]

    async def test_apply_leaves_a_service_its_address(self, kube):
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kept", "namespace": "default"},
            "spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]},
        }
        made = await kube.apply(service)
        again = await kube.apply({**service, "spec": {**service["spec"], "selector": {"app": "b"}}})
        assert again["spec"]["clusterIP"] == made["spec"]["clusterIP"]
        assert again["spec"]["selector"] == {"app": "b"}

    async def test_updates_that_cross_are_both_kept(self, kube):
        made = await kube.create(virtual_service("busy"))
        changed = {**virtual_service("busy", host="ratings"), "metadata": {"name": "busy", "namespace": "default"}}
        await asyncio.gather(
            *(kube.annotate(made, {f"note-{number}": "x"}) for number in range(20)),
            *(kube.update(changed) for _ in range(3)),
        )
        found = await kube.get("VirtualService", "default", "busy")
        assert found["spec"] == {"hosts": ["ratings"]}
        assert len(found["metadata"]["annotations"]) == 20

    async def test_what_is_gone_or_another_by_now_is_none(self, kube):
        made = await kube.create(virtual_service("brief"))
        stale = {**made, "metadata": {**made["metadata"], "uid": "another"}}
        assert await kube.update(stale) is None
        assert await kube.patch_status(stale, {"conditions": []}) is None
        assert await kube.annotate(stale, {"a": "b"}) is None
        await kube.delete("VirtualService", "default", "brief", uid="another")
        assert await kube.get("VirtualService", "default", "brief") is not None
        await kube.delete("VirtualService", "default", "brief", uid=made["metadata"]["uid"])
        assert await kube.get("VirtualService", "default", "brief") is None
        assert await kube.update(made) is None
        assert await kube.patch_status(made, {"conditions": []}) is None
        assert await kube.annotate(made, {"a": "b"}) is None
        await kube.delete("VirtualService", "default", "brief")

    async def test_a_status_is_merged_and_the_spec_left_alone(self, kube):
        made = await kube.create(virtual_service("judged"))
        await kube.patch_status(made, {"conditions": [{"type": "Accepted", "status": "True"}]})
        found = await kube.patch_status({**made, "spec": {"hosts": ["other"]}}, {"observedGeneration": "1"})
        assert found["spec"] == made["spec"]
        assert [condition["type"] for condition in found["status"]["conditions"]] == ["Accepted"]

    async def test_a_gateway_is_istios_unless_it_is_said_otherwise(self, kube):
        gateway = {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "theirs", "namespace": "default"},
            "spec": {"gatewayClassName": "istio", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]},
        }
        await kube.create(gateway)
        assert await kube.get("Gateway", "default", "theirs") is None
        assert await kube.get("Gateway.gateway.networking.k8s.io", "default", "theirs") is not None

    async def test_a_kind_that_is_not_served_is_named(self, kube):
        with pytest.raises(InvalidInput, match="does not serve Unicorn"):
            await kube.get("Unicorn", "default", "one")

    async def test_a_refusal_is_in_the_servers_own_words(self, kube):
        with pytest.raises(Unprocessable, match="Required value") as refused:
            await kube.create({**pod("empty"), "spec": {"containers": []}})
        assert (refused.value.status, refused.value.reason) == (422, "Invalid")

    async def test_an_event_that_comes_again_is_counted(self, kube):
        made = await kube.create(virtual_service("noted"))
        for _ in range(3):
            await kube.record(made, "Refused", "a wrong weight")
        about = [one for one in await kube.list("Event") if one["involvedObject"]["name"] == "noted"]
        assert [(one["reason"], one["message"], one["type"], one["count"]) for one in about] == [
            ("Refused", "a wrong weight", "Warning", 3)
        ]


class TestPods:
    async def test_a_pod_is_bound_once_and_stays(self, kube):
        made = await kube.create(pod("placed"))
        assert "nodeName" not in made["spec"]
        assert (await kube.bind(made, NODE))["spec"]["nodeName"] == NODE
        assert (await kube.bind(made, NODE))["spec"]["nodeName"] == NODE
        with pytest.raises(Conflict, match="already assigned"):
            await kube.bind(made, "elsewhere")
        await kube.delete("Pod", "default", "placed", grace=0)
        assert await kube.bind(made, NODE) is None

    async def test_a_pod_on_a_node_waits_for_its_kubelet(self, kube):
        heard = []
        kube.subscribe(("Pod",), lambda word, obj: heard.append((word, obj)))
        made = await kube.bind(await kube.create(pod("ending")), NODE)
        await kube.delete("Pod", "default", "ending")
        marked = await kube.get("Pod", "default", "ending")
        assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
        await kube.delete("Pod", "default", "ending", grace=0, uid=made["metadata"]["uid"])
        assert await kube.get("Pod", "default", "ending") is None
        await come(lambda: heard and heard[-1][0] == "DELETED" and heard[-1][1]["metadata"]["name"] == "ending")
        mine = [
            (word, "deletionTimestamp" in obj["metadata"]) for word, obj in heard if obj["metadata"]["name"] == "ending"
        ]
        assert mine[0] == ("ADDED", False)
        assert mine.index(("MODIFIED", True)) < len(mine) - 1
        assert mine[-1] == ("DELETED", True)


class TestControllers:
    async def test_a_namespace_gets_an_account_and_ends_with_all_that_is_in_it(self, kube, kubectl):
        await kubectl("create", "namespace", "brief")
        await kube.create({**virtual_service("inside"), "metadata": {"name": "inside", "namespace": "brief"}})
        while await kube.get("ServiceAccount", "brief", "default") is None:
            await asyncio.sleep(0.005)
        await kubectl("delete", "namespace", "brief", "--timeout=20s")
        assert await kube.get("Namespace", "", "brief") is None
        assert await kube.get("VirtualService", "brief", "inside") is None

    @pytest.mark.parametrize(("cascade", "left"), [("background", False), ("foreground", False), ("orphan", True)])
    async def test_what_a_deployment_owned_goes_with_it_unless_it_is_orphaned(self, kube, kubectl, cascade, left):
        labels = {"app": cascade}
        spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, **pod_template()}}
        meta = {"name": cascade, "namespace": "default"}
        owner = await kube.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": cascade, "uid": owner["metadata"]["uid"]}
        owned = {**meta, "ownerReferences": [reference]}
        await kube.create({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": owned, "spec": spec})
        await kubectl("delete", "deployment", cascade, f"--cascade={cascade}", "--timeout=20s")
        assert await kube.get("Deployment", "default", cascade) is None
        if left:
            found = await kube.get("ReplicaSet", "default", cascade)
            assert "ownerReferences" not in found["metadata"]
        while not left and await kube.get("ReplicaSet", "default", cascade) is not None:
            await asyncio.sleep(0.005)


def pod_template() -> dict:
    return {"spec": pod("")["spec"]}


class TestSubscriptions:
    async def test_all_hear_of_what_is_there_and_then_of_changes_in_their_order(self, kube):
        await kube.create(virtual_service("heard"))
        first, second = [], []

        def told(to: list):
            return lambda word, obj: (
                to.append((word, obj["spec"]["hosts"])) if obj["metadata"]["name"] == "heard" else 0
            )

        kube.subscribe(("VirtualService",), told(first))
        await come(lambda: first)
        kube.subscribe(("VirtualService",), told(second))
        assert second == [("ADDED", ["details"])]
        for number in range(5):
            await kube.apply(virtual_service("heard", host=f"host-{number}"))
        await kube.delete("VirtualService", "default", "heard")
        await come(lambda: second[-1][0] == "DELETED")
        changes = [("MODIFIED", [f"host-{number}"]) for number in range(5)]
        assert first == second == [("ADDED", ["details"]), *changes, ("DELETED", ["host-4"])]

    async def test_one_that_cannot_bear_an_event_does_not_keep_it_from_the_others(self, kube, caplog):
        heard = []

        def fails(word, obj):
            raise ValueError("no")

        kube.subscribe(("DestinationRule",), fails)
        kube.subscribe(("DestinationRule",), lambda word, obj: heard.append(word))
        rule = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "spec": {"host": "a"}}
        await kube.create({**rule, "metadata": {"name": "a", "namespace": "default"}})
        await come(lambda: heard)
        assert "a subscriber failed on ADDED of DestinationRule" in caplog.text

    async def test_what_happened_while_nobody_watched_is_told_when_the_watch_is_back(self, kube):
        heard = []
        informer = Informer(kube._client, lambda: kube._resource("Lease"))
        informer.subscribe(lambda word, obj: heard.append((word, obj["metadata"]["name"])))

        def lease(name: str, **metadata) -> dict:
            meta = {"name": name, "namespace": "default", **metadata}
            return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {}}

        for name in ("stays", "goes", "changes", "comes-back"):
            await kube.create(lease(name))
        watching = asyncio.create_task(informer.run())
        await come(lambda: len(heard) >= 4)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        heard.clear()
        await kube.delete("Lease", "default", "goes")
        await kube.delete("Lease", "default", "comes-back")
        await kube.create(lease("comes-back"))
        await kube.apply(lease("changes", labels={"a": "b"}))
        watching = asyncio.create_task(informer.run())
        await come(lambda: len(heard) >= 4)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        mine = [(word, name) for word, name in heard if not name.startswith("apiserver-")]
        assert sorted(mine) == [
            ("ADDED", "comes-back"),
            ("DELETED", "comes-back"),
            ("DELETED", "goes"),
            ("MODIFIED", "changes"),
        ]
        assert mine.index(("DELETED", "comes-back")) < mine.index(("ADDED", "comes-back"))

    async def test_a_version_that_the_server_has_forgotten_makes_it_list_again(self, kube):
        asked = []

        class Late:
            """A client that resumes its first watch from a version of long ago."""

            ask = kube._client.ask

            def events(self, path, query):
                asked.append(query["resourceVersion"])
                return kube._client.events(path, {**query, "resourceVersion": "1"} if len(asked) == 1 else query)

        heard = []
        informer = Informer(Late(), lambda: kube._resource("VirtualService"))
        informer.subscribe(lambda word, obj: heard.append((word, obj["metadata"]["name"])))
        watching = asyncio.create_task(informer.run())
        await come(lambda: len(asked) == 2)
        await kube.create(virtual_service("late"))
        await come(lambda: ("ADDED", "late") in heard)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert len(set(heard)) == len(heard)
