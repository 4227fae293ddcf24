"""The Services of the lab's Prometheus and trace store, by which the API server's proxy reaches them.

They are called and numbered as the Services of Istio's own addons (its ``samples/addons``), and nobody in the mesh is
told of them. What is behind them is no Pod, and listens on a loopback address: only an API that takes such Endpoints
can have them.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from chaosmesh_ext.lab.kube.api import ISTIO_NAMESPACE, Obj

__all__ = ["PROMETHEUS", "TRACING", "addon"]

PROMETHEUS = ("prometheus", "http", 9090)
TRACING = ("tracing", "http-query", 80)


def addon(service: tuple[str, str, int], url: str) -> list[Obj]:
    """The objects of a SERVICE (its name, its port's name and number) that leads to URL."""
    name, port_name, port = service
    target = urlsplit(url)
    metadata = {
        "name": name,
        "namespace": ISTIO_NAMESPACE,
        "labels": {"app": name, "app.kubernetes.io/managed-by": "chaosmesh-ext-lab"},
        "annotations": {"networking.istio.io/exportTo": "~"},
    }
    address = {"addresses": [{"ip": target.hostname}], "ports": [{"name": port_name, "port": target.port}]}
    ports = [{"name": port_name, "port": port, "targetPort": target.port}]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": dict(metadata), "subsets": [address]},
    ]
