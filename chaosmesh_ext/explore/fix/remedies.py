"""Remedies: what the fixes of findings do, as changes that a run can make and take back. Pure.

A timeout is mended for all calls of a host together, see `mending.timeout_of`; what is here is for one weakness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Connections, Outliers, Retries
from chaosmesh_ext.istio.durations import seconds

if TYPE_CHECKING:
    from chaosmesh_ext.mesh import Fault
    from chaosmesh_ext.model import Span, Trace

__all__ = ["Remedy", "Room", "remedy"]


class Remedy(msgspec.Struct, frozen=True):
    """FAULT for the requests that MATCH: for those of the run alone, or, where none can be told from another, for all.
    words: what it does.
    """

    fault: Fault
    words: str
    requests: Literal["run", "all"] = "all"
    match: dict[str, Any] = {}


class Room(Connections, frozen=True):
    """A pool in place of a smaller one. Calls that are refused (UO) met the smaller one, before and afterwards."""

    @property
    def burst(self) -> int:
        """See `Connections`: none, for no number of requests shows it."""
        return 1

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """See `Connections`: in no call."""
        del span, trace
        return False


def remedy(rule: str, manifest: Mapping[str, Any]) -> Remedy | None:
    """What MANIFEST does against the weakness that RULE finds; None where it is not as our fixes are: somebody may have
    edited it.
    """
    made = _MADE.get(rule)
    try:
        return made(manifest) if made else None
    except (KeyError, TypeError, ValueError, AttributeError, InvalidInput):
        return None


def _no_retry(manifest: Mapping[str, Any]) -> Remedy | None:
    found = [route for route in manifest["spec"]["http"] if "retries" in route]
    if len(found) != 1 or found[0]["retries"] != {"attempts": 0}:
        return None
    (match,) = found[0]["match"]
    return Remedy(Retries(0), f"no retries of {match['method']['exact']}", requests="run", match=dict(match))


def _smaller(manifest: Mapping[str, Any]) -> Remedy:
    return _pool(manifest, Connections)


def _larger(manifest: Mapping[str, Any]) -> Remedy:
    return _pool(manifest, Room)


def _pool(manifest: Mapping[str, Any], sort: type[Connections]) -> Remedy:
    pool = _policy(manifest, "connectionPool")
    tcp, http = pool["tcp"], pool["http"]
    limit, waiting = tcp["maxConnections"], http["http1MaxPendingRequests"]
    fault = sort(limit, waiting, http["http2MaxRequests"])
    if fault.for_destination_rule()["connectionPool"] != pool:
        raise ValueError
    return Remedy(fault, f"{limit} calls at once from each caller's sidecar, and {waiting} that wait")


def _ejection(manifest: Mapping[str, Any]) -> Remedy:
    words = _policy(manifest, "outlierDetection")
    errors, away = words["consecutive5xxErrors"], seconds(words["baseEjectionTime"])
    fault = Outliers(errors, base_ejection_time=away, max_ejection_percent=words["maxEjectionPercent"])
    if fault.for_destination_rule()["outlierDetection"] != words:
        raise ValueError
    return Remedy(fault, f"no calls for {away:g} s to a pod that answered {errors} errors in a row")


def _policy(manifest: Mapping[str, Any], field: str) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["trafficPolicy"]
    return dict(found[field])


_MADE: Final[Mapping[str, Callable[[Mapping[str, Any]], Remedy | None]]] = {
    "unsafe-retry": _no_retry,
    "bulkhead": _smaller,
    "connection-limit": _larger,
    "retry-amplification": _ejection,
}
