"""What is refused before the first write, on a real API: each refusal says what to do next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml
from allowed import as_lab, caller, namespace
from api_server import ApiServer

from chaosmesh_ext import errors
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import Client, Place, connect
from chaosmesh_ext.mesh import place as resolve
from chaosmesh_ext.mesh.lease import time_text
from chaosmesh_ext.mesh.surroundings import Surroundings, under_way
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import guard
from chaosmesh_ext.run.planning import plans_for
from chaosmesh_ext.settings import Settings

PAGE = {"app": "productpage", "version": "v1"}
SCOPE = Scope("details", source="productpage-v1")
EVERYBODY = Scope("details")


class Cluster:
    """A Kubernetes API, and what writes into it."""

    def __init__(self) -> None:
        self.server = ApiServer()

    def put(self, *objs: dict[str, Any]) -> None:
        for obj in objs:
            self.server.apply(obj)
            if obj.get("status"):
                self.server.call(self.server.kube.patch_status(obj, obj["status"]))

    def remove(self, kind: str, name: str, namespace: str = "default") -> None:
        self.server.call(self.server.kube.delete(kind, namespace, name, grace=0))

    def place(self, scope: Scope) -> Place:
        return resolve(connect(), scope, run="0badcafe", cell="1")

    def allow(self, scope: Scope = SCOPE, fault: Abort | None = None, **rest: Any) -> None:
        settings = rest.pop("settings", Settings())
        guard.allow(connect(), self.place(scope), fault or Abort(507), settings=settings, **rest)

    def refuses(self, words: str, scope: Scope = SCOPE, fault: Abort | None = None, **rest: Any) -> None:
        with pytest.raises(errors.InvalidInput, match=words) as raised:
            self.allow(scope, fault, **rest)
        assert "\n" not in str(raised.value)


def istiod(*, ready: int = 1, env: dict[str, str] | None = None, **labels: str) -> dict[str, Any]:
    environment = [{"name": name, "value": value} for name, value in (env or {}).items()]
    container = {"name": "discovery", "image": "docker.io/istio/pilot:1.27.1-distroless", "env": environment}
    marks = {"app": "istiod", "istio.io/rev": "default", **labels}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "istiod", "namespace": "istio-system", "labels": marks},
        "spec": {
            "selector": {"matchLabels": {"app": "istiod"}},
            "template": {"metadata": {"labels": {"app": "istiod"}}, "spec": {"containers": [container]}},
        },
        "status": {"readyReplicas": ready},
    }


def janitor(renewed: float = 0.0) -> dict[str, Any]:
    spec = {"holderIdentity": "pod-1", "leaseDurationSeconds": 15, "renewTime": time_text(time.time() + renewed)}
    meta = {"name": "chaosmesh-janitor", "namespace": "chaosmesh-system"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def service(name: str, space: str = "default", **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": space, **meta},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 9080}]},
    }


def deployment() -> dict[str, Any]:
    template = {"metadata": {"labels": PAGE}, "spec": {"containers": [{"name": "app", "image": "app"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "productpage-v1", "namespace": "default"},
        "spec": {"selector": {"matchLabels": PAGE}, "template": template},
    }


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Iterator[Cluster]:
    """A cluster with Istio in sidecar mode, where productpage-v1 calls details in default, which allows faults."""
    there = Cluster()
    there.put(
        namespace(),
        namespace("chaosmesh-system"),
        janitor(),
        istiod(),
        service("details"),
        service("reviews"),
        deployment(),
        caller("page-1", PAGE),
    )
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(there.server.kube.kubeconfig()))
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setenv("KUBERNETES_CONTEXT", "")
    yield there
    there.server.stop()


def test_an_ordinary_mesh_that_allows_faults_is_let_in(cluster):
    cluster.allow()
    cluster.allow(EVERYBODY)
    cluster.allow(SCOPE, carrier="virtualservice")


def test_a_namespace_must_allow_faults_unless_the_setting_says_otherwise(cluster):
    cluster.put({**namespace(), "metadata": {"name": "default", "labels": {"chaosmesh-ext/allow": "no"}}})
    cluster.refuses("kubectl label namespace default chaosmesh-ext/allow=true")
    cluster.allow(settings=Settings(any_namespace=True))


def test_the_namespace_of_the_destination_must_allow_faults_too(cluster):
    """Its owner's VirtualService may be the one that is written into."""
    cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}, service("ratings", "shop"))
    scope = Scope("ratings.shop", source="productpage-v1")
    cluster.refuses("the namespace shop does not allow faults", scope)
    cluster.put(namespace("shop"))
    cluster.allow(scope)


