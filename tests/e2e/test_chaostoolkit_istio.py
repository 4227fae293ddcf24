"""chaostoolkit-istio on the same lab: the lab does not know whose client it serves."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

VIRTUAL_SERVICE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: details, namespace: default}
spec:
  hosts: [details]
  http:
  - route:
    - destination: {host: details, subset: v1}
"""
ROUTES = [{"destination": {"host": "details", "subset": "v1"}}]


def seconds(url: str) -> float:
    began = time.monotonic()
    OPENER.open(url, timeout=15).read()
    return time.monotonic() - began


def test_their_add_delay_fault_slows_the_page_and_their_removal_heals_it(lab, kubectl):
    """The Kubernetes client reads KUBECONFIG when it is imported, so theirs runs in a process of its own."""
    page = f"{lab.env['APP_URL']}/productpage"

    def theirs(call: str) -> None:
        script = f"from chaosistio.fault.actions import *; {call}"
        subprocess.run([sys.executable, "-c", script], env=lab.environ, check=True, capture_output=True)

    def kube(*words: str, text: str = "") -> None:
        subprocess.run([kubectl, *words], input=text, text=True, env=lab.environ, check=True, capture_output=True)

    kube("apply", "-f", "-", text=VIRTUAL_SERVICE)
    version = "ns='default', version='networking.istio.io/v1'"
    try:
        assert seconds(page) < 1.9
        theirs(f"add_delay_fault('details', '2s', {ROUTES}, percentage=100.0, {version})")
        assert seconds(page) >= 2.0
        theirs(f"remove_delay_fault('details', {ROUTES}, {version})")
        assert seconds(page) < 1.9
    finally:
        kube("delete", "virtualservice", "details")
