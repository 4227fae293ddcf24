"""Numbers and lists as a sentence wants them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["amount", "calls", "joined", "seconds", "times"]


def seconds(value: float) -> str:
    """VALUE seconds as people say it: ``3.0 s``, ``2.5 s``, ``150 ms``."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    text = f"{value:.2f}" if value < 2 else f"{value:.1f}"
    return f"{text.removesuffix('0') if value < 2 else text} s"


def times(count: int) -> str:
    """``once``, ``twice``, ``3 times``."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def amount(count: int, noun: str) -> str:
    """``1 call``, ``7 calls``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def calls(count: int) -> str:
    """``1 call``, ``7 calls``."""
    return amount(count, "call")


def joined(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