@pytest.mark.parametrize("space", ["istio-system", "shop"])
def test_an_owners_object_elsewhere_is_written_only_where_that_is_allowed(cluster, space):
    """A platform team's VirtualService may own the host from a namespace of its own."""
    if space == "shop":
        cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
    cluster.put(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "details", "namespace": space},
            "spec": {
                "hosts": ["details.default.svc.cluster.local"],
                "http": [{"route": [{"destination": {"host": "details.default.svc.cluster.local"}}]}],
            },
        }
    )
    client, place = connect(), cluster.place(SCOPE)
    around = Surroundings(client)
    plans = plans_for(client, Abort(507), place, "virtualservice", [])
    with pytest.raises(errors.InvalidInput, match=f"VirtualService {space}/details would be written: "):
        guard.allowed(plans, place, around, Settings())
    plans = plans_for(client, Abort(507), place, "auto", [])
    kept = guard.allowed(plans, place, around, Settings())
    assert [(name, isinstance(plan, errors.InvalidInput)) for name, plan in kept] == [
        ("envoyfilter", False),
        ("virtualservice", True),
    ]


def test_an_abort_in_grpcs_words_is_for_those_who_speak_it(cluster):
    """Envoy answers plain HTTP 200 then: a fault that is injected and means nothing to anybody."""
    grpc = Abort(grpc_status="UNAVAILABLE")
    cluster.refuses("port 9080 of details is declared to speak http, not gRPC", fault=grpc)
    for word in ("grpc", "http2", "anything"):
        cluster.put({**service("details"), "spec": {"ports": [{"name": word, "port": 9080}]}})
        cluster.allow(fault=grpc)


@pytest.mark.parametrize("system", ["chaosmesh-system", "kube-node-lease"])
def test_nothing_is_injected_into_a_system_namespace(cluster, system):
    cluster.put(namespace(system), service("halt", system))
    with pytest.raises(errors.InvalidInput, match=f"{system} is a system namespace"):
        cluster.allow(Scope(f"halt.{system}", source="productpage-v1"), settings=Settings(any_namespace=True))


def test_a_run_faults_no_more_hosts_at_once_than_are_allowed(cluster):
    live = [cluster.place(Scope("reviews", source="productpage-v1"))]
    one = Settings(max_hosts=1)
    cluster.refuses("would be host 2 .* and 1 are allowed: .*CHAOSMESH_MAX_HOSTS", live=live, settings=one)
    cluster.allow(live=live, settings=Settings(max_hosts=2))
    cluster.allow(live=[cluster.place(SCOPE)], settings=one)


def test_a_fault_hits_no_more_of_everybodys_requests_than_are_allowed(cluster):
    some = Settings(max_percentage=30)
    cluster.refuses(
        "50 % of everybody's requests .* allowed 30 %",
        msgspec.structs.replace(SCOPE, requests="all"),
        Abort(507, percentage=50),
        settings=some,
    )
    cluster.allow(msgspec.structs.replace(SCOPE, requests="all"), Abort(507, percentage=30), settings=some)
    cluster.allow(SCOPE, Abort(507), settings=some)


