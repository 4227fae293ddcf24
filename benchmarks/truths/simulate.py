"""A simulator of topology files, word by word: what a request from the entry meets while calls are delayed or aborted.

Marked requests meet the faults; the mark goes on where a version forwards `traceparent` and `tracestate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from chaosmesh_ext.model.topology import Breaker, Call, Service, Topology, Version
from truths.kernel import Cancelled, Kernel, Line, Process, Signal, Task
from truths.story import Abort, Attempt, Delay, Faults, Served, Story, Visit, operation

__all__ = ["HOP", "Simulation", "simulate"]

HOP = 0.002
"""Seconds that a call takes on its way, there and back, through two idle sidecars (measured: 0.2 to 3 ms)."""

_MARK = {"traceparent", "tracestate"}


class _Circuit:
    """An application's breaker on one of its calls."""

    def __init__(self, words: Breaker | None, kernel: Kernel) -> None:
        self._words = words
        self._kernel = kernel
        self._in_a_row = 0
        self._opened: float | None = None
        self._probing = False

    @property
    def shut(self) -> bool:
        """Nothing may go through now."""
        if self._words is None or self._opened is None:
            return False
        return self._probing or self._kernel.now < self._opened + self._words.open

    def enter(self) -> bool:
        """One goes through; whether it is the one that a half-open breaker lets through."""
        self._probing = self._opened is not None
        return self._probing

    def leave(self, *, failed: bool | None, probe: bool) -> None:
        """One that went through has ended; failed: None where it was called off."""
        if self._words is None or (self._opened is not None and not probe):
            return  # while it is open, only the probe speaks
        if probe:
            self._probing = False
        if failed is None:
            return
        if not failed:
            self._opened, self._in_a_row = None, 0
            return
        self._in_a_row += 1
        if probe or self._in_a_row >= self._words.failures:
            self._opened, self._in_a_row = self._kernel.now, 0


class _Replica:
    """One process of a version."""

    def __init__(self, service: Service, version: Version, kernel: Kernel) -> None:
        self.service = service
        self.version = version
        self.workload = f"{service.name}-{version.name}"
        self.workers = Line(kernel, version.workers)
        self.calls = list(version.calls())
        self.pools = [Line(kernel, call.pool) for call in self.calls]
        self.circuits = [_Circuit(call.breaker, kernel) for call in self.calls]


class _Answer:
    """What came back. body: JSON, or None for a stack trace."""

    def __init__(self, status: int, body: Mapping[str, Any] | None) -> None:
        self.status = status
        self.body = body


class _Result:
    """What a call came to in the end. status: 0 when none came."""

    def __init__(self, *, failed: bool, status: int, body: Mapping[str, Any] | None = None) -> None:
        self.failed = failed
        self.status = status
        self.body = body


class _Request:
    """A request at a workload, while it is served."""

    def __init__(self, number: int, replica: _Replica, path: str, parent: int | None, *, marked: bool) -> None:
        self.id = number
        self.replica = replica
        self.path = path
        self.parent = parent
        self.marked = marked
        self.began: float | None = None
        self.gone: float | None = None
        self.task: Task


