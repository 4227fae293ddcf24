"""The graph of calls: which workload calls which service, with what operation, how often, and where requests come in.

An exploration finds it in healthy traces; a plan can also be made for one that is given as JSON:

    {"schema": "chaosmesh-ext/graph/v1", "entries": ["frontend"],
     "calls": [{"source": "frontend", "version": "v1", "destination": "cart", "operation": "GET /cart"}]}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model.workload import Edge, Workload

__all__ = ["GRAPH_SCHEMA", "CallSite", "Graph"]

GRAPH_SCHEMA: Final = "chaosmesh-ext/graph/v1"


class CallSite(msgspec.Struct, frozen=True, order=True):
    """One operation that a workload calls on an edge.

    operation: method and normalised path, e.g. ``GET /details/{id}``. calls: m, how often a healthy request that the
    source serves makes it, > 0. url: the entry URL whose requests reach it, empty in a graph that was given. A site
    that the requests of several URLs reach is there once for each of them.
    """

    edge: Edge
    operation: str
    calls: float = 1.0
    url: str = ""


class Graph(msgspec.Struct, frozen=True, dict=True):
    """Call sites, and the services where requests come in.

    entries: service names, e.g. ``istio-ingressgateway``. sites: sorted, each (edge, operation, url) once: use
    `Graph.of`. Services are told apart by their names alone: a callee's namespace is not known. Calls may go round in
    circles.
    """

    entries: tuple[str, ...]
    sites: tuple[CallSite, ...]

    @classmethod
    def of(cls, sites: Iterable[CallSite], entries: Sequence[str] = ()) -> Graph:
        """The graph of SITES; the calls of sites that come twice are added up.

        entries: by default the services that call and that nobody calls.
        """
        calls: dict[tuple[Edge, str, str], float] = {}
        for site in sites:
            key = site.edge, site.operation, site.url
            calls[key] = calls.get(key, 0.0) + site.calls
        merged = (CallSite(edge, operation, each, url) for (edge, operation, url), each in calls.items())
        if not entries:
            entries = sorted({edge.source.service for edge, _, _ in calls} - {edge.destination for edge, _, _ in calls})
        return cls(tuple(dict.fromkeys(entries)), tuple(sorted(merged)))

    @cached_property
    def by_edge(self) -> Mapping[Edge, tuple[CallSite, ...]]:
        """The sites on each edge, both in order."""
        found: dict[Edge, list[CallSite]] = {}
        for site in self.sites:
            found.setdefault(site.edge, []).append(site)
        return {edge: tuple(those) for edge, those in found.items()}

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """In order."""
        return tuple(self.by_edge)

    @cached_property
    def sources(self) -> tuple[Workload, ...]:
        """The workloads that call others, in order."""
        return tuple(dict.fromkeys(edge.source for edge in self.edges))

    @cached_property
    def services(self) -> tuple[str, ...]:
        """Everything that calls or is called, in order."""
        return tuple(sorted({*(s.service for s in self.sources), *(edge.destination for edge in self.edges)}))

    def operations(self, edge: Edge) -> tuple[str, ...]:
        """What is called on EDGE, in order; nothing where there is no such edge."""
        return tuple(dict.fromkeys(site.operation for site in self.by_edge.get(edge, ())))

    def below(self, edge: Edge) -> tuple[CallSite, ...]:
        """The sites that a request may pass after EDGE."""
        reached = self._reached(edge.destination)
        return tuple(site for site in self.sites if reached >> self._number[site.edge.source.service] & 1)

    def above(self, edge: Edge) -> tuple[CallSite, ...]:
        """The sites that a request may have passed before EDGE."""
        return tuple(site for site in self.sites if self.leads(site.edge, edge))

    def reached(self, service: str) -> frozenset[str]:
        """SERVICE and all services that its requests may reach."""
        if service not in self._names:
            reached = self._reached(service)
            self._names[service] = frozenset(name for name, at in self._number.items() if reached >> at & 1)
        return self._names[service]

    def leads(self, first: Edge, then: Edge) -> bool:
        """Whether FIRST lies on a request's path to THEN: what FIRST calls makes the call THEN, or has others make it.

        An edge of a circle leads to itself.
        """
        at = self._number.get(then.source.service)
        return at is not None and bool(self._reached(first.destination) >> at & 1)

    @cached_property
    def reachable(self) -> frozenset[Edge]:
        """The edges that requests from outside may pass."""
        reached = 0
        for entry in self.entries:
            reached |= self._reached(entry)
        return frozenset(edge for edge in self.edges if reached >> self._number[edge.source.service] & 1)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {service: number for number, service in enumerate(self.services)}

    @cached_property
    def _names(self) -> dict[str, frozenset[str]]:
        return {}

    def _reached(self, service: str) -> int:
        """The numbers of SERVICE and of all that its requests may reach, as bits."""
        number = self._number.get(service)
        return 0 if number is None else self._reach[number]

    @cached_property
    def _reach(self) -> list[int]:
        """For each service's number the bits of `_reached`; one pass, and one more for each circle within a circle."""
        number = self._number
        callees: list[set[int]] = [set() for _ in number]
        for edge in self.edges:
            callees[number[edge.source.service]].add(number[edge.destination])
        reach = [1 << each for each in range(len(number))]
        order = _callees_first(callees)
        changed = True
        while changed:
            changed = False
            for each in order:
                bits = reach[each]
                for callee in callees[each]:
                    bits |= reach[callee]
                if bits != reach[each]:
                    reach[each], changed = bits, True
        return reach

    def to_json(self) -> str:
        """The text of a graph file."""
        calls = [
            _Call(
                s.edge.source.service,
                s.edge.destination,
                s.operation,
                *_source(s.edge.source),
                calls=s.calls,
                url=s.url,
            )
            for s in self.sites
        ]
        body = msgspec.json.encode(_File(GRAPH_SCHEMA, list(self.entries), calls))
        return msgspec.json.format(body, indent=2).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, what: str = "graph") -> Graph:
        """The graph in TEXT; raises InvalidInput, one line that names WHAT and the place in it."""
        try:
            file = msgspec.json.decode(text, type=_File)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise InvalidInput(f"{what}: {_said(error, text)}") from None
        if file.schema != GRAPH_SCHEMA:
            raise InvalidInput(f"{what}: schema is {file.schema!r}; a graph's is {GRAPH_SCHEMA!r}")
        sites = [_site(call, f"{what}: calls[{number}]") for number, call in enumerate(file.calls)]
        if not sites:
            raise InvalidInput(f"{what}: calls is empty: there is nothing to plan")
        graph = cls.of(sites, file.entries)
        strangers = [entry for entry in file.entries if entry not in graph._number]
        if strangers:
            raise InvalidInput(f"{what}: entries: {strangers[0]!r} neither calls nor is called")
        if not graph.entries:
            raise InvalidInput(f"{what}: every service is called by another one: say in entries where requests come in")
        return graph


