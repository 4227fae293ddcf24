"""Places of faults, for tests that need no cluster."""

from __future__ import annotations

from chaosmesh_ext.mesh import Destination, Place

__all__ = ["HOST", "place"]

HOST = "reviews.default.svc.cluster.local"


def place(**changes: object) -> Place:
    """Every call to reviews, or as CHANGES say."""
    given = {
        "run": "12345678",
        "cell": "1",
        "namespace": "default",
        "source": None,
        "destination": Destination(HOST, "reviews", "default", 9080, (9080,)),
        "marker": None,
    }
    return Place(**{**given, **changes})
