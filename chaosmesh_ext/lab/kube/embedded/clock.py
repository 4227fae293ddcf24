"""Kubernetes' way to write the time."""

from __future__ import annotations

import datetime

__all__ = ["now"]


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
