"""Fixes put together: Istio takes one VirtualService and one DestinationRule for a host, and several findings may each
want something of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chaosmesh_ext.findings.fixes.manifests import name

__all__ = ["together"]

Manifest = Mapping[str, Any]

_ROUTE: Final = frozenset({"match", "route", "timeout", "retries"})


def together(manifests: Sequence[Manifest]) -> list[tuple[dict[str, Any], tuple[int, ...]]]:
    """As few manifests as do what MANIFESTS do, each with the places in MANIFESTS of those that it stands for.

    Of several timeouts of a host the shortest holds. What contradicts another one, and what is not as our fixes are
    (somebody may have edited it), stays by itself.
    """
    found: list[tuple[dict[str, Any], tuple[int, ...]]] = []
    for place, manifest in enumerate(manifests):
        for at, (other, places) in enumerate(found):
            both = _both(other, manifest)
            if both is not None:
                found[at] = both, (*places, place)
                break
        else:
            found.append((dict(manifest), (place,)))
    return found


def _both(one: Manifest, other: Manifest) -> dict[str, Any] | None:
    """One manifest that does what ONE and OTHER do; None where there is none."""
    if one == other:
        return dict(one)
    try:
        if _target(one) != _target(other):
            return None
        spec = _routes(one, other) if one["kind"] == "VirtualService" else _policies(one, other)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None
    if spec is None:
        return None
    names = {one["metadata"]["name"], other["metadata"]["name"]}
    said = names.pop() if len(names) == 1 else name(_target(one)[2], "fix")
    return {**one, "metadata": {**one["metadata"], "name": said}, "spec": spec}


def _target(manifest: Manifest) -> tuple[str, str, str]:
    """Its kind, its namespace and its host."""
    spec = manifest["spec"]
    return manifest["kind"], manifest["metadata"]["namespace"], spec["host"] if "host" in spec else spec["hosts"][0]


def _routes(one: Manifest, other: Manifest) -> dict[str, Any] | None:
    every = [route for manifest in (one, other) for route in manifest["spec"]["http"]]
    if any(set(route) - _ROUTE for route in every):
        return None
    timeouts = [route["timeout"] for route in every if "timeout" in route]
    merged: dict[str, dict[str, Any]] = {}
    for route in sorted(every, key=lambda each: "match" not in each):  # who asks for nothing takes all: last
        key = repr(route.get("match"))
        known = merged.setdefault(key, dict(route))
        if known["route"] != route["route"] or known.get("retries", route.get("retries")) != route.get(
            "retries", known.get("retries")
        ):
            return None
        known |= route
    if timeouts:
        shortest = min(timeouts, key=lambda text: float(text.removesuffix("s")))
        merged = {key: {**route, "timeout": shortest} for key, route in merged.items()}
    return {"hosts": one["spec"]["hosts"], "http": list(merged.values())}


def _policies(one: Manifest, other: Manifest) -> dict[str, Any] | None:
    mine, theirs = one["spec"]["trafficPolicy"], other["spec"]["trafficPolicy"]
    if any(mine[key] != theirs[key] for key in mine.keys() & theirs.keys()):
        return None
    return {**one["spec"], "trafficPolicy": {**mine, **theirs}}
