"""chaostoolkit-istio on the same lab: the lab does not know whose client it serves."""

from __future__ import annotations

import os
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


def seconds(url: str) -> float:
    began = time.monotonic()
    OPENER.open(url, timeout=15).read()
    return time.monotonic() - began


def test_their_add_delay_fault_slows_the_page_and_their_removal_heals_it(lab, kubectl, monkeypatch):
    import subprocess

    from chaosistio.fault.actions import add_delay_fault, remove_delay_fault

    monkeypatch.setitem(os.environ, "KUBECONFIG", lab.env["KUBECONFIG"])
    page = f"{lab.env['APP_URL']}/productpage"
    apply = [kubectl, "apply", "-f", "-"]
    subprocess.run(apply, input=VIRTUAL_SERVICE, text=True, env=lab.environ, check=True, capture_output=True)
    routes = [{"destination": {"host": "details", "subset": "v1"}}]
    try:
        assert seconds(page) < 0.9
        add_delay_fault("details", "1s", routes, percentage=100.0, ns="default", version="networking.istio.io/v1")
        assert 1.0 <= seconds(page) < 2.5
        remove_delay_fault("details", routes, ns="default", version="networking.istio.io/v1")
        assert seconds(page) < 0.9
    finally:
        subprocess.run(
            [kubectl, "delete", "virtualservice", "details"], env=lab.environ, check=True, capture_output=True
        )
