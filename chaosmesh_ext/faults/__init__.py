"""Faults, one file each. A new one is its file, its test, and its line in `FAULTS`."""

from chaosmesh_ext.faults.abort import Abort
from chaosmesh_ext.faults.connections import Connections
from chaosmesh_ext.faults.delay import Delay
from chaosmesh_ext.faults.deny_access import DenyAccess
from chaosmesh_ext.faults.egress import Egress
from chaosmesh_ext.faults.mirror import Mirror
from chaosmesh_ext.faults.outliers import Outliers
from chaosmesh_ext.faults.pod_failure import PodFailure
from chaosmesh_ext.faults.propagation import Propagation
from chaosmesh_ext.faults.require_jwt import RequireJwt
from chaosmesh_ext.faults.require_mtls import RequireMtls
from chaosmesh_ext.faults.retries import Retries
from chaosmesh_ext.faults.routes import Routes
from chaosmesh_ext.faults.shift import Shift
from chaosmesh_ext.faults.timeout import Timeout

__all__ = [
    "FAULTS",
    "Abort",
    "Connections",
    "Delay",
    "DenyAccess",
    "Egress",
    "Mirror",
    "Outliers",
    "PodFailure",
    "Propagation",
    "RequireJwt",
    "RequireMtls",
    "Retries",
    "Routes",
    "Shift",
    "Timeout",
]

FAULTS = {
    "abort": Abort,
    "connections": Connections,
    "delay": Delay,
    "egress": Egress,
    "deny_access": DenyAccess,
    "mirror": Mirror,
    "require_jwt": RequireJwt,
    "require_mtls": RequireMtls,
    "outliers": Outliers,
    "pod_failure": PodFailure,
    "propagation": Propagation,
    "retries": Retries,
    "routes": Routes,
    "shift": Shift,
    "timeout": Timeout,
}
"""The one word of each fault, used everywhere, and its class."""
