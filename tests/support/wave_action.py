"""A wave as an action of an experiment, for runners under test: it is in until `recover`."""

from __future__ import annotations

from typing import Any

from chaosmesh_ext.actions.injecting import counted
from chaosmesh_ext.faults import Delay
from chaosmesh_ext.model import Scope

__all__ = ["inject_wave"]


def inject_wave(
    url: str, carrier: str = "auto", configuration: dict[str, Any] | None = None, secrets: dict[str, Any] | None = None
) -> dict[str, int]:
    """Delay productpage's calls to details and to reviews at once; how many requests met each."""
    with counted(configuration, secrets) as run:
        edges = [Scope(host, source="productpage-v1") for host in ("details", "reviews")]
        wave = run.inject_wave([(Delay(0.05), edge) for edge in edges], carrier=carrier)
        return {number: len(answers) for number, answers in wave.send(counts=1).items()}
