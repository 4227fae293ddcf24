"""A topology that is being made: its words, still to be changed, and the file that they become; times in ms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MadeCall", "MadeService", "MadeTopology", "MadeVersion"]


@dataclass
class MadeCall:
    to: str
    method: str = "GET"
    path: str = "/"
    timeout: int | None = None
    attempts: int = 0
    backoff: int = 0
    growth: float = 1.0
    on: tuple[str, ...] = ("timeout", "connect", "5xx")
    on_failure: str = "fail"
    paths: tuple[str, ...] = ()
    breaker: tuple[int, int] | None = None
    pool: int | None = None

    @property
    def on_timeout(self) -> int:
        """Further attempts after a timeout."""
        return self.attempts if self.timeout is not None and "timeout" in self.on else 0

    @property
    def series(self) -> float:
        """How long its attempts on a callee that never answers take together; without end where it has no timeout."""
        if self.timeout is None:
            return float("inf")
        return self.timeout * (1 + self.on_timeout) + sum(
            self.backoff * self.growth**turn for turn in range(self.on_timeout)
        )

    def words(self) -> dict[str, Any]:
        said: dict[str, Any] = {"to": self.to}
        if self.method != "GET":
            said["method"] = self.method
        if self.path != "/":
            said["path"] = self.path
        if self.timeout is not None:
            said["timeout"] = _time(self.timeout)
        if self.attempts:
            retries: dict[str, Any] = {"attempts": self.attempts}
            if self.backoff:
                retries["backoff"] = _time(self.backoff)
            if self.growth != 1:
                retries["growth"] = self.growth
            if len(self.on) < 3:
                retries["on"] = list(self.on)
            said["retries"] = retries
        if self.on_failure != "fail":
            said["onFailure"] = self.on_failure
        if self.paths:
            said["paths"] = list(self.paths)
        if self.breaker:
            said["breaker"] = {"failures": self.breaker[0], "open": _time(self.breaker[1])}
        if self.pool:
            said["pool"] = self.pool
        return said


@dataclass
class MadeVersion:
    name: str = "v1"
    replicas: int = 1
    workers: int | None = None
    work: int = 0
    steps: list[list[MadeCall]] = field(default_factory=list)
    forwards: bool = True
    cancels: bool = False

    def calls(self) -> Iterator[MadeCall]:
        for step in self.steps:
            yield from step

    def words(self) -> dict[str, Any]:
        said: dict[str, Any] = {"name": self.name}
        if self.replicas > 1:
            said["replicas"] = self.replicas
        if self.workers:
            said["workers"] = self.workers
        if self.work:
            said["work"] = _time(self.work)
        if self.steps:
            said["calls"] = [
                {"together": [call.words() for call in step]} if len(step) > 1 else step[0].words()
                for step in self.steps
            ]
        if not self.forwards:
            said["forwards"] = []
        if self.cancels:
            said["onCallerGone"] = "cancel"
        return said


@dataclass
class MadeService:
    name: str
    level: int
    versions: list[MadeVersion] = field(default_factory=lambda: [MadeVersion()])

    def calls(self) -> Iterator[MadeCall]:
        for version in self.versions:
            yield from version.calls()


@dataclass
class MadeTopology:
    """services: the entry first, callers before callees."""

    name: str
    services: list[MadeService]

    def service(self, name: str) -> MadeService:
        return next(service for service in self.services if service.name == name)

    def text(self) -> str:
        """The file; the same words are the same bytes."""
        lines = [
            "apiVersion: chaosmesh-ext/v1alpha1",
            "kind: Topology",
            f"metadata: {{name: {self.name}}}",
            "spec:",
            f"  entry: {self.services[0].name}",
            "  services:",
        ]
        for service in self.services:
            lines += [f"  - name: {service.name}", "    versions:"]
            for version in service.versions:
                said = version.words()
                calls = said.pop("calls", [])
                lines.append(f"    - name: {said.pop('name')}")
                lines += [f"      {key}: {_flow(value)}" for key, value in said.items()]
                if calls:
                    lines += ["      calls:", *(f"      - {_flow(call)}" for call in calls)]
        return "\n".join([*lines, ""])


def _flow(value: Any) -> str:
    """VALUE as YAML in one line; all texts here are plain words."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return str(value)


def _time(milliseconds: int) -> str:
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