def context(tmp_path, monkeypatch, kubeconfig: dict[str, Any], name: str) -> None:
    one = kubeconfig["contexts"][0]
    file = tmp_path / "named"
    file.write_text(yaml.safe_dump({**kubeconfig, "contexts": [{**one, "name": name}], "current-context": name}))
    monkeypatch.setenv("KUBECONFIG", str(file))


def test_a_guarded_context_must_be_meant(cluster, tmp_path, monkeypatch):
    """The wrong kubeconfig is the usual way to break production."""
    context(tmp_path, monkeypatch, cluster.server.kube.kubeconfig(), "eu-PROD-1")
    cluster.refuses("the context eu-PROD-1 is guarded .*say --yes or set CHAOSMESH_YES")
    cluster.allow(settings=Settings(yes=True))
    cluster.allow(settings=Settings(guarded_contexts="^live$"))
    cluster.allow(settings=Settings(guarded_contexts=""))
    cluster.refuses("no regular expression", settings=Settings(guarded_contexts="("))


def test_where_no_istiod_runs_the_write_would_be_read_by_nobody(cluster):
    """A remote cluster's istiod reads another cluster's objects."""
    cluster.remove("Deployment", "istiod", "istio-system")
    cluster.refuses("no istiod runs in this cluster .*CHAOSMESH_CONFIG_CLUSTER")
    cluster.allow(settings=Settings(config_cluster=True))
    cluster.put(*as_lab())
    cluster.allow()


def test_an_istiod_that_is_not_ready_tells_no_sidecar(cluster):
    cluster.put(istiod(ready=0))
    cluster.refuses("an istiod has no ready pod")


def test_in_a_mesh_of_several_clusters_the_callers_must_be_named(cluster):
    """Those in another cluster hear of nothing that is written here."""
    cluster.put(istiod(env={"CLUSTER_ID": "east"}))
    cluster.refuses("serves the cluster east of a mesh of several", EVERYBODY)
    cluster.allow()
    cluster.put(istiod(env={"CLUSTER_ID": "Kubernetes"}))
    cluster.allow(EVERYBODY)


def test_a_managed_control_plane_reads_no_envoyfilters(cluster):
    cluster.put(namespace(istio_io__rev="asm-managed-rapid"))
    cluster.refuses("managed control plane .asm-managed-rapid.*use carrier: virtualservice")
    cluster.allow(carrier="virtualservice")


def test_a_source_without_pods_calls_nobody(cluster):
    cluster.remove("Pod", "page-1")
    cluster.refuses("no pod of productpage-v1 in default runs")
    cluster.refuses("no pod of the namespace default runs", EVERYBODY)


def test_every_sidecar_of_the_source_must_be_ready(cluster):
    """One that is not connected hears of the fault late, or of its end."""
    cluster.put(caller("page-2", PAGE, ready=False))
    cluster.refuses("the sidecars of page-2 of productpage-v1 in default are not ready")
    cluster.allow(EVERYBODY)
    cluster.put(caller("page-2", PAGE, ready=True))
    cluster.allow()


def test_a_native_sidecar_is_a_sidecar(cluster):
    cluster.remove("Pod", "page-1")
    cluster.put(caller("page-1", PAGE, native=True))
    cluster.allow()


def test_a_pod_that_is_done_is_no_caller(cluster):
    done = caller("page-job", PAGE, sidecar=False)
    cluster.put({**done, "status": {"phase": "Succeeded"}})
    cluster.allow()


def test_callers_without_sidecars_are_told_how_to_get_them(cluster):
    cluster.put(caller("page-2", PAGE, sidecar=False))
    cluster.refuses("page-2 of productpage-v1 in default have no sidecar .*istio-injection=enabled.*rollout restart")


def test_without_a_live_janitor_it_must_be_meant(cluster):
    """Where the runner's whole machine dies, nobody else undoes."""
    cluster.put(janitor(renewed=-30))
    cluster.refuses("no janitor looks after this cluster: pod-1 has not renewed .*--without-janitor")
    cluster.remove("Lease", "chaosmesh-janitor", "chaosmesh-system")
    cluster.refuses("no janitor looks after this cluster: there is none")
    cluster.allow(settings=Settings(without_janitor=True))
    cluster.put(*as_lab())
    cluster.allow()


