"""Whether calls arrive where they should, in the shares that they should: counts against shares. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from chaosmesh_ext.errors import NotProven
from chaosmesh_ext.model import Trace
from chaosmesh_ext.run.evidence import Watched

__all__ = ["RARE", "SURE", "arrivals", "bounds", "divergence", "estimate", "latest", "misfit", "of_versions"]

SURE: Final = math.log(10_000)
"""Natural logarithm of how much likelier calls must be by one way of dividing them than by another (Wald's test)."""

RARE: Final = 1e-4
"""The chance, at each end, that a share is outside its binomial bounds though it is right."""

_TRACE: Final = 1e-3
"""The least share: one call that goes astray proves nothing."""


def arrivals(trace: Trace, watched: Watched) -> list[str]:
    """Where each WATCHED call of TRACE arrived first: the version of the called sidecar; a call without one is none.

    Retries of a sidecar stay within the subset that the first attempt drew.
    """
    found = []
    for span in watched.calls(trace):
        there = [one for one in trace.children(span) if one.kind == "SERVER" and one.proxy]
        if there:
            found.append(there[0].workload.version)
    return found


def of_versions(shares: Mapping[str, float], versions: Mapping[str, frozenset[str]]) -> dict[str, float]:
    """SHARES of subsets as those of the one version in each; VERSIONS: by subset.

    Raises NotProven where a subset has several: how it divides what it gets is not said.
    """
    found: dict[str, float] = {}
    for subset, part in shares.items():
        inside = versions.get(subset, frozenset())
        if len(inside) != 1:
            raise NotProven(
                f"the subset {subset} has pods of the versions {', '.join(sorted(inside)) or 'none'}, and traces tell "
                "no more than these: name subsets of one version each, or say prove: false"
            )
        (version,) = inside
        found[version] = found.get(version, 0.0) + part
    return found


def estimate(versions: Sequence[str], others: Mapping[str, float]) -> dict[str, float]:
    """The shares by which VERSIONS, a sample, came; none is 0 of those or of OTHERS (half a call each, Jeffreys)."""
    counts = Counter(versions)
    known = {*counts, *others}
    whole = len(versions) + 0.5 * len(known)
    return {version: (counts[version] + 0.5) / whole for version in known}


def divergence(shares: Mapping[str, float], others: Mapping[str, float]) -> float:
    """What one call, divided by SHARES, tells against OTHERS on average (Kullback and Leibler), in natural units."""
    return sum(part * math.log(part / max(others.get(one, 0.0), _TRACE)) for one, part in shares.items() if part > 0)


def latest(versions: Sequence[str], shares: Mapping[str, float], others: Mapping[str, float]) -> tuple[int, float]:
    """From which of VERSIONS, in the order of time, on they speak the most for SHARES against OTHERS, and how much.

    That is Page's cumulative sum: what was before a change does not count against what is after.
    """
    start, best = 0, 0.0
    for index, version in enumerate(versions):
        if best <= 0.0:
            start, best = index, 0.0
        mine, theirs = (max(one.get(version, 0.0), _TRACE) for one in (shares, others))
        best += math.log(mine / theirs)
    return (start, best) if best > 0.0 else (len(versions), 0.0)


def misfit(versions: Sequence[str], shares: Mapping[str, float]) -> str:
    """Which share of VERSIONS is outside its bounds by SHARES, in words; empty where none is."""
    counts, count = Counter(versions), len(versions)
    for version in sorted({*counts, *shares}):
        low, high = bounds(count, shares.get(version, 0.0))
        if not low <= counts[version] <= high:
            return (
                f"{counts[version]} of {count} calls arrived at {version or 'pods without a version'}, and "
                f"{shares.get(version, 0.0):.0%} of them would be {low} to {high}"
            )
    return ""


def bounds(count: int, share: float) -> tuple[int, int]:
    """How many of COUNT are a SHARE of them, but for a chance of `RARE` at each end."""
    if share <= 0.0 or share >= 1.0:
        return (0, 0) if share <= 0.0 else (count, count)
    terms = [
        math.exp(
            math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
            + k * math.log(share) + (count - k) * math.log1p(-share)
        )
        for k in range(count + 1)
    ]  # fmt: skip
    low, below = 0, terms[0]
    while below < RARE:
        low += 1
        below += terms[low]
    high, above = count, terms[count]
    while above < RARE:
        high -= 1
        above += terms[high]
    return low, high
