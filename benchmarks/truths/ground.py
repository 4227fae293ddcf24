"""The ground that truth is found on: every call that a marked request makes, and what it meets in each cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Final

import msgspec

from chaosmesh_ext.model.topology import Call, Service, Topology, Version
from truths.simulate import simulate
from truths.story import Abort, Attempt, Delay, Fault, Served, Story, operation

__all__ = ["Context", "Ground", "Site", "close_clocks", "series"]

_MOST_CONTEXTS: Final = 8
"""Versions of callers that are gone through in full; where there are more, each version is at least met."""

_SKEWS: Final = (1.0, 0.8, 1.25)
"""Everybody else's timeouts, as the file says and a quarter off: what then comes out otherwise was a race."""


class Site(msgspec.Struct, frozen=True, order=True):
    """One operation that a workload calls."""

    source: str
    destination: str
    operation: str


class Context(msgspec.Struct, frozen=True):
    """A request: to which path of the entry, and which version of each service serves it."""

    path: str
    versions: Mapping[str, str]
    healthy: Story


class Cell(msgspec.Struct, frozen=True):
    """What a request in CONTEXT meets while a site is faulted. skew: see `_SKEWS`."""

    context: Context
    story: Story
    skew: float


class Ground:
    """A topology under exploration by requests to PATHS of its entry, with delays of DELAY seconds and aborts."""

    def __init__(self, topology: Topology, paths: Sequence[str], delay: float, status: int) -> None:
        self.topology = topology
        self.paths = tuple(paths)
        self.delay = delay
        self.status = status
        self._cells: dict[tuple[str, str, Fault], list[Cell]] = {}
        self._skewed: dict[tuple[str, str, float], Topology] = {}
        self._words: dict[str, tuple[Service, Version]] = {
            f"{service.name}-{version.name}": (service, version)
            for service in topology.services
            for version in service.versions
        }

    @property
    def workloads(self) -> frozenset[str]:
        return frozenset(self._words)

    def service(self, workload: str) -> Service:
        return self._words[workload][0]

    def version(self, workload: str) -> Version:
        return self._words[workload][1]

    def call(self, site: Site) -> Call:
        """The words of SITE: the first entry that a request makes, where several have one operation."""
        return next(
            call
            for call in self.version(site.source).calls()
            if (call.to, operation(call.method, call.path)) == (site.destination, site.operation)
        )

    @cached_property
    def callers(self) -> Mapping[str, frozenset[str]]:
        """Services from which each service can be reached, itself among them."""
        above: dict[str, set[str]] = {service.name: {service.name} for service in self.topology.services}
        changed = True
        while changed:
            changed = False
            for service in self.topology.services:
                for call in (call for version in service.versions for call in version.calls()):
                    new = above[service.name] - above[call.to]
                    changed = changed or bool(new)
                    above[call.to] |= new
        return {name: frozenset(found) for name, found in above.items()}

    def contexts(self, workload: str) -> list[Context]:
        """Requests that WORKLOAD may serve, over the versions of everybody above it."""
        return self._contexts[workload]

    @cached_property
    def _contexts(self) -> dict[str, list[Context]]:
        healthy: dict[tuple[str, tuple[tuple[str, str], ...]], Story] = {}
        found: dict[str, list[Context]] = {}
        for workload, (service, version) in self._words.items():
            above = sorted(self.callers[service.name] - {service.name})
            found[workload] = []
            for path, others in product(self.paths, self._choices(above)):
                versions = {**others, service.name: version.name}
                key = path, tuple(sorted(versions.items()))
                if key not in healthy:
                    healthy[key] = simulate(self.topology, path, versions=versions)
                story = healthy[key]
                if any(served.workload == workload for served in story.served):
                    found[workload].append(Context(path, versions, story))
        return found

    def _choices(self, services: Sequence[str]) -> Iterator[dict[str, str]]:
        names = [[version.name for version in self.topology.service(each).versions] for each in services]
        total = 1
        for each in names:
            total *= len(each)
        if total <= _MOST_CONTEXTS:
            rows: list[tuple[str, ...]] = list(product(*names))
        else:
            rows = [tuple(each[(turn + at) % len(each)] for at, each in enumerate(names)) for turn in range(6)]
        for row in dict.fromkeys(rows):
            yield dict(zip(services, row, strict=True))

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Every call that marked requests make, their mark with it."""
        return self._found(marked=True)

    @cached_property
    def lost(self) -> tuple[Site, ...]:
        """Every call that requests make on which the mark never is."""
        return tuple(sorted(set(self._found(marked=False)) - set(self.sites)))

    @cached_property
    def breaks(self) -> tuple[Site, ...]:
        """The calls on which the mark is lost: their caller still had it."""
        found = set()
        for workload in self._words:
            for context in self.contexts(workload):
                marked = {served.id for served in context.healthy.served if served.marked}
                for each in context.healthy.attempts:
                    if each.source == workload and each.request in marked and not each.marked:
                        found.add(_site(each))
        return tuple(sorted(found))

    def _found(self, *, marked: bool) -> tuple[Site, ...]:
        return tuple(
            sorted(
                {
                    _site(each)
                    for workload in self._words
                    for context in self.contexts(workload)
                    for each in context.healthy.attempts
                    if each.source == workload and each.marked == marked
                }
            )
        )

    def slow(self, site: Site) -> list[Cell]:
        """The cells of a delay on SITE's calls, in every context, with everybody else's clocks right and skewed."""
        return self.cells(site, Delay(self.delay), _SKEWS)

    def failing(self, site: Site) -> list[Cell]:
        """The cells of an abort."""
        return self.cells(site, Abort(self.status), (1.0,))

    def cells(self, site: Site, fault: Fault, skews: Sequence[float]) -> list[Cell]:
        """What requests that make SITE's call meet while FAULT acts on all calls of its source to its destination."""
        key = site.source, site.destination, fault
        if key not in self._cells:
            self._cells[key] = [
                Cell(context, self._story(context, key, skew), skew)
                for context in self.contexts(site.source)
                if context.healthy.on(site.source, site.destination)
                for skew in skews
            ]
        return [each for each in self._cells[key] if on(each.context.healthy, site)]

    def _story(self, context: Context, at: tuple[str, str, Fault], skew: float) -> Story:
        source, destination, fault = at
        service = self.service(source).name
        topology = self._skew(service, destination, skew)
        return simulate(topology, context.path, {(source, destination): fault}, context.versions)

    def _skew(self, service: str, destination: str, skew: float) -> Topology:
        """The topology with every timeout but those of SERVICE for DESTINATION so many times longer."""
        if skew == 1:
            return self.topology
        key = service, destination, skew
        if key not in self._skewed:
            services = [
                _with_versions(each, destination if each.name == service else "", skew)
                for each in self.topology.services
            ]
            self._skewed[key] = msgspec.structs.replace(self.topology, services=tuple(services))
        return self._skewed[key]

    def above(self, site: Site) -> list[tuple[Site, Call]]:
        """The calls by which requests come to SITE's source, where they go on to make its call."""
        found: dict[Site, Call] = {}
        for context in self.contexts(site.source):
            story = context.healthy
            served = {each.id: each for each in story.served}
            for each in on(story, site):
                caller = served[each.request]
                if caller.parent is None:
                    continue
                parent = served[caller.parent]
                for call in self.version(parent.workload).calls():
                    if call.to == self.service(site.source).name and call.path == caller.path:
                        found[Site(parent.workload, call.to, operation(call.method, call.path))] = call
        return sorted(found.items(), key=lambda pair: pair[0])


