"""Outlier detection under test: errors made on purpose, and the ejections that a caller's Envoy counts."""

from __future__ import annotations

from typing import Any

from echo_mesh import Mesh
from traffic import gauge
from waiting import until

__all__ = [
    "HOST",
    "REVIEWS",
    "WHOLE",
    "WHOLE_REVIEWS",
    "bad_reviews",
    "ejected",
    "fails",
    "is_ejected",
    "rule",
    "settled",
]

HOST, WHOLE = "details:9080", "details.default.svc.cluster.local"
REVIEWS, WHOLE_REVIEWS = "reviews:9080", "reviews.default.svc.cluster.local"
_LONG = {"interval": "50ms", "baseEjectionTime": "60s", "maxEjectionPercent": 100}


def rule(mesh: Mesh, host: str = "details", subsets: tuple[dict[str, Any], ...] = (), **outlier: Any) -> None:
    """A DestinationRule with these fields of outlierDetection; who is ejected stays so, where they do not say else."""
    policy = {"outlierDetection": {**_LONG, **outlier}}
    mesh.apply("DestinationRule", "outlier", {"host": host, "trafficPolicy": policy, "subsets": list(subsets)})


def ejected(mesh: Mesh, source: str = "sleep-v1", host: str = WHOLE, **more: Any) -> int:
    """How many pods of HOST are ejected for SOURCE. Calls may still go to them for a second: changes are gathered."""
    return gauge(mesh, source, "outlier_detection.ejections_active", host, **more)


def is_ejected(mesh: Mesh, source: str = "sleep-v1", host: str = WHOLE, count: int = 1, **more: Any) -> None:
    """Wait until COUNT pods are."""
    until(lambda: ejected(mesh, source, host, **more) == count, f"{count} of {host} are ejected for {source}")


def settled(mesh: Mesh, source: str = "sleep-v1", host: str = WHOLE) -> int:
    """The same once every error that was met is dealt with: Envoy's main thread ejects before it answers."""
    ejected(mesh, source, host)
    return ejected(mesh, source, host)


def fails(mesh: Mesh, *answers: int, source: str = "sleep-v1") -> list[int]:
    """Let details answer a call of SOURCE with each of ANSWERS; what SOURCE got."""
    got = []
    for answer in answers:
        mesh.apps["details-v1"].answer = answer
        got.append(mesh.call(source, HOST).status)
    return got


def bad_reviews(mesh: Mesh, *versions: str) -> None:
    """Let these VERSIONS of reviews fail."""
    for version in versions:
        mesh.apps[f"reviews-{version}"].answer = 500
