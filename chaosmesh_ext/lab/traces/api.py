"""What the rest of the lab asks of its trace store, whichever it is.

A module beside this one is a trace store when it has ``create(place: Place) -> Traces``.
It may have ``TOOLS``, which of `lab.tools` it needs, and ``PORTS``, those of the control address that it takes.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Traces"]


class Traces(Protocol):
    """Takes spans as OTLP over HTTP, and answers Jaeger's query API."""

    @property
    def url(self) -> str:
        """Jaeger's base address, without ``/api``."""

    @property
    def otlp(self) -> tuple[str, int]:
        """The address and port that take ``POST /v1/traces``."""

    async def start(self) -> None:
        """Listen and wait until it answers; raises LabError when it cannot."""

    async def stop(self) -> None:
        """Stop; a second call does nothing."""

    def dead(self) -> str:
        """One line with its last words when it died by itself; empty while it runs and after `stop`."""
