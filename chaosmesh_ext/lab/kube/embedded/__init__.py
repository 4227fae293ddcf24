"""The lab's own Kubernetes API server."""

from chaosmesh_ext.lab.kube.api import Kube
from chaosmesh_ext.lab.kube.embedded.kube import CONTEXT, EmbeddedKube
from chaosmesh_ext.lab.network import API_PORT
from chaosmesh_ext.lab.place import Place

__all__ = ["CONTEXT", "LOOPBACK_ENDPOINTS", "EmbeddedKube", "create"]

LOOPBACK_ENDPOINTS = True
"""A real API server refuses loopback addresses in Endpoints, and to proxy to them."""


def create(place: Place) -> Kube:
    """An API server for the lab at PLACE, not started yet."""
    return EmbeddedKube(place.control, API_PORT)
