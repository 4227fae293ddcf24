"""Kubernetes' way to write the time."""

from __future__ import annotations

import datetime

__all__ = ["now"]


def now(ahead: int = 0) -> str:
    """The time in UTC, to the second; AHEAD: seconds from now."""
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=ahead)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
