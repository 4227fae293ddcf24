"""What went wrong in a run, kept because Chaos Toolkit forgets an action that fails."""

from __future__ import annotations

from typing import Final, Self

from chaosmesh_ext.errors import ChaosMeshError, Inconclusive, LeftBehind, NotRemoved
from chaosmesh_ext.mesh import Disturbed
from chaosmesh_ext.redaction import words

__all__ = ["MENDED", "Problem"]

MENDED: Final = " (a later undo took it out)"
"""Stands behind the words of a problem that is over."""


class Problem(str):
    """One line for a person, and the exit code that the run must not go below.

    exit_code: design's, 2 to 5. again: whether it is over once a later undo succeeds. under: the object that somebody
    changed under a fault, where that is the problem.
    """

    __slots__ = ("again", "exit_code", "under")
    exit_code: int
    again: bool
    under: str

    def __new__(
        cls, text: str, exit_code: int = Inconclusive.exit_code, *, again: bool = False, under: str = ""
    ) -> Self:
        problem = super().__new__(cls, text)
        problem.exit_code, problem.again, problem.under = exit_code, again, under
        return problem

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Of an ERROR; one that is not ours is inconclusive."""
        if isinstance(error, ChaosMeshError):
            under = str(error).partition(":")[0] if isinstance(error, Disturbed) else ""
            return cls(str(error), error.exit_code, again=isinstance(error, NotRemoved), under=under)
        return cls(words(error))

    def says_more_than(self, other: Problem) -> bool:
        """Whether OTHER, that somebody changed an object under a fault, is said here too: it was left as it is now."""
        return bool(other.under) and self.exit_code == LeftBehind.exit_code and f"{other.under}:" in self

    def mended(self) -> Self:
        """As it is once nothing is left in the mesh: what was said to be left is out, and the run had a problem."""
        return type(self)(f"{self}{MENDED}") if self.again else self
