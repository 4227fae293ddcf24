"""Kubernetes API: requests that are handed on to what is behind a Service, or to a Pod."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from kube_client import Answer, KubeClient
from kube_samples import path

LOOPBACK = "a real API server neither takes loopback addresses in Endpoints nor proxies to them; a lab has no others"

NOBODY = "nobody in a lab writes Endpoints, so the embedded API looks for the Pods that a Service selects"


class _Backend(BaseHTTPRequestHandler):
    """Tells what reached it; /status/N answers N, the header X-To redirects, /page is HTML."""

    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = {"method": self.command, "path": self.path, "body": body.decode()}
        sent = json.dumps({**found, "headers": {name.lower(): text for name, text in self.headers.items()}}).encode()
        kind, status, more = "application/x-told", 200, {}
        if self.path.startswith("/status/"):
            status = int(self.path.rpartition("/")[2])
        if target := self.headers.get("X-To"):
            target = target.replace("SELF", "http://{}:{}".format(*self.server.server_address))
            status, more = 302, {"Location": target}
        if self.path.startswith("/page"):
            kind, sent = "text/html", b'<html><head></head><body><a href="/next">next</a></body></html>'
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("X-Own", "yes")
        for name, text in more.items():
            self.send_header(name, text)
        if status != 204:
            self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(sent)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def _serving(host: str) -> Iterator[tuple[str, int]]:
    server = ThreadingHTTPServer((host, 0), _Backend)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield host, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _own_address() -> str:
    """An address of this machine that is no loopback one."""
    for found in psutil.net_if_addrs().values():
        for one in found:
            if one.family == socket.AF_INET and not one.address.startswith(("127.", "169.254.")):
                return one.address
    pytest.skip("a real API server proxies to no loopback address, and this machine has no other")


@pytest.fixture(scope="module")
def backend() -> Iterator[tuple[str, int]]:
    with _serving(_own_address()) as found:
        yield found


@pytest.fixture
def pod(api: KubeClient, ns: str) -> Callable[..., Answer]:
    """Create a Pod with an address, ready."""

    def made(address: str, port: int, name: str = "back", **labels: str) -> Answer:
        containers = [{"name": "app", "image": "app:1", "ports": [{"name": "web", "containerPort": port}]}]
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": containers},
        }
        assert api.post(path("Pod", ns), body).code == 201
        status = {"podIP": address, "podIPs": [{"ip": address}], "conditions": [{"type": "Ready", "status": "True"}]}
        answer = api.patch(path("Pod", ns, name, "status"), {"status": status if address else {"conditions": []}})
        assert answer.code == 200, str(answer)
        api.hidden[f"{address}:{port}"] = "BACKEND"
        return answer

    return made


@pytest.fixture
def service(api: KubeClient, ns: str, pod: Callable[..., Answer]) -> Callable[..., Answer]:
    """Create a Service with ports http (80) and other (81), and Endpoints for its port http; what those answer."""

    def made(address: str, port: int, *, target: bool = True, named: str = "http") -> Answer:
        ports = [{"name": named, "port": 80}, {"name": "other", "port": 81}] if named else [{"port": 80}]
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"}, "spec": {"ports": ports}}
        assert api.post(path("Service", ns), body).code == 201
        if target:
            pod(address, port)
        reference = {"targetRef": {"kind": "Pod", "namespace": ns, "name": "back"}} if target else {}
        behind = {"port": port, **({"name": named} if named else {})}
        subsets = [{"addresses": [{"ip": address, **reference}], "ports": [behind]}]
        endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "front"}, "subsets": subsets}
        return api.post(path("Endpoints", ns), endpoints)

    return made


@pytest.fixture
def front(service: Callable[..., Answer], backend: tuple[str, int], ns: str) -> str:
    """The proxy of a Service with a Pod behind it."""
    answer = service(*backend)
    assert answer.code == 201, str(answer)
    return f"/api/v1/namespaces/{ns}/services/front:http/proxy"


def told(answer: Answer) -> dict:
    assert answer.headers["content-type"] == "application/x-told", str(answer)
    assert answer.headers["x-own"] == "yes"
    return answer.json


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_request_is_handed_on(api, seen, front, method):
    """{method} through a Service's proxy"""
    body = b"some words" if method in ("POST", "PUT", "PATCH") else None
    found = told(api.ask(method, f"{front}/a/b%20c/", body, content_type="text/plain", q="1 2", r="/"))
    assert (found["method"], found["body"]) == (method, (body or b"").decode())
    seen(f"{found['method']} {found['path']} {found['body']!r}")


