"""How far a share of requests may lie from its percentage by chance."""

from __future__ import annotations

from math import comb

__all__ = ["likely"]

_RISK = 1e-6


def likely(percent: float, requests: int) -> range:
    """How many of REQUESTS may be chosen when each is, independently, with PERCENT: outside less than once in 10⁶."""
    p = percent / 100
    chances = [comb(requests, k) * p**k * (1 - p) ** (requests - k) for k in range(requests + 1)]
    low = high = 0.0
    first, last = 0, requests
    while low + chances[first] < _RISK / 2:
        low += chances[first]
        first += 1
    while high + chances[last] < _RISK / 2:
        high += chances[last]
        last -= 1
    return range(first, last + 1)
