"""Metrics: a real Prometheus beside the lab."""

from pathlib import Path

from chaosmesh_ext.lab import debian
from chaosmesh_ext.lab.metrics.prometheus import Prometheus

__all__ = ["Prometheus", "fetch_prometheus", "find_prometheus"]


def find_prometheus() -> Path | None:
    """Prometheus on PATH, or as `fetch_prometheus` left it; None when there is none."""
    return debian.find("prometheus")


def fetch_prometheus() -> Path:
    """Unpack Debian's Prometheus into the user's cache; raises LabError when it cannot be had."""
    return debian.unpack("prometheus", "prometheus")
