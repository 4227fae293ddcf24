"""A case of run safety: what a runner does, where it is struck, with what, and what must be true afterwards.

A name tells all of a case, so that it can be repeated alone: ``route-request12-late-KILL-0.5`` is a runner whose fault is
a route in the owner's VirtualService, killed when it sent its 12th request, which arrives half a second later.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["POINTS", "SIGNALS", "VARIANTS", "Case", "cases", "ends_well", "experiment"]

VARIANTS: dict[str, dict[str, Any]] = {
    "filter": {"destination": "details", "source": "productpage-v1", "carrier": "envoyfilter"},
    "created": {"destination": "details", "source": "productpage-v1", "carrier": "virtualservice"},
    "route": {"destination": "reviews", "source": "productpage-v1", "carrier": "virtualservice"},
    "field": {"destination": "reviews", "requests": "all", "percentage": 100, "carrier": "virtualservice"},
    "way": {"func": "set_timeout", "destination": "reviews", "source": "productpage-v1", "timeout": 2, "prove": False},
    "policy": {"func": "deny_access", "destination": "details", "prove": False},
    "rule": {"func": "set_timeout", "destination": "ratings", "timeout": 2, "prove": False},
    "wave": {"module": "wave_action", "func": "inject_wave", "carrier": "virtualservice"},
}
"""By what carries the fault, a delay where nothing else is said: an object of ours (two kinds), a route in the owner's
object, fields of it. Three that this mesh cannot show, so that they are not proven: a route that does something else, a
policy of another kind of object, a rule in the owner's HTTPRoute. A wave: two cells, in an object of ours and in the
owner's.
"""


def ends_well(variant: str) -> int:
    """The exit code of a run of VARIANT to which nothing happens."""
    return 3 if VARIANTS[variant].get("prove") is False else 0


POINTS = {
    "request": ("lost", "late", "unheard", "heard"),
    "keep": ("lost", "late", "unheard", "heard"),
    "file": ("before", "half", "after"),
}
"""Of a request (``keep``: of the thread that looks after the run). lost: it never arrives. late: it arrives after the strike. unheard: it was done, its answer is lost.
heard: its answer came, and the strike with it. Of a file step: before it, in the middle of what it writes, after it.
"""

SIGNALS = ("KILL", "STOP", "BOTH", "PAUSE", "TERM", "INT")
"""KILL. STOP: until somebody else has undone the run, then it goes on. PAUSE: for a moment, and it goes on. BOTH: the
watchdog is killed too. TERM, INT: to the runner and its process group, as a terminal does."""

_LATE = (0.0, 1.0, 10.0, 30.0, 59.0)
"""Seconds after the strike."""


@dataclass(frozen=True)
class Case:
    """late: seconds after the strike, before they are scaled."""

    variant: str
    kind: str
    number: int
    point: str
    signal: str
    late: float = 0.0

    def __str__(self) -> str:
        late = f"-{self.late:g}" if self.point == "late" else ""
        return f"{self.variant}-{self.kind}{self.number}-{self.point}-{self.signal}{late}"

    @classmethod
    def named(cls, name: str) -> Self:
        """The case of that NAME."""
        found = re.fullmatch(r"(\w+)-([a-z]+)(\d+)-([a-z]+)-([A-Z]+)(?:-([\d.]+))?", name)
        assert found, f"{name} is no case; they are named like {next(cases({'route': (12, 3)}, 0))}"
        return cls(found[1], found[2], int(found[3]), found[4], found[5], float(found[6] or 0))


def cases(counts: Mapping[str, tuple[int, int]], seed: int) -> Iterator[Case]:
    """All cases in an order that SEED makes, without end.

    COUNTS: how many requests, and how many file steps, a run of each variant has when nothing happens to it. The
    first of each variant and signal come early; after all cases, all again with other delays.
    """
    chance = random.Random(seed)
    every = [
        (variant, kind, number, point, signal)
        for variant, (requests, files) in counts.items()
        for kind, most in (("request", requests), ("keep", 2), ("file", files))
        for number in range(1, most + 1)
        for point in POINTS[kind]
        for signal in SIGNALS
    ]
    for _ in itertools.count():
        chance.shuffle(every)
        for one in every:
            yield Case(*one, late=chance.choice(_LATE) if one[3] == "late" else 0.0)


def experiment(variant: str, origin: str, path: str = "/") -> dict[str, Any]:
    """Inject, look, undo: as short as an experiment can be. PATH leads to the call."""

    def activity(kind: str, name: str, module: str, func: str, **arguments: Any) -> dict[str, Any]:
        provider = {"type": "python", "module": module, "func": func, "arguments": arguments}
        return {"type": kind, "name": name, "provider": provider}

    arguments = {"module": "chaosmesh_ext.actions", "func": "inject_delay", **VARIANTS[variant]}
    if arguments["func"] == "inject_delay":
        arguments["fixed_delay"] = 0.05
    return {
        "title": f"a fault by {variant}",
        "description": "what a page does while a service is late",
        "controls": [{"name": "chaosmesh-ext", "provider": {"type": "python", "module": "chaosmesh_ext.controls"}}],
        "runtime": {"rollbacks": {"strategy": "always"}},
        "method": [
            activity("action", "late", url=path, **arguments),
            {**activity("probe", "page", "chaosmesh_ext.probes", "status", url=f"{origin}{path}"), "tolerance": 200},
            activity("action", "well", "chaosmesh_ext.actions", "recover"),
        ],
        "rollbacks": [activity("action", "out", "chaosmesh_ext.actions", "recover")],
    }
