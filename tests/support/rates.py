"""A lab in which prices calls a host outside the mesh (experiments/topologies/rates.yaml), and that host's server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from lab_under_test import LabUnderTest, start_lab, stop_lab
from shipped_experiments import EXPERIMENTS

from chaosmesh_ext.mesh import connect

__all__ = ["HOST", "rates_lab", "until_rate"]

HOST = "api.rates.example.com"


class _Provider(BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", 65536

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        body = json.dumps({"rate": 1.2}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def rates_lab(name: str, state_home: Path, *options: str) -> Iterator[LabUnderTest]:
    """The lab, whose prices know today's rate."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, port = server.server_address[:2]
    topology = str(EXPERIMENTS / "topologies" / "rates.yaml")
    lab = start_lab(name, state_home, "--topology", topology, *options)
    try:
        spec = {
            "hosts": [HOST],
            "location": "MESH_EXTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 9080, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": address, "ports": {"http": port}}],
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", lab.env["KUBECONFIG"])
            meta = {"name": "rates", "namespace": "default"}
            obj = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta, "spec": spec}
            connect().create(obj)
        until_rate(lab, "today's")
        yield lab
    finally:
        stop_lab(lab)
        server.shutdown()
        server.server_close()


def until_rate(lab: LabUnderTest, rate: str) -> None:
    """Wait until the shop shows RATE, ``today's`` or ``the last known``."""
    deadline = time.monotonic() + 60
    while True:
        answer = httpx.get(lab.env["APP_URL"] + "/", trust_env=False).json()
        if answer["sections"]["prices"]["rate"] == rate:
            return
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
