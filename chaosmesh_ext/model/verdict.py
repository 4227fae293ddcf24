"""What a run comes to, and the exit code that says so."""

from __future__ import annotations

from enum import Enum

__all__ = ["Verdict"]


class Verdict(Enum):
    """The value is the word that people read; `exit_code` is the one that scripts read."""

    UPHELD = "upheld"
    WEAKNESS_FOUND = "weakness found"
    INCONCLUSIVE = "inconclusive"
    ABORTED = "aborted"
    LEFT_BEHIND = "left behind"

    @property
    def exit_code(self) -> int:
        """0 upheld, 1 weakness, 3 inconclusive, 4 aborted, 5 something left behind (2, wrong input, is an error)."""
        return {"upheld": 0, "weakness found": 1, "inconclusive": 3, "aborted": 4, "left behind": 5}[self.value]

    @property
    def gravity(self) -> int:
        """Which of several verdicts wins: what is left behind before an abort before an inconclusive run."""
        return list(Verdict).index(self)
