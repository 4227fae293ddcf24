"""A real kube-apiserver's service proxy, by the account that our Roles are bound to."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from rbac_cluster import Cluster
from waiting import until

from chaosmesh_ext.errors import ApiError, Forbidden, NotFound
from chaosmesh_ext.lab import tools
from chaosmesh_ext.model import Marker
from chaosmesh_ext.observe import reach
from chaosmesh_ext.observe.http import request
from chaosmesh_ext.observe.reach import Target
from chaosmesh_ext.settings import shipped

_MISSING = [name for name in ("etcd", "kube-apiserver", "kubectl") if tools.find(name) is None]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"not built: {', '.join(_MISSING)}: chaos mesh lab tools")


def own_address() -> str:
    """An address of this machine that is no loopback one: a real API server proxies to no other."""
    for found in psutil.net_if_addrs().values():
        for one in found:
            if one.family == socket.AF_INET and not one.address.startswith(("127.", "169.254.")):
                return one.address
    pytest.skip("a real API server proxies to no loopback address, and this machine has no other")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def heard():
    """The headers of the requests that arrived; each path's last part is the status."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536

        def log_message(self, *_args: object) -> None: ...

        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(int(self.path.rpartition("/")[2] or 200))
            self.send_header("Content-Type", "application/json")
            self.send_header("Location", "/there")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_GET  # noqa: N815 the name is http.server's

    server = ThreadingHTTPServer((own_address(), 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield seen, server.server_address
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def services(cluster, heard):
    """Two Services with the same pod behind them, one of which our Role names."""
    _, (host, port) = heard
    meta = {"namespace": "istio-system"}
    containers = [{"name": "app", "image": "app:1", "ports": [{"name": "web", "containerPort": port}]}]
    ready = {"podIP": host, "podIPs": [{"ip": host}], "conditions": [{"type": "Ready", "status": "True"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "name": "back", "labels": {"app": "back"}}}
    cluster.apply({**pod, "spec": {"containers": containers}, "status": ready})
    target = {"kind": "Pod", "namespace": "istio-system", "name": "back"}
    for name in ("tracing", "other"):
        spec = {"selector": {"app": "back"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}
        subset = {"addresses": [{"ip": host, "targetRef": target}], "ports": [{"name": "http", "port": port}]}
        cluster.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": {**meta, "name": name}, "spec": spec},
            {"apiVersion": "v1", "kind": "Endpoints", "metadata": {**meta, "name": name}, "subsets": [subset]},
        )
    cluster.kubectl("apply", "-k", str(shipped("manifests") / "rbac" / "reach"))


@pytest.fixture
def runner(cluster, services, monkeypatch):
    """The kubeconfig of the runner's account in the environment."""
    client, file = cluster.account("chaosmesh-runner")
    monkeypatch.setenv("KUBECONFIG", str(file))
    until(lambda: request("k8s://istio-system/tracing:80/200", None)[0].status == 200)
    yield client
    reach.close()


def test_the_roles_let_marked_requests_through_whole(runner, heard):
    marker = Marker("0a1b2c3d", "4")
    headers = {"end-user": "jason", "Cookie": "session=oolong; user=jason", "X-Scope-OrgID": "team-a"}
    answer, _ = request("k8s://istio-system/tracing:80/200", marker, headers=headers)
    sent = heard[0][-1]
    assert answer.status == 200
    assert answer.trace_id in sent["traceparent"]
    assert sent["tracestate"] == marker.headers(answer.trace_id)["tracestate"]
    assert sent["x-client-trace-id"] == marker.headers(answer.trace_id)["x-client-trace-id"]
    assert (sent["end-user"], sent["cookie"], sent["x-scope-orgid"]) == (
        "jason",
        "session=oolong; user=jason",
        "team-a",
    )
    assert "authorization" not in sent
    assert request("k8s://istio-system/tracing:80/201", None, method="POST", body=b"x")[0].status == 201
    assert Target.of("k8s://istio-system/tracing:80").how() == "through the API server's service proxy"


@pytest.mark.parametrize("status", [302, 401, 403, 404, 429, 503])
def test_the_services_status_is_its_own(runner, status):
    answer, response = request(f"k8s://istio-system/tracing:80/{status}", None)
    assert (answer.status, response.body) == (status, b"{}")
    assert response.headers["location"] == "k8s://istio-system/tracing:80/there"


def test_what_is_not_there_is_said_so(cluster, services, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(cluster._folder / "admin"))
    with pytest.raises(NotFound, match='services "nobody" not found'):
        request("k8s://istio-system/nobody:80", None)
    with pytest.raises(NotFound, match="no service port 81 found"):
        request("k8s://istio-system/tracing:81", None)
    reach.close()


def test_a_service_that_the_role_does_not_name_is_refused_and_then_forwarded(runner):
    """This cluster has no kubelet: what counts is that the forward was allowed, and what is said."""
    with pytest.raises(ApiError, match=r"the service proxy is refused: 403 .*pod back does not have a host") as refused:
        request("k8s://istio-system/other:80", None)
    assert not isinstance(refused.value, Forbidden)


def test_an_account_without_the_role_is_told_what_to_ask_for(cluster, services, monkeypatch):
    _, file = cluster.account("chaosmesh-janitor", "chaosmesh-system")
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(Forbidden, match="ask for services/proxy or pods/portforward"):
        request("k8s://istio-system/tracing:80", None)
    reach.close()
