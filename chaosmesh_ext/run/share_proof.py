"""Proof of a division: marked requests are counted where they arrive, against those of the control.

One call shows nothing, for it might have gone there anyway; many do. Those of the cell must be far likelier by the
fault's shares than by the control's, and within the binomial bounds of the former; those of the control must not.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Final

from chaosmesh_ext.errors import LeftBehind, NotProven
from chaosmesh_ext.model import CONTROL, Answer, Marker, Trace
from chaosmesh_ext.observe.traces import FLUSH, QUIET, TraceSource
from chaosmesh_ext.run.evidence import Watched
from chaosmesh_ext.run.hunt import LATEST, Hunt
from chaosmesh_ext.run.proof import Live
from chaosmesh_ext.run.shares import SURE, arrivals, divergence, estimate, latest, misfit
from chaosmesh_ext.run.trace_proof import TraceProver
from chaosmesh_ext.run.traffic import Errand, Traffic

__all__ = ["ShareProver"]

_SAMPLE: Final = 40
"""Control requests from which the shares before the fault are known."""

_MOST: Final = 200
"""Calls after which two ways of dividing them are taken to be alike."""

_FEWEST: Final = 10
"""Calls that are counted at least."""

_CONTROLS: Final = 10
"""Control requests sent while the fault is live."""

_BEAT: Final = 0.03
"""Seconds between two requests."""


class ShareProver:
    """Proof by where the calls of marked requests arrive."""

    def __init__(
        self,
        store: TraceSource,
        traffic: Traffic,
        errand: Errand,
        *,
        finder: TraceProver,
        watched: Watched,
        shares: Mapping[str, float],
        marker: Marker,
        everybody: bool,
        timeout: float,
        taken: Callable[[float], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """FINDER: finds the call. SHARES: by version of the called workload. EVERYBODY: the control meets it too.
        TIMEOUT: seconds. TAKEN: sees that every sidecar took what was written then, or raises NotProven: for shares as
        they are anyway. STOPPED: give up now.
        """
        self._store, self._traffic, self._errand, self._finder = store, traffic, errand, finder
        self._watched, self._shares, self._everybody = watched, dict(shares), everybody
        self._cell, self._control = marker, Marker(marker.run, CONTROL)
        self._timeout, self._taken, self._stopped = timeout, taken, stopped
        self._before: dict[str, float] = {}
        self.met_late: Counter[str] = Counter()

    @property
    def _alike(self) -> bool:
        """Whether the shares are too near to those before to be told from them."""
        return divergence(self._shares, self._before) * _MOST < SURE

    def before(self) -> tuple[Answer, ...]:
        """Where control requests arrive; see `Prover`."""
        answers = list(self._finder.before())
        answers += self._ask(max(_SAMPLE - len(answers), 0))
        versions = self._where(answers)
        if not versions:
            raise NotProven(
                f"where calls {self._watched} arrive cannot be seen: no sidecar of {self._watched.destination} reports "
                "them; do its pods have one?"
            )
        self._before = estimate(versions, self._shares)
        return tuple(answers)

    def live(self, written: float) -> Live:
        """Count where requests of the cell arrive until that is plain; see `Prover`."""
        hunt = self._hunt(written)
        need = self._enough()
        found: list[tuple[float, str]] = []
        start, weight = 0, 0.0
        controls: list[Future[Answer]] = []
        for number, _ in enumerate(hunt.rounds(written + self._timeout, lambda: _BEAT, spare=0, stopped=self._stopped)):
            if not self._everybody and number % 4 == 0 and len(controls) < _CONTROLS:
                controls.append(self._traffic.send(self._errand, self._control))
            found = self._arrived(hunt)
            if self._alike:
                if len(found) >= _FEWEST:
                    break
                continue
            start, weight = latest([version for _, version in found], self._shares, self._before)
            if weight >= SURE and len(found) - start >= need:
                break
        hunt.land()
        versions = [version for _, version in found[start:]]
        if not found:
            raise NotProven(f"no call {self._watched} was seen in {hunt.sent} requests to {self._errand.url}")
        plain = not self._alike and weight >= SURE and len(versions) >= need
        if not plain and not self._alike and (weight <= 0 or misfit(versions, self._shares)):
            raise NotProven(self._never([version for _, version in found]))
        if plain and (why := misfit(versions, self._shares)):
            raise NotProven(f"calls {self._watched} are not divided as they should be: {why}")
        clean = tuple(future.result() for future in controls)
        self._control_is_as_before(clean)
        if not plain:  # too few calls in the time, or too like what was before: as far as it goes, it fits
            self._taken(time.time())
        first = found[start][0] if plain else written
        answers = sorted((one for one in hunt.answers() if one.started >= first), key=lambda one: one.started)
        return Live(
            by="traces" if plain else "sync",
            live_after=max(first - written, 0.0) if plain else None,
            traces=tuple(one.trace_id for one in answers[:_FEWEST]),
            requests=hunt.sent + len(clean),
            answers=tuple(answers),
            controls=clean,
        )

    def gone(self) -> float | None:
        """Count until calls of the cell arrive as before again; see `Prover`."""
        began = time.time()
        hunt = self._hunt(began)
        found: list[tuple[float, str]] = []
        weight = 0.0
        for _ in hunt.rounds(began + self._timeout, lambda: _BEAT, spare=0):
            found = self._arrived(hunt)
            self.met_late = Counter({self._watched.destination: hunt.sent})
            start, weight = latest([version for _, version in found], self._before, self._shares)
            if self._alike and len(found) >= _FEWEST:
                self._taken(time.time())
                return None
            if weight >= SURE and len(found) - start >= _FEWEST:
                self.met_late = Counter({self._watched.destination: start})
                return max(found[start][0] - began, 0.0) if start else 0.0
        if weight > 0 and len(found) >= _FEWEST:
            try:
                self._taken(time.time())
            except NotProven as error:
                raise LeftBehind(f"the shares of {self._watched} were put back, but: {error}") from error
            return None
        raise LeftBehind(
            f"the shares of {self._watched} were put back, but its {len(found)} calls still arrive as if they were not "
            f"({_counted([version for _, version in found])}) after {self._timeout:g} s: are the sidecars in sync with "
            "istiod (`istioctl proxy-status`)?"
        )

    # --- how ----------------------------------------------------------------------------------------------------------

    def _enough(self) -> int:
        """Calls of which each version with a share is expected to get five."""
        parts = [min(part, 1 - part) for part in self._shares.values() if 0 < part < 1]
        return min(max(_FEWEST, *(math.ceil(5 / part) for part in parts)), _MOST) if parts else _FEWEST

    def _hunt(self, began: float) -> Hunt:
        return Hunt(
            self._store,
            self._traffic,
            self._errand,
            self._cell,
            watched=self._watched,
            shows=_nothing,
            began=began,
            burst=min(self._traffic.budget, 4),
        )

    def _ask(self, count: int) -> list[Answer]:
        return [future.result() for future in [self._traffic.send(self._errand, self._control) for _ in range(count)]]

    def _where(self, answers: Sequence[Answer]) -> list[str]:
        """Where the calls of requests with ANSWERS arrived, once that is known of all, or no more is heard."""
        ids = [answer.trace_id for answer in answers]
        known: list[str] = []
        news, end = time.time(), time.time() + LATEST
        while True:
            traces = self._store.many(ids)
            seen = [arrivals(trace, self._watched) for trace in traces.values()]
            found = [version for versions in seen for version in versions]
            if len(found) > len(known):
                known, news = found, time.time()
            if (len(traces) == len(ids) and all(seen)) or time.time() > min(news + QUIET + FLUSH, end):
                return found
            time.sleep(0.05)

    def _arrived(self, hunt: Hunt) -> list[tuple[float, str]]:
        """When each request of HUNT was sent, and where a call of its arrived, in the order of time."""
        return sorted(
            (one.started, version)
            for one in hunt.answers()
            if (trace := hunt.traces.get(one.trace_id))
            for version in arrivals(trace, self._watched)
        )

    def _never(self, versions: list[str]) -> str:
        asked = f"is {dict(self._watched.match)} what those calls are like, " if self._watched.match else ""
        return (
            f"calls {self._watched} are not divided as they should be within {self._timeout:g} s: "
            f"{_counted(versions)}; {asked}does the marker survive (tracestate forwarded), are the sidecars in sync?"
        )

    def _control_is_as_before(self, answers: tuple[Answer, ...]) -> None:
        if self._everybody or self._alike:
            return
        versions = self._where(answers)
        if not versions:
            raise NotProven(
                f"the trace store has none of {len(answers)} control requests: whether others meet it is unknown"
            )
        _, weight = latest(versions, self._shares, self._before)
        if weight >= SURE:
            raise NotProven(
                f"requests that are not meant are divided like those that are, on {self._watched}: {_counted(versions)}"
            )


def _nothing(trace: Trace) -> bool:
    """No single trace shows it."""
    del trace
    return False


def _counted(versions: list[str]) -> str:
    counts = Counter(versions)
    return ", ".join(f"{counts[one]} at {one or 'no version'}" for one in sorted(counts)) or "none arrived anywhere"
