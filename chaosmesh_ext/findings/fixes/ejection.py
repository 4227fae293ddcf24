"""An ejection: for retry-amplification, so that a leaf that fails is left alone for a while."""

from __future__ import annotations

import math
from typing import Final

from chaosmesh_ext.findings.fixes.manifests import destination_rule, duration
from chaosmesh_ext.findings.fixes.weakness import Fix, Weakness
from chaosmesh_ext.findings.words import seconds

__all__ = ["ejection"]

_LEAST: Final = 5
"""Errors in a row: Istio's default."""

_AWAY: Final = 30.0
"""Seconds: Istio's default."""


def ejection(weakness: Weakness) -> Fix | None:
    """Eject a leaf after twice as many errors in a row as one request of a user adds up to; None where it is slow:
    calls that their caller gave up are no errors to its sidecar.
    """
    if weakness.draft.condition != "status" or not weakness.value:
        return None
    errors = max(_LEAST, math.ceil(2 * weakness.value))
    host = weakness.destination
    policy = {
        "outlierDetection": {
            "consecutive5xxErrors": errors,
            "baseEjectionTime": duration(_AWAY),
            "maxEjectionPercent": 100,
        }
    }
    return Fix(
        destination_rule(host, weakness.namespace, "ejection", policy),
        f"Retries of applications are not the mesh's to change; the fix stops calls to a pod of {host} for"
        f" {seconds(_AWAY)} after {errors} errors in a row, twice what one request of a user multiplies to or Istio's"
        " default, so that retries end at the caller's sidecar.",
    )
