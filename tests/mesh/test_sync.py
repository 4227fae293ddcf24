"""What istiods say of their proxies where the API server's pod proxy is refused: by a port-forward to each of them."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from aiohttp import web
from proxying_api import ProxyingApi, status

from chaosmesh_ext.errors import Inconclusive, Unreachable
from chaosmesh_ext.mesh import connect, sync

ENTRY = {"proxy": "page-1.default", "cluster_sent": "1", "cluster_acked": "1"}


class Istiods(ProxyingApi):
    """A Kubernetes API with two istiods, whose pod proxy says what it is told to."""

    async def _list(self, request: web.Request) -> web.StreamResponse:
        assert request.query["labelSelector"] == "app=istiod"
        items = [{"metadata": {"name": name}, "status": {"phase": "Running"}} for name in self.pods]
        return web.json_response({"kind": "PodList", "metadata": {}, "items": items})


@pytest.fixture
def istiod():
    """A server that says what istiod says to whom comes from its own pod."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = json.dumps(self.server.says).encode()
            self.send_response(200 if self.path == sync.PATH else 404)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.says = [ENTRY]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api(istiod, tmp_path, monkeypatch):
    port = istiod.server_address[1]
    monkeypatch.setattr(sync, "_PORT", port)
    with Istiods(port) as served:
        served.pods = ["istiod-1", "istiod-2"]
        config = {
            "clusters": [{"name": "c", "cluster": {"server": served.url}}],
            "users": [{"name": "u", "user": {"token": served.token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield served


def test_each_istiod_is_asked_by_a_port_forward_of_its_own(api):
    found, how = sync.of_istiods(connect())
    assert found == {"page-1.default": "SYNCED"}
    assert api.forwards == ["istiod-1", "istiod-2"]
    assert "istiod-1, istiod-2, by a port-forward" in how


def test_one_that_cannot_be_asked_leaves_all_unknown(api):
    """The proxies of the others would look like all there are."""
    api.gone.add("istiod-2")
    with pytest.raises(Inconclusive, match="nor by a port-forward"):
        sync.of_istiods(connect())
    api.no_forward = status(403, 'pods "istiod-1" is forbidden', "Forbidden")
    with pytest.raises(Inconclusive, match="forbidden"):
        sync.of_istiods(connect())


def test_a_port_that_says_something_else_is_not_believed(api, istiod):
    istiod.says = {"proxies": []}
    with pytest.raises(Unreachable, match="no istiod"):
        sync.of_istiods(connect())
