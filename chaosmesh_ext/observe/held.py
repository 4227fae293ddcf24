"""Whether a workload's calls are held back by a fault at this moment, by a gauge of its sidecars.

A span is there only once its call has ended, so that a trace cannot tell that a caller tries a slow call again. Envoy's
fault filter counts the calls that it holds (`http.<prefix>.fault.active_faults`). Where the mesh's metrics have that,
nobody has to wait as long as one more attempt would take.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.model import Workload
from chaosmesh_ext.observe.prometheus import Prometheus

__all__ = ["Held"]

_GAUGE: Final = "envoy_http_(.+_)?fault_active_faults"
_SCRAPED: Final = 60.0
"""Seconds within which all sidecars have been scraped, if they ever are."""
_PAUSE: Final = 0.25
"""Seconds between two questions about one workload, at least."""


class Held:
    """Reads the gauge. Istio exports it where `proxyStatsMatcher` includes `fault`; a lab always does."""

    def __init__(self, prometheus: Prometheus, clock: Callable[[], float] = time.time) -> None:
        self._prometheus, self._clock = prometheus, clock
        self._seen: dict[Workload, tuple[float, float]] = {}
        self._next: dict[Workload, float] = {}

    def free(self, workload: Workload, start: float, end: float) -> bool:
        """Whether all sidecars of WORKLOAD were seen to hold no call, at a moment from START to END.

        START, END: seconds since the epoch, on our clock. False where it is not known, or not yet.
        """
        first, last = self._look(workload)
        return start <= first and last <= end

    def _look(self, workload: Workload) -> tuple[float, float]:
        """When all its sidecars were last seen to hold none: not before the one, not after the other; 0 for never."""
        now = self._clock()
        if now >= self._next.get(workload, 0.0):
            self._next[workload] = now + _PAUSE
            pod = re.escape(str(workload)).replace("\\", "\\\\") + "-.+"
            gauge = f'{{__name__=~"{_GAUGE}", namespace="{workload.namespace}", pod=~"{pod}"}}'
            try:
                theirs = self._prometheus.scalar("time()")
                last = [each[-1] for each in self._prometheus.recent(gauge, _SCRAPED) if each]
            except ChaosMeshError:
                self._next[workload] = now + 10 * _PAUSE
            else:
                if theirs is not None and last and not any(value for _, value in last):
                    times = [at - theirs for at, _ in last]  # their clock need not be ours
                    self._seen[workload] = now + min(times), self._clock() + max(times)
        return self._seen.get(workload, (0.0, 0.0))
