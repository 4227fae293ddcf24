"""Waves that proved nothing, to be tried again: what a busy machine spoilt may be well the next time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from chaosmesh_ext.errors import Astray, Inconclusive
from chaosmesh_ext.explore.waves import Wave

__all__ = ["SecondTry"]


_TIMES: Final = 2
"""How often a wave is tried again."""


class SecondTry:
    """Each wave gets two. problems: why waves proved nothing that have none any more, or did not come to it.

    judged: the numbers of those that proved something.
    """

    def __init__(self) -> None:
        self.judged: set[int] = set()
        self._waiting: dict[int, tuple[Wave, str]] = {}
        self._tried: Counter[int] = Counter()
        self._problems: list[str] = []

    @property
    def problems(self) -> tuple[str, ...]:
        """One line each."""
        return (*self._problems, *(_line(wave, why) for wave, why in self._waiting.values()))

    def taught(self, wave: Wave) -> None:
        """WAVE proved something."""
        self.judged.add(wave.number)

    def failed(self, wave: Wave, why: str | Inconclusive) -> None:
        """WAVE proved nothing, and WHY. What may have met others than it was for is not tried again."""
        if self._tried[wave.number] == _TIMES or isinstance(why, Astray):
            self._problems.append(_line(wave, str(why)))
        else:
            self._waiting[wave.number] = wave, str(why)

    def take(self) -> Iterator[tuple[Wave, str]]:
        """The waves that wait, one after the other, with a line for people."""
        while self._waiting:
            number = min(self._waiting)
            wave, why = self._waiting.pop(number)
            self._tried[number] += 1
            yield wave, f"{_line(wave, why)}; tried again"


def _line(wave: Wave, why: str) -> str:
    return f"wave {wave.number}, {wave.name}: {why}"
