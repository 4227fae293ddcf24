"""Services by nothing but a kubeconfig: through the API's proxy, and by a port-forward where that is refused."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from contextlib import closing
from urllib.parse import parse_qs

import pytest
import yaml
from proxying_api import ProxyingApi, status

from chaosmesh_ext.errors import Forbidden, InvalidInput, NotFound, Unauthorized, Unreachable
from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.model import Marker
from chaosmesh_ext.observe import reach
from chaosmesh_ext.observe.http import request
from chaosmesh_ext.observe.jaeger import Jaeger
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.reach import Target, target
from chaosmesh_ext.settings import Settings

URL = "k8s://istio-system/tracing:80"
NONE = status(403, 'services "tracing" is forbidden: User "me" cannot get resource "services/proxy"', "Forbidden")
MARKER = Marker("0a1b2c3d", "4")


def serving(folder, authority: Authority, name: str = "127.0.0.1", *, clients: bytes = b"") -> ssl.SSLContext:
    pair = authority.server(name)
    (folder / "pair.pem").write_bytes(pair.chain + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.decode())
    return context


@pytest.fixture(params=["http", "https"])
def api(request, told, tmp_path, monkeypatch):
    """The API, in the environment's kubeconfig; behind its Service is `told`."""
    authority = Authority()
    tls = serving(tmp_path, authority) if request.param == "https" else None
    with ProxyingApi(int(told.url.rpartition(":")[2]), tls=tls) as served:
        cluster = {"server": served.url}
        if tls:
            (tmp_path / "ca.pem").write_bytes(authority.root)
            cluster["certificate-authority"] = str(tmp_path / "ca.pem")
        (tmp_path / "token").write_text(served.token)
        config = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"tokenFile": str(tmp_path / "token")}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        yield served
        reach.close()


@pytest.fixture
def forwarded(api):
    """The proxy is refused."""
    api.refusal = NONE
    return api


