"""Tolerances of what the probes of traces give: paths of errors and of time."""

# No `from __future__ import annotations` here: it would turn every type that `chaos discover` shows into "object".
from collections.abc import Mapping
from typing import Any

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.tolerances.words import say

__all__ = ["error_stops_at", "slowest_at"]


def error_stops_at(workload: str, value: Any = None) -> bool:
    """Whether errors, of which there are some, came to `workload` or through it, and none of them to a user.

    value: what the probe error_path gives. workload: as in its path, e.g. `productpage-v1`, or without version.
    """
    if not isinstance(workload, str) or not workload:
        raise InvalidInput(f"tolerance error_stops_at: workload is {workload!r}, not the name of one")
    expected = f"errors that come to {workload}, and to no user"
    if not isinstance(value, Mapping) or not value.get("of"):
        return say(met=False, expected=expected, seen=None)
    path = value.get("path") or []
    seen = f"{value.get('requests')} of {value['of']} requests with errors on {' → '.join(path) or 'no path'}"
    met = any(_is(step, workload) for step in path) and not value.get("reached")
    return say(met, expected, f"{seen}, {value.get('reached')} of them for users too")


def slowest_at(place: str, share: float = 0.5, value: Any = None) -> bool:
    """Whether the slowest request spent at least this `share` (0 to 1) of its time at `place`.

    value: what the probe slowest_path gives. place: a workload, e.g. `details-v1`, or a call, e.g. `productpage-v1 →
    details`; without version it is any version.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise InvalidInput(f"tolerance slowest_at: share is {share!r}, not above 0 and up to 1")
    if not isinstance(place, str) or not place:
        raise InvalidInput(f"tolerance slowest_at: place is {place!r}, not a workload or a call such as a → b")
    own, duration = (value.get("own"), value.get("duration")) if isinstance(value, Mapping) else (None, None)
    expected = f"at least {share:.0%} of the time at {place}"
    if not own or not duration:
        return say(met=False, expected=expected, seen=None)
    spent = sum(seconds for where, seconds in own.items() if _at(where, place))
    most = ", ".join(f"{where} {seconds:.3g} s" for where, seconds in list(own.items())[:3])
    return say(spent >= share * duration, expected, f"{most} of {duration:.3g} s")


def _is(workload: str, name: str) -> bool:
    return workload == name or workload.rpartition("-")[0] == name


def _at(where: str, place: str) -> bool:
    steps, wanted = where.split(" → "), place.split(" → ")
    return len(steps) == len(wanted) and all(map(_is, steps, wanted))
