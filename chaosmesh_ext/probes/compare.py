"""A metric while a fault is in, and after it, against what it was before."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
import time
from typing import Any, Dict, List

import msgspec
from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.observe.windows import Window, difference, summary
from chaosmesh_ext.probes.configured import number, run_of
from chaosmesh_ext.probes.metrics import prometheus_of

__all__ = ["compare"]

_WRITTEN = 1.0
"""Seconds before a write's answer in which it may have had its effect already."""


def compare(
    query: str,
    length: float = 60.0,
    settle: float = 0.0,
    before: List[float] = None,
    during: List[float] = None,
    after: List[float] = None,
    prometheus_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    A PromQL `query`, one number, before, during and after this run's faults:
    before is the `length` seconds that end with the first fault, during is from
    there to the last fault's end (or now), after is from that end to now. The
    first `settle` seconds of the latter two are left out: give the range that is
    in the query, e.g. 10 for `rate(...[10s])`. Or say when: `before`, `during` and
    `after` are each `[from, to]` in seconds ago, e.g. `[120, 60]`.

    Returns, for each window, mean, deviation (standard), lowest, highest and
    samples; and `change` (during against before) and `remains` (after against
    before), each with number, percent and deviations. Judge with the tolerance
    `changed_at_most`. Fails, as inconclusive, when a window lacks data, NaN
    included.
    """
    run = run_of(configuration, secrets)
    said = {"before": before, "during": during, "after": after}
    if any(said.values()):
        windows = _said(said, time.time())
    else:
        windows = _of_faults(run.faulted, number("length", length), number("settle", settle), time.time())
    prometheus = prometheus_of(prometheus_url, configuration, secrets)
    found = {window.name: summary(prometheus, query, window) for window in windows}
    result: Dict[str, Any] = {name: msgspec.to_builtins(each) for name, each in found.items()}
    for name, word in (("during", "change"), ("after", "remains")):
        if name in found:
            result[word] = difference(found["before"], found[name])
    return result


def _said(said: Dict[str, List[float] | None], now: float) -> List[Window]:
    found = []
    for name, given in said.items():
        if given is None:
            continue
        if not isinstance(given, (list, tuple)) or len(given) != 2:
            raise InvalidInput(f"{name} is {given!r}: give [from, to] in seconds ago, e.g. [120, 60]")
        start, end = (number(name, each) for each in given)
        if start <= end:
            raise InvalidInput(f"{name} is {given!r}: from is longer ago than to, e.g. [120, 60]")
        found.append(Window(name, now - start, now - end))
    names = [window.name for window in found]
    if "before" not in names or len(names) < 2:
        raise InvalidInput("to compare, give before, and during or after")
    return found


def _of_faults(faulted: List[tuple[float, float | None]], length: float, settle: float, now: float) -> List[Window]:
    if not faulted:
        raise InvalidInput("this run has injected no fault: give before and during, each as [from, to] in seconds ago")
    first = min(began for began, _ in faulted)
    ends = [ended for _, ended in faulted if ended is not None]
    windows = [("before", first - _WRITTEN - length, first - _WRITTEN)]
    if len(ends) < len(faulted):  # one is in
        windows.append(("during", first + settle, now))
    else:
        windows += [("during", first + settle, max(ends) - _WRITTEN), ("after", max(ends) + settle, now)]
    for name, start, end in windows:
        if name != "before" and end - start < 3:
            raise Inconclusive(
                f"no data: the window {name} is {max(0.0, end - start):.1f} s after settling for {settle:g} s: pause "
                "longer before you compare"
            )
    return [Window(*window) for window in windows]