class TestThroughTheProxy:
    def test_a_store_is_asked_like_one_with_a_plain_url(self, api, told):
        told.says(200, {"data": ["a.default"]})
        jaeger = Jaeger(URL)
        assert jaeger.services() == ["a.default"]
        assert told.asked[0][1] == "/api/services"
        assert jaeger.target.how() == "through the API server's service proxy"

    def test_query_and_path_arrive_as_they_are_sent(self, api, told):
        told.says(200, {"status": "success", "data": {"resultType": "vector", "result": []}})
        Prometheus(URL + "/prefix/").query('up{a="ü /?&+%"}')
        path, _, query = told.asked[0][1].partition("?")
        assert (path, parse_qs(query)) == ("/prefix/api/v1/query", {"query": ['up{a="ü /?&+%"}']})
        told.says(200, {"data": []})
        Jaeger(URL).operations("a/b c")
        assert told.asked[1][1] == "/api/services/a%2Fb%20c/operations"

    def test_a_marked_request_arrives_with_its_marker(self, api, told):
        """What the fault is for is in the headers: one that is lost is a fault that nobody meets."""
        told.says(200, "<h1>Book</h1>", "text/html")
        headers = {"end-user": "jason", "cookie": "session=oolong; user=jason", "X-Scope-OrgID": "team-a"}
        answer, _ = request(f"{URL}/productpage?u=test", MARKER, headers=headers)
        sent = told.asked[0][2]
        assert set(MARKER.headers(answer.trace_id)) <= set(sent)
        assert answer.trace_id in sent["traceparent"]
        assert sent["tracestate"] == MARKER.headers(answer.trace_id)["tracestate"]
        assert (sent["end-user"], sent["cookie"]) == ("jason", "session=oolong; user=jason")
        assert (answer.status, answer.url) == (200, f"{URL}/productpage?u=test")
        assert list(answer.sections) == ["Book"]

    def test_a_body_arrives(self, api, told):
        def echo(handler) -> None:
            body = handler.rfile.read(int(handler.headers["content-length"]))
            handler.send_response(201)
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        told.answer = echo
        answer, response = request(f"{URL}/login", None, method="POST", body=b"user=x")
        assert (answer.status, response.body) == (201, b"user=x")

    @pytest.mark.parametrize("code", [401, 403, 404, 500, 503])
    def test_an_error_of_the_application_is_the_applications(self, api, told, code):
        """The API server's own refusals look alike, and must not be taken for what users get, nor the reverse."""
        told.says(code, {"error": "ours"})
        answer, response = request(f"{URL}/x", None)
        assert (answer.status, json.loads(response.body)) == (code, {"error": "ours"})
        assert api.forwards == []

    def test_an_error_of_the_api_is_no_answer(self, api):
        api.refusal = status(503, 'no endpoints available for service "tracing"', "ServiceUnavailable")
        answer, _ = request(f"{URL}/x", None)
        assert answer.status == 0
        assert answer.error == 'the Kubernetes API says: no endpoints available for service "tracing"'
        with pytest.raises(Unreachable, match=f"{URL} cannot be reached .*no endpoints"):
            Jaeger(URL).services()

    def test_nobody_behind_the_service_is_no_answer(self, api, free_host):
        api.backend = 1
        answer, _ = request(f"{URL}/x", None)
        assert answer.status == 0
        assert "error trying to reach service" in answer.error

    def test_a_redirect_stays_at_the_service(self, api, told):
        def answer(handler) -> None:
            handler.send_response(302 if handler.path == "/a" else 200)
            handler.send_header("location", "/b")
            handler.send_header("content-length", "0")
            handler.end_headers()

        told.answer = answer
        assert request(f"{URL}/a", None)[1].headers["location"] == f"{URL}/b"
        assert request(f"{URL}/a", None, follow_redirects=True)[0].status == 200
        assert [path for _, path, _ in told.asked] == ["/a", "/a", "/b"]

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("k8s://istio-system/nobody:80", 'services "nobody:80" not found'),
            ("k8s://elsewhere/tracing:80", "not found"),
            ("k8s://istio-system/tracing:81", "no service port 81 found"),
        ],
    )
    def test_a_service_or_port_that_is_not_there_is_said_in_one_line(self, api, url, words):
        for ask in (lambda: Jaeger(url).services(), lambda: request(url, None)):
            with pytest.raises(NotFound, match=words) as refused:
                ask()
            assert refused.value.exit_code == 2
            assert "\n" not in str(refused.value)
        assert api.forwards == []

    def test_credentials_that_grew_old_are_read_again(self, api, told, tmp_path):
        told.says(200, {"data": []})
        jaeger = Jaeger(URL)
        jaeger.services()
        api.token = "api-s3cret-2"
        with pytest.raises(Unauthorized, match="missing, wrong or expired") as refused:
            jaeger.services()
        assert "s3cret" not in str(refused.value)
        (tmp_path / "token").write_text(api.token)
        assert jaeger.services() == []

    def test_many_at_once(self, api, told):
        told.says(200, "x", "text/plain")
        seen = []
        threads = [threading.Thread(target=lambda: seen.append(request(URL, MARKER)[0].status)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [200] * 20


class TestByAPortForward:
    @pytest.mark.parametrize("code", [403, 404, 405])
    def test_where_the_proxy_is_refused(self, api, told, code):
        api.refusal = status(code, "the proxy is not for you", "Forbidden")
        told.says(200, {"data": ["a.default"]})
        jaeger = Jaeger(URL)
        assert jaeger.services() == ["a.default"]
        how = "through a port-forward to the pod tracing-1 (the service proxy is refused: "
        assert jaeger.target.how() == f"{how}{code} the proxy is not for you)"
        assert told.asked[0][2]["host"] == "tracing.istio-system"

    def test_where_the_api_server_knows_no_endpoints_of_it(self, api, told):
        """It says then that the Service itself is not found."""
        api.refusal = status(404, 'services "tracing" not found', "NotFound", "services")
        told.says(200, {"data": ["a.default"]})
        jaeger = Jaeger(URL)
        assert jaeger.services() == ["a.default"]
        assert jaeger.target.how().endswith("refused: 404 the API server knows no Endpoints of it)")

    def test_a_long_body_and_many_connections(self, forwarded, told):
        told.says(200, "x" * 1_000_000, "text/plain")
        seen = []
        threads = [threading.Thread(target=lambda: seen.append(request(URL, MARKER)[0].size)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [1_000_000] * 4

    @pytest.mark.parametrize("name", ["Authorization", "Impersonate-User", "Host"])
    def test_a_request_whose_header_the_proxy_would_keep(self, api, told, name):
        """Kubernetes' proxy strips Authorization; a fault for that header's bearer would not be met."""
        told.says(200, "x", "text/plain")
        assert request(URL, MARKER, headers={name: "mine"})[0].status == 200
        assert told.asked[0][2][name.lower()] == "mine"
        assert api.asked == []
        assert f"would keep the header {name} for itself" in Target.of(URL).how()
        assert request(URL, MARKER)[0].status == 200
        assert len(api.asked) == 1

    def test_a_stores_own_token_reaches_it(self, api, told):
        told.says(200, {"data": []})
        store = Jaeger(
            target(Settings(jaeger_url=URL, jaeger_token="t0ken", jaeger_headers="X-Scope-OrgID=a"), "jaeger")
        )
        store.services()
        assert told.asked[0][2]["authorization"] == "Bearer t0ken"
        assert told.asked[0][2]["x-scope-orgid"] == "a"

    def test_another_pod_is_taken_where_the_first_is_gone(self, forwarded, told):

        def last(handler) -> None:
            handler.send_response(200)
            handler.send_header("connection", "close")
            handler.end_headers()

        told.answer = last
        assert request(URL, None)[0].status == 200
        forwarded.gone, forwarded.pods = {"tracing-1"}, ["tracing-2"]
        assert request(URL, None)[0].status == 200
        assert forwarded.forwards[-1] == "tracing-2"
        assert "to the pod tracing-2" in Target.of(URL).how()

    def test_what_the_pod_says_is_told(self, forwarded):
        forwarded.words = "connection refused: nobody listens"
        answer, _ = request(URL, None)
        assert answer.status == 0
        assert answer.error == f"the port-forward to tracing-1 says: {forwarded.words}"

    def test_neither_way_is_one_line_that_says_what_to_ask_for(self, forwarded):
        forwarded.no_forward = status(403, 'User "me" cannot create resource "pods/portforward"', "Forbidden")
        with pytest.raises(Forbidden) as refused:
            Jaeger(URL).services()
        text = str(refused.value)
        assert "services/proxy" in text
        assert "pods/portforward" in text
        assert "manifests/rbac/reach" in text
        assert "\n" not in text
        assert forwarded.token not in text

    def test_no_ready_pod(self, forwarded):
        forwarded.pods = []
        with pytest.raises(Unreachable, match=r"no pod of .* is ready"):
            request(URL, None)

    def test_a_service_that_selects_nothing(self, forwarded):
        forwarded.selector = {}
        with pytest.raises(InvalidInput, match="selects no pods"):
            request(URL, None)

    def test_what_listens_here_ends_with_the_process(self, forwarded, told):
        """Nothing may be left that leads into somebody's cluster."""
        told.says(200, {"data": []})
        code = (
            "import os, socket\n"
            "from chaosmesh_ext.observe.jaeger import Jaeger\n"
            f"jaeger = Jaeger({URL!r}); jaeger.services()\n"
            "from chaosmesh_ext.observe import reach\n"
            "[service] = reach._SERVICES.values()\n"
            "[(forward, _)] = service._forwards.values()\n"
            "socket.create_connection(('127.0.0.1', forward.port)).close()\n"
            "print(forward.port, flush=True)\n"
            "os.kill(os.getpid(), 9)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == -9, done.stderr
        import socket

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(done.stdout)))


class TestServicesThatSpeakTls:
    URL = "k8s://istio-system/https:tracing:80"

    @pytest.fixture
    def secured(self, told, api, tmp_path):
        """The Service speaks TLS, by the name it has in the cluster, to who shows our certificate."""
        self.authority, self.people = Authority(), Authority()
        context = serving(tmp_path, self.authority, "tracing.istio-system.svc", clients=self.people.root)
        told.server.socket = context.wrap_socket(told.server.socket, server_side=True)
        told.says(200, {"data": ["a"]})
        return api

    def test_are_reached_by_a_port_forward_and_checked(self, secured):
        pair = self.people.server("me")
        mine = {"jaeger_client_cert": pair.chain.decode(), "jaeger_client_key": pair.key.decode()}
        settings = Settings(jaeger_url=self.URL, jaeger_ca=self.authority.root.decode(), **mine)
        store = Jaeger(target(settings, "jaeger"))
        assert store.services() == ["a"]
        assert "the service proxy would take any certificate" in store.target.how()
        with pytest.raises(Unreachable, match="certificate verify failed"):
            Jaeger(target(Settings(jaeger_url=self.URL, **mine), "jaeger")).services()

    @pytest.mark.parametrize("api", ["http"], indirect=True)
    def test_go_through_the_proxy_where_nobody_is_to_be_checked(self, told, api, tmp_path):
        context = serving(tmp_path, Authority(), "tracing.istio-system.svc")
        told.server.socket = context.wrap_socket(told.server.socket, server_side=True)
        told.says(200, {"data": ["a"]})
        store = Jaeger(target(Settings(jaeger_url=self.URL, jaeger_insecure=True), "jaeger"))
        assert store.services() == ["a"]
        assert store.target.how() == "through the API server's service proxy"


def test_the_api_of_these_tests_forwards_ports_as_kubernetes_own_client_expects(told):
    """Else it would only be held against ourselves: the `kubernetes` package speaks to real clusters."""
    from kubernetes import client
    from kubernetes.stream import portforward

    told.says(200, {"data": []})
    port = int(told.url.rpartition(":")[2])
    with ProxyingApi(port) as served:
        made = client.Configuration(host=served.url, api_key={"authorization": f"Bearer {served.token}"})
        with client.ApiClient(made) as api:
            core = client.CoreV1Api(api)
            forward = portforward(
                core.connect_get_namespaced_pod_portforward, "tracing-1", "istio-system", ports=str(port)
            )
            with closing(forward.socket(port)) as near:
                near.settimeout(10)
                near.sendall(b"GET /api/services HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = b""
                while data := near.recv(65536):
                    answer += data
            assert forward.error(port) is None
            if forward.websocket.sock is not None:  # the package leaves it open
                forward.websocket.sock.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"data": []}')