def test_a_head(api, seen, front):
    """HEAD through a Service's proxy"""
    answer = api.ask("HEAD", f"{front}/a")
    assert answer.raw == b""
    seen(f"{answer.code} {answer.headers['content-type']}")


def test_which_headers_arrive(api, seen, front):
    """Headers of a request through a Service's proxy"""
    more = {"traceparent": "00-1", "Cookie": "a=b", "X-Scope-OrgID": "me", "X-Forwarded-For": "10.1.1.1"}
    headers = told(api.get(f"{front}/a", more=more))["headers"]
    assert "authorization" not in headers
    assert headers["host"] == api.kubeconfig["clusters"][0]["cluster"]["server"].partition("//")[2]
    assert headers["x-forwarded-for"].startswith("10.1.1.1, 127.")
    kept = {name: text for name, text in headers.items() if name not in ("host", "user-agent", "x-forwarded-for")}
    seen(api.steady(f"the API server's host; {sorted(kept.items())}; x-forwarded-for, the client added"))


@pytest.mark.parametrize("status", [204, 404, 418, 500, 503])
def test_the_status_is_the_backends(api, seen, front, status):
    """A backend's {status} through a Service's proxy"""
    answer = api.get(f"{front}/status/{status}")
    assert answer.code == status
    assert answer.headers["x-own"] == "yes"
    seen(f"{answer.code}, with its own body and headers")


@pytest.mark.parametrize("query", ["", "?q=1"])
def test_without_a_path(api, seen, front, query):
    """GET of a Service's proxy{query}"""
    answer = api.get(front + query)
    seen(api.steady(f"{answer.code} {answer.headers['location']}"))


def test_post_without_a_path(api, seen, front):
    """POST to a Service's proxy"""
    seen(told(api.post(front, {}))["path"])


@pytest.mark.parametrize("target", ["/x?y=1", "SELF/x/", "http://elsewhere.example/x", "x"])
def test_redirects(api, seen, front, target):
    """A backend's redirect to {target} through a Service's proxy"""
    answer = api.get(f"{front}/a", more={"X-To": target})
    assert answer.code == 302
    seen(api.steady(answer.headers["location"]))


@pytest.mark.differs("the embedded API hands pages on as they are; a real API server rewrites the links in them")
def test_pages(api, seen, front, side):
    """Links of a page through a Service's proxy"""
    text = api.get(f"{front}/page").raw.decode()
    assert ('href="/next"' in text) == (side == "embedded")
    seen(api.steady(text))


@pytest.mark.parametrize("port", [":http", ":80", "", ":81", ":other", ":82", ":none"])
def test_ports(api, seen, ns, front, port):
    """GET of the proxy of a Service front{port} with endpoints for its port http (80) and none for other (81)"""
    seen(str(api.get(f"/api/v1/namespaces/{ns}/services/front{port}/proxy/status/200"))[:150].partition("{")[0])


@pytest.mark.parametrize("port", ["", ":80", ":http"])
def test_a_port_without_a_name(api, seen, ns, service, backend, port):
    """GET of the proxy of a Service front{port} whose port 80 has no name"""
    assert service(*backend, named="").code == 201
    seen(str(api.get(f"/api/v1/namespaces/{ns}/services/front{port}/proxy/status/200"))[:150].partition("{")[0])


@pytest.mark.parametrize("asked", ["http:front:http", "ftp:front:http", "a:b:c:d", ":http", "nobody:80", "nobody"])
def test_forms(api, seen, ns, front, asked):
    """GET of the proxy of {asked}"""
    seen(str(api.get(f"/api/v1/namespaces/{ns}/services/{asked}/proxy/status/200"))[:150].partition("{")[0])


def _both(api, ns):
    return "; ".join(str(api.get(f"/api/v1/namespaces/{ns}/services/one{port}/proxy/")) for port in ("", ":80"))