def waypoint() -> list[dict[str, Any]]:
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "waypoint", "namespace": "default"},
        "spec": {
            "gatewayClassName": "istio-waypoint",
            "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
        },
    }
    return [gateway, service("details", labels={"istio.io/use-waypoint": "waypoint"})]


def test_ambient_callers_need_a_waypoint_and_then_only_it_sees_their_requests(cluster):
    cluster.remove("Pod", "page-1")
    cluster.put(namespace(istio_io__dataplane_mode="ambient"))
    cluster.put(
        {
            **namespace(),
            "metadata": {
                "name": "default",
                "labels": {"chaosmesh-ext/allow": "true", "istio.io/dataplane-mode": "ambient"},
            },
        }
    )
    cluster.put(caller("page-1", PAGE, sidecar=False))
    cluster.refuses("is in ambient mode and details has no waypoint.*istioctl waypoint apply -n default")
    gateway, labelled = waypoint()
    cluster.put(labelled)
    cluster.refuses("has no waypoint")
    cluster.put(gateway)
    cluster.refuses("the waypoint default/waypoint tells no callers apart")
    cluster.refuses("use carrier: virtualservice without source", SCOPE, carrier="virtualservice")
    cluster.allow(EVERYBODY, carrier="virtualservice")
    cluster.allow(EVERYBODY, carrier="httproute")


def test_a_pod_that_ztunnel_serves_is_ambient_whatever_its_namespace_says(cluster):
    cluster.put(caller("page-2", PAGE, sidecar=False, annotations={"ambient.istio.io/redirection": "enabled"}))
    cluster.refuses("is in ambient mode")


def release(kind: str, phase: str, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "shop"}, "spec": spec, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (
            release("Rollout", "Progressing", strategy={"canary": {"stableService": "details"}}),
            "Rollout shop .*progressing",
        ),
        (release("Rollout", "Paused", strategy={"blueGreen": {"activeService": "details"}}), "Rollout shop .*paused"),
        (release("Rollout", "Progressing", template={"metadata": {"labels": {**PAGE, "more": "x"}}}), "Rollout shop"),
        (release("Rollout", "Healthy", strategy={"canary": {"stableService": "details"}}), ""),
        (release("Rollout", "Progressing", strategy={"canary": {"stableService": "other"}}), ""),
        (release("Canary", "Progressing", targetRef={"name": "details"}), "Canary shop of Flagger is progressing"),
        (release("Canary", "Promoting", service={"name": "details"}), "Canary shop"),
        (release("Canary", "Succeeded", targetRef={"name": "details"}), ""),
        (release("Canary", "Progressing", targetRef={"name": "other"}), ""),
    ],
)
def test_a_release_under_way_would_take_the_fault_for_the_new_versions(obj, words):
    import re

    found = under_way(obj, {"details", "productpage-v1"}, PAGE)
    assert re.search(words, found) if words else found == ""


def test_what_does_not_change_is_asked_once_a_run(cluster, monkeypatch):
    asked: list[str] = []
    call = Client._call

    def counted(self: Client, method: str, where: str, *rest: Any, **more: Any) -> Any:
        asked.append(f"{method} {where}")
        return call(self, method, where, *rest, **more)

    place = cluster.place(SCOPE)
    client = connect()
    monkeypatch.setattr(Client, "_call", counted)
    around = Surroundings(client)
    for _ in range(2):
        guard.allow(client, place, Abort(507), settings=Settings(), surroundings=around)
    assert all(line.startswith("GET ") for line in asked)
    once = [line for line in asked if "kube-system" in line or "deployments" in line]
    assert len(once) == len(set(once)) == 2
    assert len(asked) <= 14
