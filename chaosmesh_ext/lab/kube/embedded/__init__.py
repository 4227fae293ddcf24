"""The lab's own Kubernetes API server."""

from chaosmesh_ext.lab.kube.embedded.kube import CONTEXT, EmbeddedKube

__all__ = ["CONTEXT", "EmbeddedKube"]
