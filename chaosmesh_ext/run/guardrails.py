"""Guardrails: what must not happen to the users while a fault is in. Crossing one ends the run (exit code 4).

One is asked before the first write and then, on a thread of its own, all the time. What cannot be evaluated (no data,
NaN, an error, no answer in time) counts as crossed, unless it says ``on_error: ignore``: who cannot see must not go on.
One that cannot even be asked any more ends the run too, an ignored one as inconclusive (exit code 3).
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from chaosmesh_ext.errors import Aborted, ChaosMeshError, Inconclusive, InvalidInput
from chaosmesh_ext.observe.prometheus import Prometheus
from chaosmesh_ext.observe.reach import target
from chaosmesh_ext.redaction import words
from chaosmesh_ext.run.guardrail_specs import allows, mistakes, seconds
from chaosmesh_ext.settings import Settings

__all__ = ["Ask", "Guardrails", "Reading"]

Ask = Callable[[], tuple[bool, str]]
"""Looks once: whether what is seen is beyond what is allowed, and what that is. Whatever it raises means: unknown."""

_KEEP: Final = 20
"""Samples of each that are kept."""


class Reading(msgspec.Struct, frozen=True):
    """One look. at: seconds since the epoch. seen: in words. unknown: it could not be evaluated, and seen says why."""

    at: float
    seen: str
    crossed: bool
    unknown: bool = False

    def __str__(self) -> str:
        return f"{self.seen} at {datetime.fromtimestamp(self.at, UTC):%H:%M:%S}Z"


class Guardrails:
    """Those of one experiment."""

    def __init__(
        self,
        specs: Sequence[Mapping[str, Any]],
        settings: Settings,
        *,
        probe: Callable[[Mapping[str, Any]], Ask] | None = None,
    ) -> None:
        """SPECS: see `guardrail_specs`. PROBE knows how to ask one that is a Chaos Toolkit probe.

        Raises InvalidInput, with all `mistakes`.
        """
        if wrong := mistakes(specs):
            raise InvalidInput("; ".join(wrong))
        self._rails = [_Rail(spec, _ask(spec, settings, probe)) for spec in specs]
        self._done = threading.Event()
        self._said = threading.Lock()
        self._threads: list[threading.Thread] = []

    def check(self) -> None:
        """Look at each once, whatever its `for`. Raises Aborted when one is crossed, Inconclusive as `start` says."""
        lost: list[ChaosMeshError] = []

        def look(rail: _Rail) -> None:
            try:
                rail.look()
            except BaseException as error:
                lost.append(rail.lost(error))

        threads = [threading.Thread(target=look, args=(rail,), daemon=True) for rail in self._rails]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        crossed = [rail.words(1) for rail in self._rails if rail.crossed]
        if crossed:
            raise Aborted(f"{'; '.join(crossed)}; nothing was injected: wait until it is well again")
        if lost:
            raise lost[0]

    def start(self, on_crossed: Callable[[ChaosMeshError], None]) -> None:
        """Look from now on. ON_CROSSED is called once at most, from one of the threads, with Aborted, or with
        Inconclusive for one that may be ignored and is asked no more.
        """
        self._done.clear()
        self._threads = [
            threading.Thread(target=self._watch, args=(rail, on_crossed), name=f"guardrail-{rail.name}", daemon=True)
            for rail in self._rails
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Look no more: nobody is told any more, unless that is under way already."""
        with self._said:
            self._done.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(0.2)

    def facts(self) -> list[dict[str, Any]]:
        """For the journal: each one's name, what it allows, whether it was crossed, and its last samples."""
        return [rail.facts() for rail in self._rails]

    def _watch(self, rail: _Rail, on_crossed: Callable[[ChaosMeshError], None]) -> None:
        try:
            self._look_on(rail, on_crossed)
        except BaseException as error:  # nobody looks at a thread: a fault would stay in with nobody looking at it
            if not self._tell(rail, rail.lost(error), on_crossed):
                raise

    def _look_on(self, rail: _Rail, on_crossed: Callable[[ChaosMeshError], None]) -> None:
        rail.begin()
        while not self._done.is_set():
            began = time.monotonic()
            rail.look()
            if rail.held:
                self._tell(rail, Aborted(rail.words()), on_crossed)
                return
            self._done.wait(max(0.0, rail.frequency - (time.monotonic() - began)))

    def _tell(self, rail: _Rail, error: ChaosMeshError, on_crossed: Callable[[ChaosMeshError], None]) -> bool:
        """RAIL ends the run with ERROR; whether it is the first to do so."""
        with self._said:
            first, rail.ended_it = not self._done.is_set(), True
            self._done.set()
        if first:
            on_crossed(error)
        return first


