"""No retry: for an unsafe-retry that is the sidecar's."""

from __future__ import annotations

from chaosmesh_ext.findings.fixes.manifests import virtual_service
from chaosmesh_ext.findings.fixes.weakness import Fix, Weakness

__all__ = ["no_retry"]


def no_retry(weakness: Weakness) -> Fix | None:
    """No retries for that method; None where the application retries, which the mesh cannot change."""
    if weakness.draft.who != "sidecar":
        return None
    method = weakness.draft.operation.split(" ", 1)[0]
    host = weakness.destination
    routes = [{"match": [{"method": {"exact": method}}], "retries": {"attempts": 0}}, {}]
    return Fix(
        virtual_service(host, weakness.namespace, "no-retry", routes),
        f"The fix takes the sidecars' retries from every {method} to {host}.",
    )
