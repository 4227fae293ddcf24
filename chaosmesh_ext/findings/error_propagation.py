"""Rule 6, error-propagation: what A answers its own caller when B answers an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call, above, below, caller, group
from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence, too_few
from chaosmesh_ext.findings.statistics import CHANCE, MIN_CALLS, by_chance
from chaosmesh_ext.findings.subject import Subject
from chaosmesh_ext.findings.words import amount, joined
from chaosmesh_ext.model import Skipped, Span, Trace

__all__ = ["error_propagation"]

_ORDINARY: Final = frozenset({500, 501, 502, 503, 504})
"""What applications answer of their own: such a status at A's caller does not tell where it comes from."""

_RARE: Final = 15
"""gRPC's DATA_LOSS: no library answers it of its own. UNKNOWN, for one, is what an exception becomes."""

_NAMES: Final = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
    "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
    "UNAUTHENTICATED"
)
_GRPC: Final = _NAMES.split()
"""The names of gRPC's statuses, in order of their numbers."""

_AT_GATEWAY = "the fault acts inside the gateway, which answers with it"


class _Answered(msgspec.Struct, frozen=True):
    """What A answered one request whose call failed.

    kind: ``raw``, ``translated``, ``absorbed`` or ``bug``. status: A's, in a reader's words. above: the workload that
    answered an error of its own on top of a good answer of A, and that error; for a bug.
    """

    call: Call
    kind: str
    status: str
    above: tuple[str, str] = ("", "")

    @property
    def outcome(self) -> tuple[str, str, tuple[str, str]]:
        return self.kind, "" if self.kind == "raw" else self.status, self.above


def error_propagation(subject: Subject) -> Iterator[Draft | Skipped]:
    """State what becomes of B's error at A: raw, translated, absorbed, or absorbed and then somebody's bug.

    Precondition: an abort with a status that applications do not answer of their own (a 5xx but 500 to 504, gRPC's
    DATA_LOSS), met by the last attempt in at least three requests that all show the same. Requests in which another
    call of A failed too, A made fewer attempts than at other times, or A's caller left, say nothing. Limit: it tells
    what is answered, not what it costs users: that is `missing-fallback`'s, so this is ``info``, but for a bug.
    """
    answered: list[_Answered] = []
    undecided: Counter[str] = Counter()
    for trial in subject.of("status"):
        if not (_rare(trial.injected.status) or trial.injected.grpc_status == _GRPC[_RARE]):
            continue
        requests: dict[tuple[str, str], list[Call]] = {}
        for call in trial.calls:
            requests.setdefault(group(call)[:2], []).append(call)
        most = max(_attempts(made) for made in requests.values())
        for made in requests.values():
            if not any(call.faulted for call in made):
                continue
            if _attempts(made) < most:  # a breaker that opened meanwhile, or its caller left
                undecided["fewer attempts were made than at other times"] += 1
                continue
            found = _look(subject.baseline, made)
            if isinstance(found, str):
                undecided[found] += 1
            elif found is not None:
                answered.append(found)
    if not answered and not undecided:
        return
    edge = str(subject.edge)
    if undecided.keys() == {_AT_GATEWAY} and not answered:
        yield Skipped(edge, f"{_AT_GATEWAY} ({amount(undecided[_AT_GATEWAY], 'request')})", "error-propagation")
        return
    outcomes = Counter(each.outcome for each in answered)
    if len(answered) < MIN_CALLS:
        details = "".join(f"; {reason} ({amount(n, 'request')})" for reason, n in sorted(undecided.items()))
        seen = f"{len(answered)} failed and were answered, {MIN_CALLS} are needed{details}"
        yield too_few(subject.edge, seen, "error-propagation")
        return
    if len(outcomes) > 1:
        kinds = Counter(f"{each.kind} with {each.status}" for each in answered)
        seen = joined([f"{kind} ({amount(n, 'request')})" for kind, n in sorted(kinds.items())])
        yield Skipped(edge, f"inconclusive: {seen}, no single answer to a failure", "error-propagation")
        return
    if not subject.nested:
        yield Skipped(edge, "not awaited: the caller answered without waiting for the call", "error-propagation")
        return
    typical = answered[0]
    bad, healthy = subject.baseline.errors(subject.edge.source)
    if typical.kind == "translated" and by_chance(len(answered), len(answered), bad, healthy) > CHANCE:
        reason = f"inconclusive: the caller answers errors in the control too ({bad} of {amount(healthy, 'request')})"
        yield Skipped(edge, reason, "error-propagation")
        return
    injected = joined(sorted({_status(each.call.span) for each in answered}))
    yield Draft(
        rule="error-propagation",
        condition="status",
        severity="warning" if typical.kind == "bug" else "info",
        source=subject.edge.source,
        destination=subject.edge.destination,
        operation=subject.operation,
        value=None,
        unit="",
        agreeing=len(answered),
        total=len(answered),
        evidence=evidence([each.call for each in answered]),
        say=lambda tally: _words(tally, subject.edge.destination, injected, typical),
        who="application",
        kind=typical.kind,
        same=(typical.status, *typical.above),
    )


