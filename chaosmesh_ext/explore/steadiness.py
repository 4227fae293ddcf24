"""What healthy answers do not agree on, so that nobody takes it for the work of a fault: pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from chaosmesh_ext.model import VARIES, Answer, Cell

__all__ = ["Steadiness"]


class Steadiness(msgspec.Struct, frozen=True):
    """By whole URL, what differs between healthy answers to requests that passed the same versions.

    aside: sections whose content does: that they are there can still be compared. unsteady: why nothing can be.
    """

    aside: Mapping[str, frozenset[str]] = {}
    unsteady: Mapping[str, str] = {}

    @classmethod
    def of(cls, control: Cell) -> Steadiness:
        """What the answers of CONTROL differ in, as far as their traces tell what they passed."""
        alike: dict[str, dict[object, list[Answer]]] = defaultdict(lambda: defaultdict(list))
        for answer in control.answers:
            if answer.trace_id in control.traces and 0 < answer.status < 400 and not answer.error:
                passed = frozenset(control.traces[answer.trace_id].versions.items())
                alike[answer.url][passed].append(answer)
        aside: dict[str, frozenset[str]] = {}
        unsteady: dict[str, str] = {}
        for url, groups in alike.items():
            changing, coming = frozenset[str](), frozenset[str]()
            for answers in groups.values():
                changing |= _changing(answers)
                coming |= _coming(answers)
            names = frozenset(name for answers in groups.values() for each in answers for name in each.sections)
            if coming:
                unsteady[url] = f"healthy answers differ from each other: {_listed(coming)} is there only sometimes"
            elif names and names <= changing:
                unsteady[url] = f"healthy answers differ from each other in all they hold: {_listed(changing)}"
            elif changing:
                aside[url] = changing
            elif names <= {"body"} and not any(answer.size for answers in groups.values() for answer in answers):
                unsteady[url] = "healthy answers are empty: nothing in them could be lost"
        return cls(aside, unsteady)

    def control(self, control: Cell) -> Cell:
        """CONTROL as rules may read it."""
        return msgspec.structs.replace(
            control, answers=tuple(self.answer(each) for each in control.answers), unsteady=dict(self.unsteady)
        )

    def answer(self, answer: Answer) -> Answer:
        """A healthy ANSWER without what varies."""
        names = self.aside.get(answer.url, frozenset())
        if names.isdisjoint(answer.sections):
            return answer
        sections = {name: VARIES if name in names else digest for name, digest in answer.sections.items()}
        return msgspec.structs.replace(answer, sections=sections)

    def notes(self) -> list[str]:
        """One line for each URL."""
        return [
            *(f"{url}: fallback is not judged: {why}" for url, why in sorted(self.unsteady.items())),
            *(
                f"{url}: the content of {_listed(names)} is not compared: it differs between healthy answers"
                for url, names in sorted(self.aside.items())
            ),
        ]


def _changing(answers: Iterable[Answer]) -> frozenset[str]:
    """Sections with several contents."""
    seen: dict[str, set[str]] = defaultdict(set)
    for answer in answers:
        for name, digest in answer.sections.items():
            seen[name].add(digest)
    return frozenset(name for name, digests in seen.items() if len(digests) > 1)


def _coming(answers: Iterable[Answer]) -> frozenset[str]:
    """Sections that some have and some have not."""
    sets = [frozenset(answer.sections) for answer in answers]
    return frozenset.union(*sets) - frozenset.intersection(*sets)


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    shown = ", ".join(f'"{name}"' for name in every[:3])
    return f"{shown} and {len(every) - 3} more" if len(every) > 3 else shown
