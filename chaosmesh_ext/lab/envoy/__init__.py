"""Envoy: where its program is, and one process of it per pod."""

from chaosmesh_ext.lab.envoy.binary import envoy_binary
from chaosmesh_ext.lab.envoy.bootstrap import ADMIN_PORT, NodeInfo, bootstrap
from chaosmesh_ext.lab.envoy.sidecar import Sidecar

__all__ = ["ADMIN_PORT", "NodeInfo", "Sidecar", "bootstrap", "envoy_binary"]
