"""Actions: inject a fault, and take it out again; one file a fault. Thin: the run knows how.

A fault that could not be proven is not in the mesh any more when the action ends, and the action fails. Chaos Toolkit
itself goes on after an action that failed; our control (chaosmesh_ext.controls) ends the experiment there.
"""

from chaosmesh_ext.actions.abort import inject_abort
from chaosmesh_ext.actions.connections import limit_connections
from chaosmesh_ext.actions.delay import inject_delay
from chaosmesh_ext.actions.deny_access import deny_access
from chaosmesh_ext.actions.egress import block_egress
from chaosmesh_ext.actions.injecting import refused
from chaosmesh_ext.actions.mirror import mirror_traffic
from chaosmesh_ext.actions.outliers import eject_outliers
from chaosmesh_ext.actions.pod_failure import make_pod_fail
from chaosmesh_ext.actions.propagation import break_propagation
from chaosmesh_ext.actions.recovery import recover
from chaosmesh_ext.actions.require_jwt import require_jwt
from chaosmesh_ext.actions.require_mtls import require_mtls
from chaosmesh_ext.actions.retries import set_retries
from chaosmesh_ext.actions.routes import restrict_routes
from chaosmesh_ext.actions.shift import shift_traffic
from chaosmesh_ext.actions.timeout import set_timeout
from chaosmesh_ext.arguments import checked
from chaosmesh_ext.help import helped

__all__ = [
    "block_egress",
    "break_propagation",
    "deny_access",
    "eject_outliers",
    "inject_abort",
    "inject_delay",
    "limit_connections",
    "make_pod_fail",
    "mirror_traffic",
    "recover",
    "require_jwt",
    "require_mtls",
    "restrict_routes",
    "set_retries",
    "set_timeout",
    "shift_traffic",
]

for _name in __all__:  # what an experiment gives is held against their signatures
    globals()[_name] = helped(checked(globals()[_name], failed=refused, empty=False))
