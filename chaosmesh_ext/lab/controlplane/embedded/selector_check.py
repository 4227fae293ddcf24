"""The `selector` of Istio's security policies, and what else may say whom they are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.schema import Check, Refusal, fields, invalid, table, text

__all__ = ["one_way_to_select", "workload_selector"]


def _key(field: str, value: str) -> Iterator[Refusal]:
    if not value:
        yield invalid(field, "empty key is not supported in selector")
    yield from _without_wildcard(field, value)


def _without_wildcard(field: str, value: Any) -> Iterator[Refusal]:
    yield from text(field, value)
    if isinstance(value, str) and "*" in value:
        yield invalid(field, "wildcard is not supported in selector")


workload_selector: Check = fields({"matchLabels": table(_without_wildcard, key=_key)})
"""`selector`: labels of workloads, all of which must be there."""


def one_way_to_select(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    """Of `selector`, `targetRef` and `targetRefs` only one may be there; the lab has but the first."""
    if sum(name in value for name in ("selector", "targetRef", "targetRefs")) > 1:
        yield invalid(field, "only one of targetRefs or selector can be set")
