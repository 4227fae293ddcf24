"""What traces say about a fault: met on its edge, or somewhere else. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from chaosmesh_ext.istio.matches import may_match
from chaosmesh_ext.mesh import Place
from chaosmesh_ext.model import Span, Trace, Workload

__all__ = ["INJECTED", "Watched", "elsewhere", "met"]

INJECTED: Final = frozenset({"DI", "FI"})
"""Envoy's flags of an injected delay and an injected abort."""


class Watched(msgspec.Struct, frozen=True):
    """The calls that a fault is meant for.

    sources: the callers, empty for all of `namespace`. destination: the service's name. match: an Istio
    HTTPMatchRequest that narrows them.
    """

    sources: tuple[Workload, ...]
    destination: str
    namespace: str
    match: Mapping[str, Any] = {}

    @classmethod
    def of(cls, place: Place) -> Watched:
        """The calls of a PLACE."""
        return cls(
            place.source.workloads if place.source else (), place.destination.service, place.namespace, place.match
        )

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.sources)) or 'every caller'} → {self.destination}"

    def has(self, span: Span) -> bool:
        """Whether SPAN is such a call: a caller's proxy reported it as one that it sent."""
        if (span.kind, span.peer, span.workload.namespace) != ("CLIENT", self.destination, self.namespace):
            return False
        return not self.sources or any(
            span.workload.service == source.service and span.workload.version in (source.version, "")
            for source in self.sources
        )

    def could_match(self, span: Span) -> bool:
        """Whether `match` lets SPAN's call through, as far as a trace tells: its path and its method."""
        return may_match(self.match, method=span.method, path=span.path)

    def calls(self, trace: Trace) -> list[Span]:
        """The calls in TRACE that are watched."""
        return [span for span in trace.spans if self.has(span)]


def met(watched: Watched, traces: Iterable[Trace], shows: Callable[[Span], bool]) -> Iterator[Span]:
    """The watched calls in TRACES in which the fault SHOWS."""
    return (span for trace in traces for span in watched.calls(trace) if shows(span))


def elsewhere(traces: Iterable[Trace], watched: Watched | None) -> dict[str, str]:
    """Faults that show where WATCHED is not (anywhere at all when it is None): the call, and a trace that shows it.

    A gateway reports a faulted call as its own SERVER span.
    """
    found: dict[str, str] = {}
    for trace in traces:
        for span in trace.spans:
            if INJECTED.isdisjoint(span.flags) or (watched is not None and watched.has(span)):
                continue
            called = span.peer or span.path
            found.setdefault(f"{span.workload} → {called}", span.trace_id)
    return found
