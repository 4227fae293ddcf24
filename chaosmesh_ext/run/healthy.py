"""What the call is like before the fault: requests of the control must reach it, and must meet no fault on it."""

from __future__ import annotations

from collections.abc import Collection, MutableMapping

import msgspec

from chaosmesh_ext.errors import InvalidInput, NotProven
from chaosmesh_ext.model import Answer, Marker, Span, Trace
from chaosmesh_ext.observe.traces import Expected, TraceSource, gather
from chaosmesh_ext.run.evidence import Shows, Watched, elsewhere, injected, met
from chaosmesh_ext.run.hunt import LATEST
from chaosmesh_ext.run.proof import MOST
from chaosmesh_ext.run.traffic import Errand, Traffic

__all__ = ["Healthy", "healthy", "refuse_deaf", "refuse_faulted"]


class Healthy(msgspec.Struct, frozen=True):
    """answers: to the requests. expected: what their traces hold. statuses: of the calls in question. foreign: other
    calls that look as if they met the fault, and did not meet this one.
    """

    answers: tuple[Answer, ...] = ()
    expected: Expected = msgspec.field(default_factory=Expected)
    statuses: frozenset[int] = frozenset()
    foreign: frozenset[str] = frozenset()


def healthy(
    store: TraceSource,
    traffic: Traffic,
    errand: Errand,
    control: Marker,
    watched: Watched,
    shown: Shows,
    known: MutableMapping[str, Expected],
) -> Healthy:
    """Send requests of the CONTROL on ERRAND, twice as many each time, until a call that is WATCHED is seen.

    SHOWN: how the fault shows in a call. KNOWN: by URL, what the run's earlier control requests left in their traces;
    those that hold it are not waited for any longer. Raises NotProven where none is seen, where one meets a fault
    already, or where there are no answers or no traces; InvalidInput where calls are seen that the scope does not fit.
    """
    answers: list[Answer] = []
    traces: dict[str, Trace] = {}
    seen: list[Span] = []
    expected = known.get(errand.url, Expected())
    size = 1
    while len(answers) < MOST:
        batch = [traffic.send(errand, control) for _ in range(min(size, MOST - len(answers)))]
        new = [future.result() for future in batch]
        refuse_deaf(new, errand)
        answers += new
        traces.update(gather(store, new, expected=expected, timeout=LATEST).traces)
        expected |= Expected.of(traces.values())
        seen = [span for trace in traces.values() for span in watched.calls(trace)]
        if any(map(watched.could_match, seen)):
            known[errand.url] = expected
            refuse_faulted(traces.values(), watched, shown)
            foreign = frozenset(elsewhere(traces.values(), (), shown))
            return Healthy(tuple(answers), expected, frozenset(span.status for span in seen), foreign)
        if len(answers) >= 4 and not traces:
            raise NotProven(
                f"the trace store has none of {len(answers)} marked requests to {errand.url}: is it this "
                "mesh's (JAEGER_URL), and does the mesh trace?"
            )
        size = size * 2 if traces else 3  # nobody should wait long to hear that the store is another mesh's
    if seen:
        calls = ", ".join(sorted({f"{span.method} {span.path}" for span in seen}))
        raise InvalidInput(
            f"no call {watched} matches {dict(watched.match)}: {len(answers)} requests to "
            f"{errand.url} led to {calls}; correct the match, or give a URL that leads to such a call"
        )
    raise NotProven(
        f"no call {watched} was seen in {len(answers)} requests to {errand.url}: {_instead(watched, traces.values())}"
    )


def refuse_deaf(answers: Collection[Answer], errand: Errand) -> None:
    """Raise NotProven where none of ANSWERS on ERRAND is one."""
    if answers and all(answer.status == 0 for answer in answers):
        why = next(iter(answers)).error
        raise NotProven(f"{errand.url} does not answer: {why}; is APP_URL right, and the mesh up?")


def refuse_faulted(traces: Collection[Trace], watched: Watched, shown: Shows) -> None:
    """Raise NotProven where a WATCHED call in TRACES meets a fault, of ours or of others', or one is SHOWN in it."""
    faulted = list(met(watched, traces, lambda span, trace: injected(span, trace) or shown(span, trace)))
    if faulted:
        raise NotProven(
            f"calls {watched} meet a fault already (flags {','.join(sorted(faulted[0].flags))}, trace "
            f"{faulted[0].trace_id}): see `chaos mesh runs`, or look for the owner's own"
        )


def _instead(watched: Watched, traces: Collection[Trace]) -> str:
    """What TRACES hold where no call is WATCHED, and what to do about it."""
    calls = [span for trace in traces for span in trace.calls()]
    callers = {span.workload for span in calls if span.peer == watched.destination}
    if callers and all(caller.namespace != watched.namespace for caller in callers):
        who = ", ".join(sorted(f"{caller} of namespace {caller.namespace}" for caller in callers))
        return (
            f"only {who} called {watched.destination}. Of a gateway give the name as source, of callers with sidecars "
            "the namespace"
        )
    seen = ", ".join(sorted({f"{span.workload} → {span.peer}" for span in calls})) or "no calls at all"
    return f"give a URL that leads to it; seen were {seen}"
