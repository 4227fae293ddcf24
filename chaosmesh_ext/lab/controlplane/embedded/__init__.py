"""The lab's own control plane: Istio's objects in, configuration for real Envoys out, over delta ADS."""

from chaosmesh_ext.lab.controlplane.embedded.plane import KUBE, EmbeddedControlPlane, create

__all__ = ["KUBE", "EmbeddedControlPlane", "create"]
