"""Label selectors, and which hosts a host with a wildcard covers."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["covers", "selects"]


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every label in SELECTOR is among LABELS; an empty selector selects everything.

    >>> selects({"app": "details"}, {"app": "details", "version": "v1"})
    True
    """
    return all(labels.get(key) == value for key, value in selector.items())


def covers(pattern: str, host: str) -> bool:
    """Whether PATTERN, a host that may begin with ``*``, stands for HOST.

    >>> covers("*.default.svc.cluster.local", "details.default.svc.cluster.local")
    True
    >>> covers("details", "details.default.svc.cluster.local")
    False
    """
    if pattern.startswith("*"):
        return host.endswith(pattern[1:])
    return pattern == host
