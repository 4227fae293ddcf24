"""The control, asked again: a wave that left something changed proves nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING, Final

from chaosmesh_ext.errors import Unreachable
from chaosmesh_ext.explore.discovery import Discovered
from chaosmesh_ext.explore.recipe import Request
from chaosmesh_ext.findings.statistics import epsilon
from chaosmesh_ext.model import VARIES, Answer, Trace
from chaosmesh_ext.observe.addressed import Addressed
from chaosmesh_ext.observe.http import request
from chaosmesh_ext.observe.traces import Expected, gather
from chaosmesh_ext.run.traffic import application

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run

__all__ = ["difference", "kept", "recheck", "settle"]

_SLOWER: Final = 2.0
"""Times the healthy median from which on the control is another one (rules, 8: what unmarked requests may suffer)."""

_VISIBLE: Final = 8.0
"""Seconds that a trace may take to become visible."""

_AGAIN: Final = 0.5
"""Seconds until it is asked again."""

_CALMER: Final = 30.0
"""Seconds that a machine which was too busy for a wave may take to become calmer."""

_TRIES: Final = 3
"""Requests without a marker that must all differ from healthy ones: one alone may have met a version that is new."""


def recheck(run: Run, found: Discovered, count: int, *, patience: float = 0.0) -> str:
    """As `_recheck`, again and again for PATIENCE seconds while something differs: breakers that a wave has opened
    close by themselves, and what hangs comes to its end.
    """
    deadline = time.monotonic() + patience
    while changed := _recheck(run, found, count):
        if time.monotonic() >= deadline:
            return changed
        time.sleep(_AGAIN)
    return ""


def settle(run: Run, found: Discovered, count: int) -> None:
    """Wait until the control is as it was, for as long as a busy machine may take to become calmer."""
    with suppress(Unreachable):
        recheck(run, found, count, patience=_CALMER)


def _recheck(run: Run, found: Discovered, count: int) -> str:
    """Send COUNT control requests of RUN to each URL; how they differ from those that were FOUND, empty where not.

    Then requests as everybody's, without a marker: a cache would give them what a faulted request got. Raises
    Unreachable when the traces cannot be read.
    """
    answers: list[Answer] = []
    for url, one in found.requests.items():
        answers += run.send(url, count, headers=one.sent, method=one.method, body=one.body, control=True)
    store = Addressed(run.requests.store(), {edge.destination for edge in found.graph.edges})
    expected = Expected.of(found.control.traces.values())
    traces = gather(store, answers, expected=expected, timeout=_VISIBLE).traces
    if changed := difference(found, answers, traces):
        return changed
    return next(filter(None, (_kept(run, found, url, one) for url, one in found.requests.items())), "")


def _kept(run: Run, found: Discovered, url: str, one: Request) -> str:
    """As `recheck`, of requests to URL that bear no marker."""
    target, said = application(run.settings, url), ""
    for _ in range(_TRIES):
        answer, _ = request(target, None, method=one.method, headers=one.sent, body=one.body or None)
        if not (said := kept(found, answer)):
            return ""
    return said


def kept(found: Discovered, answer: Answer) -> str:
    """How the ANSWER to a request without a marker differs from all healthy ones that were FOUND, of whatever versions;
    empty where it does not. Pure.
    """
    asked = [one for one in found.control.answers if one.url == answer.url]
    known = [one for one in asked if 0 < one.status < 400 and not one.error]
    if not known:
        return ""
    what = f"afterwards a request to {answer.url} without a marker"
    by = f" (a cache gave it: {answer.cache})" if answer.cache else ""
    if answer.status not in {one.status for one in asked}:
        return f"{what} was answered {answer.status or f'not at all ({answer.error})'}{by}"
    if answer.url in found.steadiness.unsteady:
        return ""
    names = frozenset.intersection(*(frozenset(one.sections) for one in known))
    if lost := sorted(names - frozenset(answer.sections)):
        return f'{what} lacks the section "{lost[0]}"{by}'
    for name in sorted(names):
        contents = {one.sections[name] for one in known}
        if VARIES not in contents and answer.sections[name] not in contents:
            return f'{what} has another section "{name}"{by}'
    return ""


def difference(found: Discovered, answers: Sequence[Answer], traces: Mapping[str, Trace]) -> str:
    """How healthy ANSWERS with their TRACES differ from those that were FOUND; empty where they do not. Pure.

    Compared are statuses, times, sections of answers that passed the same versions, and that no call meets a fault.
    """
    before: dict[str, list[Answer]] = {}
    for answer in found.control.answers:
        if 0 < answer.status < 400:
            before.setdefault(answer.url, []).append(answer)
    for url, known in before.items():
        now = [answer for answer in answers if answer.url == url]
        statuses = {answer.status for answer in known}
        bad = [answer for answer in now if answer.status not in statuses]
        if 2 * len(bad) > len(now):
            said = bad[0].status or f"not at all ({bad[0].error})"
            return f"afterwards {len(bad)} of {len(now)} control requests to {url} were answered {said}"
        times = [answer.duration for answer in known]
        usual = median(times)
        took = median([answer.duration for answer in now] or [usual])
        if took > max(_SLOWER * usual, usual + epsilon(times)):
            return f"afterwards control requests to {url} took {took:.3g} s instead of {usual:.3g} s"
        if lost := _lost(found, known, now, traces):
            return f"afterwards control requests to {url} lack {lost}"
    faulted = [
        f"{span.workload} → {span.peer} (trace {trace.trace_id})"
        for trace in traces.values()
        for span in trace.spans
        if not span.flags.isdisjoint(("DI", "FI"))
    ]
    return f"afterwards control requests met a fault on {faulted[0]}" if faulted else ""


def _lost(found: Discovered, known: Iterable[Answer], now: Iterable[Answer], traces: Mapping[str, Trace]) -> str:
    """Sections that most answers of NOW lack, though all that passed the same versions had them."""
    by_versions: dict[object, list[Answer]] = {}
    for answer in known:
        if answer.url not in found.steadiness.unsteady and answer.trace_id in found.control.traces:
            by_versions.setdefault(_passed(found.control.traces[answer.trace_id]), []).append(answer)
    lacking: list[str] = []
    seen = 0
    for answer in now:
        trace = traces.get(answer.trace_id)
        same = by_versions.get(_passed(trace)) if trace is not None else None
        if not same:
            continue
        seen += 1
        common = frozenset.intersection(*(frozenset(one.sections) for one in same))
        lacking += sorted(common - frozenset(answer.sections))[:1]
    return f'the section "{lacking[0]}"' if 2 * len(lacking) > seen else ""


def _passed(trace: Trace) -> object:
    return frozenset(trace.versions.items())
