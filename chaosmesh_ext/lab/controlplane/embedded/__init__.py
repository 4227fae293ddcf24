"""The lab's own control plane: Istio's objects in, configuration for real Envoys out, over delta ADS."""

from chaosmesh_ext.lab.controlplane.embedded.plane import EmbeddedControlPlane
from chaosmesh_ext.lab.controlplane.embedded.telemetry import METRIC_RELABEL

__all__ = ["METRIC_RELABEL", "EmbeddedControlPlane"]