def test_without_endpoints(api, seen, ns):
    """GET of the proxy of a Service without Endpoints, and then with empty ones"""
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}}
    assert api.post(path("Service", ns), body).code == 201
    seen(_both(api, ns))
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "one"}, "subsets": []}
    assert api.post(path("Endpoints", ns), endpoints).code == 201
    seen(_both(api, ns))


@pytest.mark.differs(NOBODY)
def test_a_selector_that_finds_nothing(api, seen, ns, side, make):
    """GET of the proxy of a Service that selects nothing"""
    make("Service")
    found = _both(api, ns)
    assert found.startswith("503" if side == "embedded" else "404")
    seen(found)


@pytest.mark.parametrize("odd", ["//x", "/a//b/", "/a/%2e%2e/b", "/a%2Fb", "/a;b=c:d@e,f", "/a+b%2Bc", "/%C3%A9/%25"])
def test_paths(api, seen, front, odd):
    """GET of {odd} through a Service's proxy"""
    seen(told(api.get(front + odd))["path"])


def test_nothing_listens(api, seen, ns, service):
    """GET of the proxy of a Service where nothing listens"""
    with socket.socket() as unused:
        unused.bind((_own_address(), 0))
        host, port = unused.getsockname()
        assert service(host, port).code == 201
        seen(str(api.get(f"/api/v1/namespaces/{ns}/services/front:80/proxy/")))


@pytest.mark.differs(NOBODY)
def test_selected_pods(api, seen, ns, side, backend, pod):
    """GET of the proxy of a Service that selects a ready Pod, without Endpoints"""
    pod(*backend, app="a")
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front"},
        "spec": {"selector": {"app": "a"}, "ports": ports},
    }
    assert api.post(path("Service", ns), body).code == 201
    answer = api.get(f"/api/v1/namespaces/{ns}/services/front:80/proxy/status/200")
    assert answer.code == (200 if side == "embedded" else 404)
    seen(str(answer).partition("{")[0])


@pytest.mark.differs("a lab's Prometheus and trace store are no Pods; a real API server proxies to Pods only")
def test_what_is_no_pod(api, seen, ns, side, service, backend):
    """GET of the proxy of a Service whose Endpoints name no Pod"""
    assert service(*backend, target=False).code == 201
    answer = api.get(f"/api/v1/namespaces/{ns}/services/front:80/proxy/status/200")
    assert answer.code == (200 if side == "embedded" else 503)
    api.hidden["{}:{}".format(*backend)] = "BACKEND"
    seen(str(answer).partition("{")[0])


@pytest.mark.differs(LOOPBACK)
def test_loopback(api, seen, ns, side, service):
    """GET of the proxy of a Service whose Endpoints are on 127/8"""
    with _serving("127.0.0.1") as where:
        written = service(*where)
        answer = api.get(f"/api/v1/namespaces/{ns}/services/front:80/proxy/status/200")
    assert written.code == (201 if side == "embedded" else 422)
    assert answer.code == (200 if side == "embedded" else 404)
    seen(f"{written}; {str(answer).partition('{')[0]}")


@pytest.mark.parametrize("port", ["", ":PORT"])
def test_pods(api, seen, ns, backend, pod, port):
    """GET and POST through a Pod's proxy, as back{port}"""
    pod(*backend)
    where = f"/api/v1/namespaces/{ns}/pods/back{port.replace('PORT', str(backend[1]))}/proxy"
    got, posted = told(api.get(f"{where}/a", q="1")), told(api.post(f"{where}/b", {"x": 1}))
    seen(f"{got['method']} {got['path']}; {posted['method']} {posted['path']} {posted['body']}")


def test_pods_that_cannot_be_asked(api, seen, ns, pod):
    """GET through the proxy of a Pod that is not there, and of one without an address"""
    pod("", 80)
    seen("; ".join(str(api.get(f"/api/v1/namespaces/{ns}/pods/{name}:80/proxy/")) for name in ("nobody", "back")))


@pytest.mark.differs(LOOPBACK)
def test_pods_on_loopback(api, seen, ns, side, pod):
    """GET through the proxy of a Pod whose address is on 127/8"""
    with _serving("127.0.0.1") as where:
        pod(*where)
        answer = api.get(f"/api/v1/namespaces/{ns}/pods/back:{where[1]}/proxy/status/200")
    assert answer.code == (200 if side == "embedded" else 400)
    seen(str(answer).partition("{")[0])
