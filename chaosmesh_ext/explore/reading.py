"""What the traces of healthy requests say: whether they are enough, and what calls what how often. Pure.

Istio balances by LEAST_REQUEST, not in turns: with three versions, three requests miss one of them 30 % of the time. So
a version that was not seen is only unlikely, never excluded: `UNSEEN` says how unlikely.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.model import Edge, Trace, Workload
from chaosmesh_ext.model.graph import CallSite

__all__ = [
    "FEWEST",
    "UNSEEN",
    "Multiplicity",
    "Passed",
    "arrivals",
    "at_gateways",
    "entries",
    "lacking",
    "multiplicities",
    "served",
    "sick",
    "sites",
]

FEWEST: Final = 3
"""Calls that each source must have made on each edge (rules, "What decides validity" 8)."""

UNSEEN: Final = 0.01
"""How probable it may be at most that a service has one more version, with as many requests as each of the others."""

Passed = frozenset[tuple[str, str]]
"""Services that a request passed, with their versions."""

_ANY: Final[Passed] = frozenset()
_INJECTED: Final = frozenset({"DI", "FI"})


class Multiplicity(msgspec.Struct, frozen=True):
    """m of one call site, for requests that passed the same versions."""

    site: CallSite
    passed: Passed


def lacking(traces: Sequence[Trace]) -> int:
    """How many more requests than those of TRACES it takes, in all likelihood, to have seen enough; 0: it is enough."""
    need = 0
    for seen, wanted in _seen(traces):
        if seen < wanted:
            need = max(need, math.ceil((wanted - seen) * len(traces) / seen))
    return need


def _seen(traces: Sequence[Trace]) -> Iterator[tuple[int, int]]:
    """How often each service and each edge was seen, and how often it should be."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    made: Counter[Edge] = Counter()
    for trace in traces:
        for span in trace.spans:
            if span.proxy and span.kind == "SERVER":
                found[span.workload.namespace, span.workload.service][span.workload.version] += 1
            elif span.proxy and span.kind == "CLIENT" and span.peer:
                made[Edge(span.workload, span.peer)] += 1
    for by_version in found.values():
        known = len(by_version)
        yield by_version.total(), math.ceil(math.log(UNSEEN) / math.log(known / (known + 1)))
    for count in made.values():
        yield count, FEWEST


def served(traces: Iterable[Trace]) -> Counter[Workload]:
    """Requests that each workload served."""
    return Counter(span.workload for trace in traces for span in trace.spans if span.proxy and span.kind == "SERVER")


def arrivals(traces: Iterable[Trace]) -> Counter[str]:
    """By service, calls that arrived with our trace, but whose caller's proxy reported no span of them."""
    found: Counter[str] = Counter()
    for trace in traces:
        roots = [span for span in trace.roots if span.kind == "SERVER" and span.proxy]
        found.update(span.workload.service for span in sorted(roots, key=lambda span: span.start)[1:])
    return found


def entries(traces: Iterable[Trace]) -> tuple[str, ...]:
    """Services that serve our requests themselves."""
    found: set[str] = set()
    for trace in traces:
        roots = [span for span in trace.roots if span.kind == "SERVER" and span.proxy]
        found.update(span.workload.service for span in sorted(roots, key=lambda span: span.start)[:1])
    return tuple(sorted(found))


def at_gateways(made: Iterable[Call]) -> frozenset[Edge]:
    """Edges of gateways that our requests enter by, and which pass on what we send.

    The upstream spans of such a proxy tell neither method nor URL (measured).
    """
    found: dict[Edge, bool] = {}
    for call in made:
        enters = call.caller is not None and call.trace.parent(call.caller) is None
        found[call.edge] = found.get(call.edge, True) and enters and not call.span.method
    return frozenset(edge for edge, is_gateway in found.items() if is_gateway)


def sick(made: Iterable[Call]) -> dict[Edge, str]:
    """Edges that cannot be judged, because what is healthy fails there already, or meets somebody's fault."""
    by_edge: dict[Edge, list[Call]] = defaultdict(list)
    for call in made:
        by_edge[call.edge].append(call)
    found = {}
    for edge, those in sorted(by_edge.items()):
        faulted = [call for call in those if not _INJECTED.isdisjoint(call.span.flags)]
        failed = [call for call in those if call.failed]
        if faulted:
            flags, trace = ",".join(sorted(faulted[0].span.flags)), faulted[0].trace.trace_id
            found[edge] = (
                f"{len(faulted)} of {len(those)} healthy calls meet a fault already (flags {flags}, trace {trace}): "
                "see `chaos mesh runs`, or look for the owner's own"
            )
        elif 2 * len(failed) >= len(those):
            status = failed[0].span.status or "nothing"
            found[edge] = (
                f"{len(failed)} of {len(those)} healthy calls fail already (answered {status}, trace "
                f"{failed[0].trace.trace_id}): mend that first"
            )
    return found


def multiplicities(made: Iterable[Call], traces: Mapping[str, Trace], urls: Mapping[str, str]) -> list[Multiplicity]:
    """For each call site its m for each set of versions. URLS: by trace id, where its request was sent."""
    at = {trace_id: (urls[trace_id], _passed(trace)) for trace_id, trace in traces.items()}
    return [
        Multiplicity(site, passed)
        for (_, passed), site in sorted(
            _counted(made, traces, at), key=lambda item: (item[0][0], sorted(item[0][1]), item[1])
        )
    ]


def sites(made: Iterable[Call], traces: Mapping[str, Trace], urls: Mapping[str, str]) -> list[CallSite]:
    """The call sites, with m over all sets of versions; as `multiplicities`."""
    return [site for _, site in _counted(made, traces, {trace_id: (urls[trace_id], _ANY) for trace_id in traces})]


def _counted(
    made: Iterable[Call], traces: Mapping[str, Trace], at: Mapping[str, tuple[str, Passed]]
) -> Iterator[tuple[tuple[str, Passed], CallSite]]:
    """The call sites of each group of traces. AT: by trace id, URL and group.

    Calls are counted by the requests that their source served, as far as its sidecar reported both; where it reported
    no request at all, by our own.
    """
    every: Counter[tuple[str, Passed, Edge, str]] = Counter()
    known: Counter[tuple[str, Passed, Edge, str]] = Counter()
    ours: dict[tuple[str, Passed, Edge, str], set[str]] = defaultdict(set)
    for call in made:
        key = (*at[call.trace.trace_id], call.edge, call.operation)
        every[key] += 1
        known[key] += call.caller is not None
        ours[key].add(call.trace.trace_id)
    asked: Counter[tuple[str, Passed, Workload]] = Counter()
    for trace_id, trace in traces.items():
        for workload, count in served([trace]).items():
            asked[(*at[trace_id], workload)] += count
    for key, count in every.items():
        url, passed, edge, operation = key
        calls = known[key] / asked[url, passed, edge.source] if known[key] else count / len(ours[key])
        yield (url, passed), CallSite(edge, operation, calls, url)


def _passed(trace: Trace) -> Passed:
    return frozenset((service, each) for (_, service), found in trace.versions.items() for each in found)
