"""The real istiod, without a cluster: one process beside the lab's own API server and Envoys."""

from chaosmesh_ext.lab.controlplane.istiod.plane import KUBE, IstiodControlPlane, create
from chaosmesh_ext.lab.controlplane.istiod.process import PORTS

__all__ = ["KUBE", "PORTS", "TOOLS", "IstiodControlPlane", "create"]

TOOLS = ("istiod",)