def on(story: Story, site: Site) -> list[Attempt]:
    """The marked attempts of SITE's call."""
    return [each for each in story.on(site.source, site.destination, site.operation) if each.marked]


def by_request(story: Story, site: Site) -> list[tuple[Served, list[Attempt]]]:
    """The attempts of SITE's call, by the request that they were made for."""
    found: dict[int, list[Attempt]] = {}
    for each in on(story, site):
        found.setdefault(each.request, []).append(each)
    served = {each.id: each for each in story.served}
    return [(served[request], made) for request, made in found.items()]


def series(call: Call) -> float:
    """Seconds that all attempts of CALL on a callee that never answers take; endless without a timeout."""
    if call.timeout is None:
        return float("inf")
    retries = call.retries
    again = retries.attempts if retries is not None and "timeout" in retries.on else 0
    pauses = sum(retries.backoff * retries.growth**turn for turn in range(again)) if retries else 0.0
    return call.timeout * (1 + again) + pauses


def close_clocks(one: float | None, other: float | None) -> bool:
    """Whether two timeouts are within 25 % of each other, the longer one being the whole."""
    if one is None or other is None or float("inf") in (one, other):
        return False
    return min(one, other) >= 0.75 * max(one, other) - 1e-9


def _site(attempt: Attempt) -> Site:
    return Site(attempt.source, attempt.destination, attempt.operation)


def _with_versions(service: Service, keep: str, skew: float) -> Service:
    versions = [
        msgspec.structs.replace(
            version, steps=tuple(tuple(_longer(call, keep, skew) for call in step) for step in version.steps)
        )
        for version in service.versions
    ]
    return msgspec.structs.replace(service, versions=tuple(versions))


def _longer(call: Call, keep: str, skew: float) -> Call:
    if call.timeout is None or call.to == keep:
        return call
    return msgspec.structs.replace(call, timeout=call.timeout * skew)