class _Rail:
    """One guardrail, and what it saw."""

    def __init__(self, spec: Mapping[str, Any], ask: Ask) -> None:
        self.name = str(spec["name"])
        self.frequency = seconds(spec, "frequency")
        self.ended_it = False
        self.readings: deque[Reading] = deque(maxlen=_KEEP)
        self._ask, self._allows = ask, allows(spec)
        self._hold, self._timeout = seconds(spec, "for"), seconds(spec, "timeout")
        self._ignore = spec.get("on_error") == "ignore"
        self._since: float | None = None
        self._asking: threading.Thread | None = None

    def begin(self) -> None:
        """Forget since when it is crossed."""
        self._since = None

    @property
    def crossed(self) -> bool:
        """Whether it was, at the last look."""
        return bool(self.readings) and self.readings[-1].crossed

    @property
    def held(self) -> bool:
        """Whether it has been crossed for as long as it may not be."""
        return self._since is not None and time.monotonic() - self._since >= self._hold

    def look(self) -> None:
        """Ask once, and remember."""
        reading = self._read()
        self.readings.append(reading)
        if reading.crossed:
            self._since = time.monotonic() if self._since is None else self._since
        elif not reading.unknown:
            self._since = None

    def lost(self, error: BaseException) -> ChaosMeshError:
        """What ends the run, because for ERROR nobody asks any more."""
        self.readings.append(self._unknown(time.time(), words(error)))
        if self._ignore:
            return Inconclusive(
                f"the guardrail {self.name} is asked no more ({words(error)}): nobody would see it crossed"
            )
        return Aborted(self.words())

    def words(self, most: int = 5) -> str:
        """That it was crossed, with the samples that say so."""
        last: list[Reading] = []
        for reading in reversed(self.readings):
            if not reading.crossed or len(last) == most:
                break
            last.insert(0, reading)
        return f"the guardrail {self.name} was crossed ({self._allows}): {', '.join(map(str, last))}"

    def facts(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "name": self.name,
            "allows": self._allows,
            "crossed": self.ended_it or self.crossed,
            "samples": [msgspec.to_builtins(reading) for reading in self.readings],
        }

    def _read(self) -> Reading:
        """What is seen now; an ask that hangs is waited for by nobody, and not asked twice."""
        answer: list[Reading] = []
        at = time.time()
        if self._asking is None or not self._asking.is_alive():
            self._asking = threading.Thread(target=lambda: answer.append(self._once(at)), daemon=True)
            self._asking.start()
        self._asking.join(self._timeout)
        if not answer:
            return self._unknown(at, f"no answer within {self._timeout:g} s")
        return answer[0]

    def _once(self, at: float) -> Reading:
        try:
            crossed, seen = self._ask()
        except ChaosMeshError as error:
            return self._unknown(at, str(error))
        except BaseException as error:  # a probe may raise whatever it likes, SystemExit too
            return self._unknown(at, words(error))
        return Reading(at, seen, crossed)

    def _unknown(self, at: float, why: str) -> Reading:
        return Reading(at, f"not to be evaluated: {' '.join(why.split())}", crossed=not self._ignore, unknown=True)


class _NoData(ChaosMeshError):
    """There is no number to compare."""


def _ask(spec: Mapping[str, Any], settings: Settings, probe: Callable[[Mapping[str, Any]], Ask] | None) -> Ask:
    if "promql" not in spec:
        if probe is None:
            raise InvalidInput(f"the guardrail {spec['name']} is a probe, and nobody can ask one here: give promql")
        return probe(spec)
    prometheus = Prometheus(target(settings, "prometheus"), timeout=seconds(spec, "timeout"))
    expression = str(spec["promql"])
    above = float(spec["above"]) if "above" in spec else math.inf
    below = float(spec["below"]) if "below" in spec else -math.inf

    def look() -> tuple[bool, str]:
        samples = prometheus.query(expression)
        if not samples:
            raise _NoData("no data")
        if any(math.isnan(sample.value) for sample in samples):
            raise _NoData("NaN, which is no number")
        beyond = [sample for sample in samples if sample.value > above or sample.value < below]
        shown = sorted(beyond or samples, key=lambda sample: -abs(sample.value))[:3]
        return bool(beyond), ", ".join(f"{sample.value:g}{_labels(sample.labels)}" for sample in shown)

    return look


def _labels(labels: Mapping[str, str]) -> str:
    return f" {{{', '.join(f'{key}={value}' for key, value in sorted(labels.items()))}}}" if labels else ""
