"""Topologies from a seed, with everything that a topology file can plant. The same seed gives the same bytes."""

from __future__ import annotations

import copy
import random

from truths.bounds import MOST_CALLS, floor, latencies, most_calls
from truths.words import MadeCall, MadeService, MadeTopology, MadeVersion

__all__ = ["CHECKOUT", "MOST_DEPTH", "MOST_FAN_OUT", "generate"]

MOST_DEPTH, MOST_FAN_OUT, SERVICES = 5, 4, (3, 25)
CHECKOUT = "/checkout"
"""The entry's second path, where it has one."""

_NAMED = (
    "frontend catalog cart orders search users stock prices reviews ratings payments shipping offers images mails "
    "taxes fraud ledger sessions profiles wishes invoices carriers addresses coupons"
)
_NAMES = _NAMED.split()
_TIMEOUTS = (150, 250, 400, 700, 1200, 2000, 3500, 6000)
"""Milliseconds; each at least 1.6 times the one before, so that two of them are seldom within 25 % of each other."""

_BEYOND = 20_000
"""Milliseconds: a timeout that no sensible delay shows."""

_CLOSE = 1.34
"""Two clocks with less than this between them race each other (25 % of the longer one)."""


def generate(seed: int) -> str:
    """The topology file of SEED."""
    return _Maker(seed).make().text()


