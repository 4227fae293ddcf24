"""What went wrong in a run, kept because Chaos Toolkit forgets an action that fails."""

from __future__ import annotations

from typing import Self

from chaosmesh_ext.errors import ChaosMeshError, Inconclusive

__all__ = ["Problem"]


class Problem(str):
    """One line for a person, and the exit code that the run must not go below.

    exit_code: design's, 2 to 5.
    """

    __slots__ = ("exit_code",)
    exit_code: int

    def __new__(cls, text: str, exit_code: int = Inconclusive.exit_code) -> Self:
        problem = super().__new__(cls, text)
        problem.exit_code = exit_code
        return problem

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Of an ERROR; one that is not ours is inconclusive."""
        if isinstance(error, ChaosMeshError):
            return cls(str(error), error.exit_code)
        return cls(f"{type(error).__name__}: {error}")