class Simulation:
    """A mesh at work.

    faults: in force all the time, for marked requests. versions: of each service, the version that serves; the first
    one where none is named; or a function of the service's name and how many requests it got before. hop: seconds for
    a call's way there and back.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        faults: Faults | None = None,
        versions: Mapping[str, str] | Callable[[str, int], str] | None = None,
        hop: float = HOP,
    ) -> None:
        self.kernel = Kernel()
        self._topology = topology
        self._faults = dict(faults or {})
        self._versions = versions or {}
        self._hop = hop / 2
        self._replicas: dict[tuple[str, str], list[_Replica]] = {}
        self._arrivals: dict[str, int] = {}
        self._to_version: dict[tuple[str, str], int] = {}
        self._number = 0
        self._visits: list[Visit] = []
        self._attempts: list[Attempt] = []
        self._served: list[Served] = []
        for service in topology.services:
            for version in service.versions:
                if version.app or version.command:
                    raise ValueError(f"{service.name}-{version.name} is a program, which no simulator knows")
                self._replicas[service.name, version.name] = [
                    _Replica(service, version, self.kernel) for _ in range(version.replicas)
                ]

    def visit(self, path: str = "/", *, at: float = 0.0, marked: bool = True) -> None:
        """A user's request to PATH of the entry, so many seconds from now, waited for as long as it takes."""

        def come() -> None:
            self.kernel.spawn(self._visit(path, marked))

        self.kernel.after(at, come)

    def run(self, until: float = float("inf")) -> Story:
        """Let it happen, until everybody is done or up to a moment, and tell it."""
        self.kernel.run(until)
        return Story(
            tuple(self._visits),
            tuple(sorted(self._attempts, key=lambda each: (each.start, each.request, each.call, each.number))),
            tuple(sorted(self._served, key=lambda each: each.id)),
        )

    def _visit(self, path: str, marked: bool) -> Process:
        start = self.kernel.now
        answer: _Answer = yield from self._send(self._topology.entry, path, None, marked)
        self._visits.append(Visit(path, start, self.kernel.now, answer.status, answer.body))

    def _send(self, service: str, path: str, parent: int | None, marked: bool) -> Process:
        """A request on its way to SERVICE and its answer back; called off when its caller hangs up."""
        yield self.kernel.sleep(self._hop)
        request = self._arrive(service, path, parent, marked)
        try:
            answer: _Answer = yield request.task
        except Cancelled:
            request.gone = self.kernel.now
            if request.replica.version.on_caller_gone == "cancel":
                request.task.cancel()
            raise
        yield self.kernel.sleep(self._hop)
        return answer

    def _arrive(self, service: str, path: str, parent: int | None, marked: bool) -> _Request:
        before = self._arrivals.get(service, 0)
        self._arrivals[service] = before + 1
        if callable(self._versions):
            version = self._versions(service, before)
        else:
            version = self._versions.get(service) or self._topology.service(service).versions[0].name
        replicas = self._replicas[service, version]
        turn = self._to_version.get((service, version), 0)
        self._to_version[service, version] = turn + 1
        self._number += 1
        request = _Request(self._number, replicas[turn % len(replicas)], path, parent, marked=marked)
        request.task = self.kernel.spawn(self._serve(request, self.kernel.now))
        return request

    def _serve(self, request: _Request, arrived: float) -> Process:
        replica = request.replica
        answer = _Answer(0, None)
        ticket = replica.workers.join()
        try:
            yield ticket
            request.began = self.kernel.now
            answer = yield from self._work(request)
            return answer
        finally:
            replica.workers.leave(ticket)
            self._served.append(
                Served(
                    id=request.id,
                    workload=replica.workload,
                    service=replica.service.name,
                    path=request.path,
                    parent=request.parent,
                    marked=request.marked,
                    arrived=arrived,
                    began=request.began,
                    end=self.kernel.now,
                    gone=request.gone,
                    status=answer.status,
                )
            )

    def _work(self, request: _Request) -> Process:
        replica = request.replica
        version = replica.version
        if version.work:
            yield self.kernel.sleep(version.work)
        names = {"service": replica.service.name, "version": version.name}
        sections: dict[str, Any] = {}
        place = 0
        for step in version.steps:
            made: list[tuple[Call, Task]] = []
            for call in step:
                if call.paths is None or request.path in call.paths:
                    made.append((call, self.kernel.spawn(self._call(request, place))))
                place += 1
            ending: tuple[Call, _Result] | None = None
            for call, task in made:
                try:
                    result: _Result = yield task
                except Cancelled:
                    for _, other in made:
                        other.cancel()
                    raise
                if not result.failed:
                    sections[_section(version, call)] = result.body
                elif call.on_failure == "omit":
                    sections[_section(version, call)] = None
                elif call.on_failure == "default":
                    sections[_section(version, call)] = {"default": True}
                elif ending is None:
                    ending = call, result
            if ending is not None:
                call, result = ending
                if call.on_failure == "bug":
                    return _Answer(500, None)
                came = result.status if call.on_failure == "raw" else 0
                return _Answer(came or 502, {**names, "failed": call.to})
        return _Answer(version.status, {**names, "sections": sections})

    def _call(self, request: _Request, place: int) -> Process:
        """All attempts of one call."""
        call = request.replica.calls[place]
        left = call.retries.attempts if call.retries else 0
        pause = call.retries.backoff if call.retries else 0.0
        number = 0
        while True:
            result, why = yield from self._attempt(request, place, number)
            if why is None or not left or call.retries is None or why not in call.retries.on:
                return result
            if pause:
                yield self.kernel.sleep(pause)
            left, pause, number = left - 1, pause * call.retries.growth, number + 1

    def _attempt(self, request: _Request, place: int, number: int) -> Process:
        """One attempt: what the call came to, and what may be tried again about it."""
        replica = request.replica
        call, circuit, pool = replica.calls[place], replica.circuits[place], replica.pools[place]
        if circuit.shut:
            return _Result(failed=True, status=0), None
        ticket = pool.join()
        try:
            yield ticket
            if circuit.shut:  # it opened while this one waited
                return _Result(failed=True, status=0), None
            probe = circuit.enter()
            marked = request.marked and set(replica.version.forwards) >= _MARK
            start = self.kernel.now
            sent = self.kernel.spawn(self._faulted(request, call, marked))
            over: list[Signal] = [sent]
            if call.timeout is not None:
                over.append(self.kernel.sleep(call.timeout))
            try:
                yield self.kernel.first(*over)
            except Cancelled:
                sent.cancel()
                circuit.leave(failed=None, probe=probe)
                self._seen(request, place, number, start, "called off", 0, marked)
                raise
            if not sent.happened:
                sent.cancel()
                circuit.leave(failed=True, probe=probe)
                self._seen(request, place, number, start, "timeout", 0, marked)
                return _Result(failed=True, status=0), "timeout"
            answer: _Answer = sent.value
            circuit.leave(failed=answer.status >= 500, probe=probe)
            self._seen(request, place, number, start, "answered", answer.status, marked)
        finally:
            pool.leave(ticket)
        if answer.status >= 400:
            return _Result(failed=True, status=answer.status), "5xx" if answer.status >= 500 else None
        return _Result(failed=False, status=answer.status, body=answer.body), None

    def _faulted(self, request: _Request, call: Call, marked: bool) -> Process:
        fault = self._faults.get((request.replica.workload, call.to)) if marked else None
        if isinstance(fault, Abort):
            yield self.kernel.sleep(self._hop)
            return _Answer(fault.status, None)
        if isinstance(fault, Delay):
            yield self.kernel.sleep(fault.seconds)
        answer: _Answer = yield from self._send(call.to, call.path, request.id, marked)
        return answer

    def _seen(
        self,
        request: _Request,
        place: int,
        number: int,
        start: float,
        ended: Literal["answered", "timeout", "called off"],
        status: int,
        marked: bool,
    ) -> None:
        replica = request.replica
        call = replica.calls[place]
        faulted = marked and (replica.workload, call.to) in self._faults
        said = operation(call.method, call.path)
        self._attempts.append(
            Attempt(
                source=replica.workload,
                destination=call.to,
                operation=said,
                call=place,
                request=request.id,
                number=number,
                start=start,
                end=self.kernel.now,
                ended=ended,
                status=status,
                faulted=faulted,
                marked=marked,
            )
        )


def simulate(
    topology: Topology,
    path: str = "/",
    faults: Faults | None = None,
    versions: Mapping[str, str] | Callable[[str, int], str] | None = None,
    hop: float = HOP,
) -> Story:
    """One marked request to PATH of the entry, to the end of everything that it set going."""
    simulation = Simulation(topology, faults=faults, versions=versions, hop=hop)
    simulation.visit(path)
    return simulation.run()


def _section(version: Version, call: Call) -> str:
    """The callee's name, with method and path where the version calls it in several ways."""
    several = sum(other.to == call.to for other in version.calls()) > 1
    return f"{call.to} {call.method} {call.path}" if several else call.to
