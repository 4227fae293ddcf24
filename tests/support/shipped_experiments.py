"""The shipped experiments, as their files say; what they are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

__all__ = ["BOOKINFO", "EXPERIMENTS", "WEAKNESS", "Experiment", "shipped"]

EXPERIMENTS: Final = Path(__file__).parents[2] / "experiments"
BOOKINFO: Final = "Bookinfo"
_TOPOLOGY: Final = re.compile(r"experiments/topologies/[\w-]+\.yaml")
WEAKNESS: Final = "weakness"
"""The tag of an experiment whose answer on its application is no: `chaos mesh run` exits 1."""


class Experiment(msgspec.Struct, frozen=True):
    """A file of experiments/. name: the file's, without ending."""

    name: str
    content: Mapping[str, Any]

    def __str__(self) -> str:
        return self.name

    @property
    def title(self) -> str:
        return " ".join(self.content["title"].split())

    @property
    def description(self) -> str:
        return " ".join(self.content["description"].split())

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self.content["tags"])

    @property
    def exit_code(self) -> int:
        """Of `chaos mesh run` on its application."""
        return 1 if WEAKNESS in self.tags else 0

    def activities(self, *parts: str) -> Iterator[Mapping[str, Any]]:
        """The activities of PARTS, e.g. ``method``; of all of it by default."""
        hypothesis = self.content.get("steady-state-hypothesis") or {}
        found = {
            "steady-state-hypothesis": hypothesis.get("probes") or [],
            "method": self.content.get("method") or [],
            "rollbacks": self.content.get("rollbacks") or [],
        }
        for part in parts or found:
            yield from found[part]

    @property
    def application(self) -> str:
        """What it is for: Bookinfo, or the service graph that its description names."""
        found = _TOPOLOGY.search(self.description)
        return found[0] if found else BOOKINFO

    @property
    def actions(self) -> tuple[str, ...]:
        """What its method does, by module and name, each once, without what only undoes."""
        found = [
            (activity["provider"].get("module", ""), activity["provider"].get("func", ""))
            for activity in self.activities("method")
            if activity["type"] == "action"
        ]
        return tuple(dict.fromkeys(".".join(one) for one in found if one[1] != "recover"))


def shipped() -> list[Experiment]:
    """All of them, by name."""
    return [Experiment(path.stem, yaml.safe_load(path.read_text())) for path in sorted(EXPERIMENTS.glob("*.yaml"))]
