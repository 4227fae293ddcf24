"""A pool: for a starved bulkhead fewer calls at once, for a limit that healthy calls meet more of them."""

from __future__ import annotations

import math

from chaosmesh_ext.findings.fixes.manifests import destination_rule
from chaosmesh_ext.findings.fixes.weakness import Fix, Weakness
from chaosmesh_ext.findings.words import calls

__all__ = ["larger", "smaller"]


def smaller(weakness: Weakness) -> Fix | None:
    """Half as many calls of one pod at once as starved it, and a quarter that wait; None where it was not starved, or
    by so few that this leaves nothing free.
    """
    if weakness.draft.kind != "starved" or weakness.value is None:
        return None
    each = weakness.value / max(1.0, weakness.draft.numbers.get("pods", 1.0))
    limit, waiting = math.floor(each / 2), max(1, math.floor(each / 4))
    if limit < 1 or limit + waiting >= each:
        return None
    host = weakness.destination
    return Fix(
        destination_rule(host, weakness.namespace, "pool", _pool(limit, waiting)),
        f"The fix lets each caller's sidecar have {calls(limit)} to {host} at once and {waiting} that wait, half and a"
        f" quarter of the {each:g} of one pod that hung, and refuses further ones (503); it is for every caller.",
    )


def larger(weakness: Weakness) -> Fix | None:
    """Twice as many calls at once as were on their way when healthy ones were refused; None where none were."""
    if weakness.draft.severity != "warning" or not weakness.value:
        return None
    limit = math.ceil(2 * weakness.value)
    host = weakness.destination
    return Fix(
        destination_rule(host, weakness.namespace, "pool", _pool(limit, limit)),
        f"The fix lets each caller's sidecar have {calls(limit)} to {host} at once, twice as many as were on their way"
        " when it refused healthy ones.",
    )


def _pool(limit: int, waiting: int) -> dict[str, object]:
    """So many at once whatever the protocol: connections of HTTP/1.1, requests of both. waiting: for a connection, one
    that is being opened included.
    """
    return {
        "connectionPool": {
            "tcp": {"maxConnections": limit},
            "http": {"http1MaxPendingRequests": waiting, "http2MaxRequests": limit},
        }
    }
