"""A real Kubernetes API: kube-apiserver over etcd, with Istio's and the Gateway API's resource definitions."""

from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.kube.api import Kube
from chaosmesh_ext.lab.kube.apiserver.kube import PORTS, ApiServer
from chaosmesh_ext.lab.place import Place

__all__ = ["PORTS", "TOOLS", "ApiServer", "create"]

TOOLS = ("etcd", "kube-apiserver", "istiod")
"""The last for the resource definitions that come with it."""


def create(place: Place) -> Kube:
    """An API server for the lab at PLACE, not started yet; raises LabError when its programs were not built."""
    return ApiServer(
        place, etcd=tools.need("etcd"), program=tools.need("kube-apiserver"), definitions=tools.definitions()
    )