class _Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    source: str
    destination: str
    operation: str
    version: str = ""
    namespace: str = "default"
    calls: float = 1.0
    url: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    entries: list[str] = []
    calls: list[_Call] = []


def _source(source: Workload) -> tuple[str, str]:
    return source.version, source.namespace


def _site(call: _Call, place: str) -> CallSite:
    for key in ("source", "destination", "operation", "namespace"):
        if not getattr(call, key).strip():
            raise InvalidInput(f"{place}.{key} is empty")
    if not (math.isfinite(call.calls) and call.calls > 0):
        raise InvalidInput(f"{place}.calls is {call.calls:g}; it counts the calls of one request, more than 0")
    edge = Edge(Workload(call.source, call.version, call.namespace), call.destination)
    return CallSite(edge, call.operation, call.calls, call.url)


def _said(error: Exception, text: str | bytes) -> str:
    """What is wrong and where: msgspec says ``… - at `$.calls[3].source` ``, or a byte for what is no JSON."""
    words = " ".join(str(error).split())
    if isinstance(error, msgspec.ValidationError):
        reason, _, place = words.partition(" - at ")
        return f"{place.strip('`').removeprefix('$').removeprefix('.') or 'the whole'}: {reason}"
    _, found, byte = words.partition("(byte ")
    if not found:
        return f"not JSON: {words}"
    raw = text.encode() if isinstance(text, str) else text
    line = raw[: int(byte.rstrip(")"))].count(b"\n") + 1
    return f"line {line}: not JSON: {words.partition(' (byte ')[0]}"


def _callees_first(callees: Sequence[Iterable[int]]) -> list[int]:
    """All numbers, each behind those that it leads to but for circles."""
    order: list[int] = []
    seen: set[int] = set()
    for start in range(len(callees)):
        if start in seen:
            continue
        seen.add(start)
        waiting: list[tuple[int, Any]] = [(start, iter(callees[start]))]
        while waiting:
            at, rest = waiting[-1]
            following = next((each for each in rest if each not in seen), None)
            if following is None:
                order.append(at)
                waiting.pop()
            else:
                seen.add(following)
                waiting.append((following, iter(callees[following])))
    return order