def _attempts(made: Sequence[Call]) -> int:
    """The most calls of one method and URL among MADE, those for one request of A."""
    return max(Counter(group(call) for call in made).values())


def _look(baseline: Baseline, made: Sequence[Call]) -> _Answered | str | None:
    """What A answered one request; the reason why that says nothing; None where the call got through in the end."""
    last = {group(each): each for each in made}
    failed = [each for each in last.values() if each.faulted and each.failed]
    if not failed:
        return None
    call, a = failed[-1], failed[-1].caller
    if call.at_gateway:
        return _AT_GATEWAY
    if a is None:
        return "the caller's server span is missing"
    if a.gone or not a.status:
        return "the caller's own caller left"
    status = _status(a)
    if _good(a):
        bug = _bug(baseline, call.trace, a)
        return _Answered(call, "bug" if bug else "absorbed", status, bug or ("", ""))
    same = {each.span.span_id for each in made}
    if any(_bad(each) and each.span_id not in same for each in below(call.trace, a)):
        return "another call of the caller failed too"
    if status != _status(call.span):
        return _Answered(call, "translated", status)
    if _rare(a.status) or a.grpc_status == _RARE:
        return _Answered(call, "raw", status)
    return f"the caller answers {status}, which it may do of its own: inject DATA_LOSS"


def _bug(baseline: Baseline, trace: Trace, a: Span) -> tuple[str, str] | None:
    """Who, further up than A, answered an error although none of its calls failed, and with which error."""
    seen: set[str] = set()
    served: Span | None = a
    while served is not None and served.span_id not in seen:
        seen.add(served.span_id)
        call = above(trace, served)
        served = caller(trace, call) if call is not None and call.kind == "CLIENT" else None
        if served is None or served.gone or not served.status:
            return None
        if _good(served):
            continue
        # with a flag it is the sidecar's own answer, with a failed call it is no bug of this one
        own = not served.flags and served.broken and not any(_bad(each) for each in below(trace, served))
        return (str(served.workload), _status(served)) if own and served.workload not in baseline.failing else None
    return None


def _rare(status: int) -> bool:
    return 500 <= status < 600 and status not in _ORDINARY


def _good(span: Span) -> bool:
    return 0 < span.status < 400 and not span.grpc_status


def _bad(span: Span) -> bool:
    return span.kind == "CLIENT" and not _good(span)


def _status(span: Span) -> str:
    """What SPAN was answered with: gRPC's name where there is one, else the HTTP status."""
    code = span.grpc_status
    if code is None:
        return str(span.status)
    return _GRPC[code] if 0 <= code < len(_GRPC) else f"gRPC status {code}"


def _words(tally: Tally, destination: str, injected: str, seen: _Answered) -> Words:
    when = f"when {destination} answers {injected}"
    requests = f"({amount(tally.total, 'request')})"
    if seen.kind == "raw":
        return Words(
            summary=f"{tally.source} passes on as it came what {destination} fails with, {injected} {requests}.",
            advice=f"Answer with an error of {tally.source}'s own, such as 502: passed on raw, it looks as if"
            f" {tally.source} had failed that way.",
            clause="passes the error on as it came",
        )
    if seen.kind == "translated":
        own = ", as for an error of its own," if seen.status == "500" else ""
        return Words(
            summary=f"{tally.source} answers {seen.status}{own} {when} {requests}.",
            advice=f"Answer 502 or 503, which say that it was {destination} that failed."
            if own
            else f"Keep it where {tally.source} can do nothing without {destination}.",
            clause=f"answers {seen.status}",
        )
    if seen.kind == "absorbed":
        return Words(
            summary=f"{tally.source} answers {seen.status} {when}: the error goes no further {requests}.",
            advice=f"Keep it, and count the failures of {destination} where {tally.source} is watched:"
            " its own answers do not show them.",
            clause="absorbs the error",
        )
    who, error = seen.above
    return Words(
        summary=f"{tally.source} answers {seen.status} {when}, and {who} then answers {error} though none of its own"
        f" calls failed {requests}.",
        advice=f"Mend {who}: it does not cope with what {tally.source} answers without {destination}.",
        clause=f"absorbs the error, on which {who} answers {error} by a bug of its own",
    )
