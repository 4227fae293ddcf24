"""What traces say about a fault: met on its edge, or somewhere else. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from chaosmesh_ext.istio.matches import may_match
from chaosmesh_ext.mesh import Place
from chaosmesh_ext.model import Span, Trace, Workload

__all__ = ["INJECTED", "Shows", "Watched", "arrived", "elsewhere", "injected", "met", "on_arrival"]

INJECTED: Final = frozenset({"DI", "FI"})
"""Envoy's flags of an injected delay and an injected abort."""


class Watched(msgspec.Struct, frozen=True):
    """The calls that a fault is meant for. gateway: the sources are gateways, whose calls are what came in by them for
    the destination.

    sources: the callers, empty for all of `namespace`. destination: the service's name. match: an Istio
    HTTPMatchRequest that narrows them. instead: services to which these calls may go in its stead, as spans say.
    """

    sources: tuple[Workload, ...]
    destination: str
    namespace: str
    match: Mapping[str, Any] = {}
    gateway: bool = False
    instead: frozenset[str] = frozenset()

    @classmethod
    def of(cls, place: Place) -> Watched:
        """The calls of a PLACE."""
        source = place.source
        if source and source.gateway_api:  # what came in by it is sent on, to whom its rules say
            instead = frozenset(place.versions)
            return cls(source.workloads, place.destination.service, source.namespace, place.match, instead=instead)
        return cls(
            source.workloads if source else (),
            place.destination.service,
            place.namespace,
            place.match,
            bool(source and source.gateway),
        )

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.sources)) or 'every caller'} → {self.destination}"

    def has(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN of TRACE is such a call: a caller's proxy reported it as one that it sent.

        A gateway that sends a request nowhere has no CLIENT span for it: there the call is what it received, unless it
        sent that elsewhere.
        """
        if self.gateway:
            where = {(source.service, source.namespace) for source in self.sources}
            if span.kind != "SERVER" or (span.workload.service, span.workload.namespace) not in where:
                return False
            sent = {child.peer for child in trace.children(span) if child.kind == "CLIENT"}
            return not sent or self.destination in sent
        if (span.kind, span.workload.namespace) != ("CLIENT", self.namespace):
            return False
        if span.peer != self.destination and span.peer not in self.instead:
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
        return [span for span in trace.spans if self.has(span, trace)]


Shows = Callable[[Span, Trace], bool]
"""Whether a call, a CLIENT span of a trace, met a fault."""


def met(watched: Watched, traces: Iterable[Trace], shows: Shows) -> Iterator[Span]:
    """The watched calls in TRACES in which the fault SHOWS."""
    return (span for trace in traces for span in watched.calls(trace) if shows(span, trace))


def injected(span: Span, trace: Trace) -> bool:
    """Whether the caller's sidecar injected a fault into the call SPAN of TRACE."""
    del trace
    return not INJECTED.isdisjoint(span.flags)


def arrived(span: Span, trace: Trace) -> bool:
    """Whether the called sidecar reported the arrival of the call SPAN."""
    return any(child.kind == "SERVER" and child.proxy for child in trace.children(span))


def on_arrival(shows: Shows) -> Shows:
    """Whether a fault that SHOWS in a span was met where the call arrived: in the SERVER span of the called sidecar."""
    return lambda span, trace: any(
        child.kind == "SERVER" and child.proxy and shows(child, trace) for child in trace.children(span)
    )


def elsewhere(traces: Iterable[Trace], watched: Sequence[Watched], shows: Shows = injected) -> dict[str, str]:
    """Faults that show on no WATCHED call: the call, and a trace that shows it.

    SHOWS: how the fault shows in a call. A gateway reports a call into which one was injected as its own SERVER span.
    """
    found: dict[str, str] = {}
    for trace in traces:
        for span in trace.spans:
            if any(_is_of(span, trace, one) for one in watched):
                continue
            if injected(span, trace) or (span.kind == "CLIENT" and shows(span, trace)):
                found.setdefault(f"{span.workload} → {span.peer or span.path}", span.trace_id)
    return found


def _is_of(span: Span, trace: Trace, watched: Watched) -> bool:
    """Whether SPAN is a watched call, or its arrival; one whose caller has not reported yet may be."""
    if watched.has(span, trace):
        return True
    above = trace.parent(span)
    if span.kind != "SERVER" or above is not None:
        return above is not None and span.kind == "SERVER" and watched.has(above, trace)
    return span.workload.service == watched.destination