class _Maker:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"topology {seed}")  # noqa: S311 - the same again is the point
        self._name = f"random-{seed}"

    def make(self) -> MadeTopology:
        topology = MadeTopology(self._name, self._services())
        self._connect(topology)
        for service in topology.services:
            self._group(service)
            self._versions(service)
        self._second_path(topology)
        self._retries(topology)
        self._timeouts(topology)
        self._repeat_unsafely(topology)
        self._limits(topology)
        self._breakers(topology)
        self._break_propagation(topology)
        return topology

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _services(self) -> list[MadeService]:
        names = [_NAMES[0], *self._random.sample(_NAMES[1:], self._random.randint(*SERVICES) - 1)]
        return [MadeService(name, 0) for name in names]

    def _connect(self, topology: MadeTopology) -> None:
        """A tree, and some services that several others call."""
        placed = [topology.services[0]]
        for service in topology.services[1:]:
            room = [p for p in placed if p.level < MOST_DEPTH and len(list(p.calls())) < MOST_FAN_OUT]
            # seldom deeper than needed: every level adds the same waiting to everything above
            parent = min(self._random.sample(room, min(2, len(room))), key=lambda each: each.level)
            service.level = parent.level + 1
            parent.versions[0].steps.append([self._call(service.name)])
            placed.append(service)
        topology.services.sort(key=lambda each: each.level)
        for _ in range(self._random.randint(0, len(placed) // 5)):
            source, target = self._random.sample(placed, 2)
            calls = list(source.calls())
            if source.level >= target.level or len(calls) >= MOST_FAN_OUT or any(c.to == target.name for c in calls):
                continue
            source.versions[0].steps.append([self._call(target.name)])
            if most_calls(topology) > MOST_CALLS // 2:
                source.versions[0].steps.pop()

    def _call(self, to: str) -> MadeCall:
        method = self._random.choices(("GET", "POST", "PATCH", "PUT", "DELETE"), (70, 16, 6, 4, 4))[0]
        path = self._random.choice(("/", f"/{to}", "/v2/items"))
        on_failure = self._random.choices(("omit", "default", "fail", "raw", "bug"), (28, 20, 32, 12, 8))[0]
        return MadeCall(to, method=method, path=path, on_failure=on_failure)

    def _group(self, service: MadeService) -> None:
        """Some calls at the same time; work of its own."""
        version = service.versions[0]
        steps: list[list[MadeCall]] = []
        for step in version.steps:
            if steps and self._chance(0.35):
                steps[-1].extend(step)
            else:
                steps.append(step)
        version.steps = steps
        version.work = self._random.choice((0, 0, 1, 2, 5, 10))
        version.cancels = bool(steps) and self._chance(0.15)

    def _versions(self, service: MadeService) -> None:
        """Further versions begin as the first; what `_retries` and `_timeouts` choose may differ."""
        for number in range(2, self._random.choices((1, 2, 3), (76, 20, 4))[0] + 1):
            version = copy.deepcopy(service.versions[0])
            version.name = f"v{number}"
            version.work = self._random.choice((version.work, 3))
            if version.steps and self._chance(0.15):
                version.cancels = not version.cancels
            if len(version.steps) > 1 and self._chance(0.1):
                version.steps.pop()  # a version that does not call it
            service.versions.append(version)

    def _second_path(self, topology: MadeTopology) -> None:
        """One of the entry's calls is made for another path only."""
        entry = topology.services[0]
        targets = sorted({call.to for call in entry.calls()})
        if len(targets) < 2 or not self._chance(0.25):
            return
        target = self._random.choice(targets)
        for call in entry.calls():
            if call.to == target:
                call.paths = (CHECKOUT,)

    def _retries(self, topology: MadeTopology) -> None:
        """As many as sixty calls for one request allow."""
        for service in topology.services:
            for place, first in enumerate(service.versions[0].calls()):
                alike = [call for version in service.versions for call in _same(version, first)]
                if self._chance(0.4):
                    self._retry(alike)
                elif place == 0 and len(alike) > 1 and self._chance(0.3):
                    self._retry(alike[1:])  # the later versions alone
                while any(call.attempts for call in alike) and most_calls(topology) > MOST_CALLS:
                    for call in alike:
                        call.attempts = max(0, call.attempts - 1)

    def _retry(self, calls: list[MadeCall]) -> None:
        attempts = self._random.choices((1, 2, 3), (50, 30, 20))[0]
        on = self._random.choice(
            (
                ("timeout", "connect", "5xx"),
                ("5xx",),
                ("timeout",),
                ("timeout", "5xx"),
                ("connect", "5xx"),
                ("connect",),
            )
        )
        backoff = self._random.choice((0, 0, 60, 100, 200))
        growth = self._random.choice((1.0, 1.5, 2.0)) if backoff else 1.0
        for call in calls:
            call.attempts, call.on, call.backoff, call.growth = attempts, on, backoff, growth

    def _timeouts(self, topology: MadeTopology) -> None:
        """From the entry down, so that what a caller waits is known where its callee's patience is chosen."""
        healthy = latencies(topology)
        waited: dict[str, list[MadeCall]] = {service.name: [] for service in topology.services}
        for service in topology.services:
            for first in service.versions[0].calls():
                together = len(service.versions) == 1 or self._chance(0.7)
                alike = [(version, call) for version in service.versions for call in _same(version, first)]
                chosen: int | None = None
                for place, (version, call) in enumerate(alike):
                    if place == 0 or not together:
                        chosen = self._timeout(version, call, waited[service.name], floor(call, healthy))
                    call.timeout = chosen
            for call in service.calls():
                waited[call.to].append(call)

    def _timeout(self, version: MadeVersion, call: MadeCall, above: list[MadeCall], least: float) -> int | None:
        clocks = [clock for each in above for clock in (each.timeout, each.series) if clock not in (None, float("inf"))]
        patience = min([each.timeout for each in above if each.timeout is not None], default=None)
        fits = [each for each in _TIMEOUTS if each >= least]
        if self._chance(0.97):  # seldom a race
            fits = [each for each in fits if not self._races(call, each, [float(c) for c in clocks if c is not None])]
        if version.cancels and patience is not None and self._chance(0.9):
            fits = [each for each in fits if each < patience]
        elif patience is not None and self._chance(0.7):
            fits = [each for each in fits if each < patience] or fits
        hasty = version.cancels and patience is not None
        if not fits or (not hasty and self._chance(0.25)):
            return _BEYOND if self._chance(0.1) else None
        timeout = self._random.choice(fits[:5])
        if timeout >= 3500 and call.attempts > 1:
            timeout = self._random.choice([each for each in fits if each < 3500] or [timeout])
        return timeout

    def _races(self, call: MadeCall, timeout: int, clocks: list[float]) -> bool:
        tried = copy.copy(call)
        tried.timeout = timeout
        return any(max(a, b) < _CLOSE * min(a, b) for a in (timeout, tried.series) for b in clocks)

    def _repeat_unsafely(self, topology: MadeTopology) -> None:
        """Now and then a call that must not be made twice is, though its callee only waits for its own callee."""
        for service in topology.services:
            for call in service.calls():
                below = [each for version in topology.service(call.to).versions for each in version.calls()]
                lasting = call.timeout and any((each.timeout or _BEYOND) > 1.6 * call.timeout for each in below)
                if lasting and call.attempts and self._chance(0.4):
                    for alike in (each for version in service.versions for each in _same(version, call)):
                        if alike.attempts and alike.timeout:
                            alike.on = ("timeout", "connect", "5xx")
                    self._rename(service, call)

    def _rename(self, service: MadeService, call: MadeCall) -> None:
        """CALL is a POST from now on, in every version."""
        for alike in [each for version in service.versions for each in _same(version, call)]:
            alike.method = "POST"

    def _limits(self, topology: MadeTopology) -> None:
        """Workers and pools: more than an exploration has at once, but for one small one at the entry."""
        for service in topology.services:
            if self._chance(0.2):
                workers = self._random.choice((16, 24, 32))
                for version in service.versions:
                    version.workers = workers
            for first in service.versions[0].calls():
                if self._chance(0.15):
                    pool = self._random.choice((8, 12, 16))
                    for version in service.versions:
                        for call in _same(version, first):
                            call.pool = pool
        leaves = [service for service in topology.services[1:] if not list(service.calls())]
        if leaves and self._chance(0.2):
            self._random.choice(leaves).versions[0].replicas = 2
        entry = topology.services[0]
        apart = [call for call in entry.calls() if call.paths]
        if apart:
            # clear of sixteen requests at once, whether they starve the others or not
            room, few = self._random.choice(((8, None), (None, 8), (8, 4), (32, 6), (None, None)))
            for version in entry.versions:
                version.workers = room
            for call in apart:
                call.pool = few

    def _breakers(self, topology: MadeTopology) -> None:
        """At most one on each way from the entry down: two would hide each other."""
        above: dict[str, bool] = {service.name: False for service in topology.services}
        for service in topology.services:
            for first in service.versions[0].calls():
                alike = [call for version in service.versions for call in _same(version, first)]
                simple = all(version.replicas == 1 for version in service.versions)
                free = not above[service.name] and not any(c.breaker for c in _below(topology, first.to))
                if simple and free and self._chance(0.12):
                    words = (self._random.choice((5, 6, 8)), self._random.choice((2000, 3000, 5000)))
                    for call in alike:
                        call.breaker = words
                for call in alike:
                    above[call.to] = above[call.to] or above[service.name] or call.breaker is not None

    def _break_propagation(self, topology: MadeTopology) -> None:
        """Now and then one caller of leaves passes no header on."""
        if not self._chance(0.3):
            return
        callers = [
            service
            for service in topology.services[1:]
            if list(service.calls()) and not any(list(topology.service(c.to).calls()) for c in service.calls())
        ]
        if callers:
            for version in self._random.choice(callers).versions:
                version.forwards = False


def _same(version: MadeVersion, call: MadeCall) -> list[MadeCall]:
    """VERSION's own call of the same operation: one, or none where this version does not make it."""
    return [c for c in version.calls() if (c.to, c.method, c.path) == (call.to, call.method, call.path)]


def _below(topology: MadeTopology, name: str) -> list[MadeCall]:
    calls = list(topology.service(name).calls())
    return [*calls, *(below for to in sorted({call.to for call in calls}) for below in _below(topology, to))]
