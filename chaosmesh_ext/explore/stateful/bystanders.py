"""What stateful waves did to others: requests that were not faulted, while something was held up for everybody."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chaosmesh_ext.model import Answer, Cell

__all__ = ["Effect", "effect"]


class Effect(msgspec.Struct, frozen=True):
    """What REQUESTS without a fault got during a wave, by its number and name.

    failed: answered otherwise than healthy ones, or not at all. incomplete: answered, without a section that all
    healthy answers have. p95_s, healthy_p95_s: seconds that one in twenty takes longer than, during the wave and in the
    control; 0 without requests.
    """

    wave: int
    name: str
    requests: int
    failed: int
    incomplete: int
    p95_s: float
    healthy_p95_s: float

    def __str__(self) -> str:
        if not self.requests:
            return f"wave {self.wave}, {self.name}: no request of others was sent meanwhile"
        harm = [f"{self.failed} failed"] if self.failed else []
        harm += [f"{self.incomplete} lacked a section"] if self.incomplete else []
        return (
            f"wave {self.wave}, {self.name}: of {self.requests} requests that were not faulted meanwhile "
            f"{' and '.join(harm) or 'all went well'}; p95 {self.p95_s:.2g} s, healthy {self.healthy_p95_s:.2g} s"
        )


def effect(wave: int, name: str, control: Cell, answers: Sequence[Answer]) -> Effect:
    """What ANSWERS to requests without a fault say, beside CONTROL's to the same URLs. Pure."""
    asked = {answer.url for answer in answers}
    healthy = [one for one in (*control.answers, *control.beside) if one.url in asked and 0 < one.status < 500]
    failed = incomplete = 0
    for answer in answers:
        alike = [one for one in healthy if one.url == answer.url]
        common = frozenset.intersection(*(frozenset(one.sections) for one in alike)) if alike else frozenset[str]()
        if answer.status not in {one.status for one in alike}:
            failed += 1
        elif answer.url not in control.unsteady and not common <= answer.sections.keys():
            incomplete += 1
    return Effect(wave, name, len(answers), failed, incomplete, _p95(answers), _p95(healthy))


def _p95(answers: Sequence[Answer]) -> float:
    times = sorted(answer.duration for answer in answers)
    return round(times[min(len(times) - 1, int(0.95 * len(times)))], 3) if times else 0.0
