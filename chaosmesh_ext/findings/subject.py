"""Subjects: what a rule is asked about, one operation on one edge, with every cell that faulted it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import msgspec

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.findings.endings import goes_on
from chaosmesh_ext.model import Answer, Cell, Condition, Edge, Injected

__all__ = ["Subject", "Trial", "subjects"]


class Trial(msgspec.Struct, frozen=True, dict=True):
    """What one cell shows of the subject: every call on it, in order of start; those that met the fault apart."""

    injected: Injected
    calls: tuple[Call, ...]

    @cached_property
    def faulted(self) -> tuple[Call, ...]:
        return tuple(call for call in self.calls if call.faulted)

    def spared(self, call: Call) -> bool:
        """Whether CALL's request also tried a version of the caller that this fault spares: it may have got through."""
        source = call.edge.source
        tried = call.trace.versions.get((source.namespace, source.service), frozenset())
        others = [msgspec.structs.replace(call.edge, source=msgspec.structs.replace(source, version=v)) for v in tried]
        return not all(edge == call.edge or self.injected.covers(edge) for edge in others)

    @property
    def condition(self) -> Condition:
        """A delay makes the callee slow, an abort makes it answer with a status."""
        return "slow" if self.injected.kind == "delay" else "status"

    @property
    def trigger(self) -> str:
        """The failure in a reader's words, e.g. ``503`` or ``UNAVAILABLE``."""
        return self.injected.grpc_status or str(self.injected.status)


class Subject(msgspec.Struct, frozen=True, dict=True):
    """One operation on one edge.

    trials: the cells in which it met a fault. around: every call of the same workload that met a delay, whatever the
    edge, for what only shows over several edges.
    """

    edge: Edge
    operation: str
    baseline: Baseline
    trials: tuple[Trial, ...]
    around: tuple[Call, ...]

    @cached_property
    def eps(self) -> float:
        return self.baseline.eps(self.edge, self.operation)

    @cached_property
    def nested(self) -> bool:
        return self.baseline.nested(self.edge, self.operation)

    @cached_property
    def goes_on(self) -> bool:
        """Whether A is known to go on working when its own caller has left."""
        return goes_on(self.around, self.eps)

    def of(self, condition: Condition) -> tuple[Trial, ...]:
        """The trials under CONDITION."""
        return tuple(trial for trial in self.trials if trial.condition == condition)

    def slow(self) -> list[Call]:
        """The calls that met a delay, over all cells together: one edge has one timeout, whatever was injected."""
        return [call for trial in self.of("slow") for call in trial.faulted]

    def answers(self, made: Sequence[Call]) -> list[Answer]:
        """What the users of MADE got, one answer a request."""
        return list({call.answer.trace_id: call.answer for call in made}.values())


def subjects(baseline: Baseline, cells: Sequence[Cell], calls: Mapping[str, Sequence[Call]]) -> Iterator[Subject]:
    """Everything that met a fault in CELLS, in a stable order. calls: of each cell, by its id, in order of start."""
    found: dict[tuple[Edge, str], list[Trial]] = defaultdict(list)
    around: dict[object, list[Call]] = defaultdict(list)
    for cell in cells:
        if cell.injected is None:
            continue
        made: dict[tuple[Edge, str], list[Call]] = defaultdict(list)
        for call in calls[cell.id]:
            made[call.edge, call.operation].append(call)
            if call.faulted and call.delay:
                around[call.edge.source].append(call)
        for key, those in made.items():
            trial = Trial(cell.injected, tuple(those))
            if trial.faulted:
                found[key].append(trial)
    for edge, operation in sorted(found):
        trials = tuple(found[edge, operation])
        yield Subject(edge, operation, baseline, trials, tuple(around[edge.source]))
