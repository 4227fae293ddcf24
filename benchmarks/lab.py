"""How fast and how small the lab is. Prints one JSON object; everything else goes to standard error.

startup_s: from typing `chaos mesh lab up` to its end, everything ready (median of three).
rss_mb: summed proportional set size of every process of the lab, after 200 requests.
fault_active_ms: from the API's write of a fault to the first response that met it, 50 times, on a warm connection.
rps: requests a second by one keep-alive connection, straight to an application and through two sidecars.

`--control-plane istiod [--traces jaeger]` measures the real ones, with the same keys.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

CHAOS = str(Path(sys.executable).with_name("chaos"))
TIMES = 50


def chaos(*words: str) -> str:
    """Run `chaos …` and return its standard output."""
    return subprocess.run([CHAOS, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


class Connection:
    """One keep-alive connection with an own Host header, as light as Python can, so that it measures the servers."""

    def __init__(self, address: str, port: int, host: str) -> None:
        self._socket = socket.create_connection((address, port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = host
        self._buffer = bytearray()

    def get(self, path: str) -> int:
        """The status of GET PATH; answers must carry a content-length."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._buffer += self._read()
        head = bytes(self._buffer[:end]).lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        while len(self._buffer) < end + 4 + length:
            self._buffer += self._read()
        del self._buffer[: end + 4 + length]
        return int(head[9:12])

    def _read(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise SystemExit(f"{self._host} closed the connection")
        return data


class Api:
    """One keep-alive connection to the Kubernetes API that a kubeconfig names."""

    def __init__(self, kubeconfig: str) -> None:
        config = yaml.safe_load(Path(kubeconfig).read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        where = urlsplit(cluster["server"])
        self._headers = {"Content-Type": "application/json"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        if where.scheme == "https":
            root = base64.b64decode(cluster["certificate-authority-data"]).decode()
            context = ssl.create_default_context(cadata=root)
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                where.hostname or "", where.port or 0, timeout=10, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(where.hostname or "", where.port or 0, timeout=10)

    def write(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        """One write."""
        self._connection.request(method, path, body=json.dumps(body) if body else None, headers=self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")


ENVOY_FILTERS = "/apis/networking.istio.io/v1alpha3/namespaces/default/envoyfilters"


def abort_filter() -> dict[str, Any]:
    """An abort of every call from productpage to details, by the carrier that the product prefers."""
    settings = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
        "abort": {"http_status": 507, "percentage": {"numerator": 100, "denominator": "HUNDRED"}},
    }
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "benchmark", "namespace": "default"},
        "spec": {
            "workloadSelector": {"labels": {"app": "productpage"}},
            "configPatches": [
                {
                    "applyTo": "VIRTUAL_HOST",
                    "match": {
                        "context": "SIDECAR_OUTBOUND",
                        "routeConfiguration": {"vhost": {"name": "details.default.svc.cluster.local:9080"}},
                    },
                    "patch": {
                        "operation": "MERGE",
                        "value": {"typed_per_filter_config": {"envoy.filters.http.fault": settings}},
                    },
                }
            ],
        },
    }


def fault_active(kubeconfig: str, outbound: str) -> list[float]:
    """Milliseconds from each write to the first faulted response."""
    api = Api(kubeconfig)
    caller = Connection(outbound, 9080, "details:9080")
    times = []
    for _ in range(TIMES):
        while caller.get("/details/0") != 200:
            time.sleep(0.002)
        began = time.perf_counter()
        api.write("POST", ENVOY_FILTERS, abort_filter())
        while caller.get("/details/0") != 507:
            pass
        times.append((time.perf_counter() - began) * 1000)
        api.write("DELETE", f"{ENVOY_FILTERS}/benchmark")
    return times


def rate(connection: Connection, path: str, seconds: float = 3.0) -> float:
    """Requests a second by one connection."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        if connection.get(path) != 200:
            raise SystemExit(f"{path} did not answer 200")
        count += 1
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast and how small the lab is.")
    parser.add_argument("--control-plane", default="embedded")
    parser.add_argument("--traces", default="embedded")
    asked = parser.parse_args()
    which = ("--control-plane", asked.control_plane, "--traces", asked.traces)
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    startups = []
    for turn in range(3):
        began = time.perf_counter()
        up = json.loads(chaos("mesh", "lab", "up", "--name", "benchmark", *which, "--json"))
        startups.append(time.perf_counter() - began)
        print(f"start {turn + 1}: {startups[-1]:.2f} s", file=sys.stderr)
        if turn < 2:
            chaos("mesh", "lab", "down", "--name", "benchmark")
    try:
        page = urlsplit(up["env"]["APP_URL"])
        visitor = Connection(page.hostname or "", page.port or 0, "bookinfo.example")
        for _ in range(200):
            visitor.get("/productpage")
        status = json.loads(chaos("mesh", "lab", "status", "--name", "benchmark", "--json"))
        pods = {pod["name"].rsplit("-", 2)[0]: pod["address"] for pod in status["pods"]}
        caller = pods["productpage-v1"].rsplit(".", 1)[0] + ".2"
        details = pods["details-v1"].rsplit(".", 1)[0] + ".3"
        times = sorted(fault_active(up["env"]["KUBECONFIG"], caller))
        rates = {
            "direct": round(rate(Connection(details, 9080, "details:9080"), "/details/0")),
            "sidecars": round(rate(Connection(caller, 9080, "details:9080"), "/details/0")),
        }
    finally:
        chaos("mesh", "lab", "down", "--name", "benchmark")
    print(
        json.dumps(
            {
                "startup_s": round(statistics.median(startups), 3),
                "rss_mb": status["pss_mb"],
                "fault_active_ms": {
                    "median": round(statistics.median(times), 2),
                    "p99": round(times[min(len(times) - 1, int(len(times) * 0.99))], 2),
                },
                "rps": rates,
            }
        )
    )


if __name__ == "__main__":
    main()
