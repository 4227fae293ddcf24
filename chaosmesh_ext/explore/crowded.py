"""Healthy requests that came at once, where fewer fail one at a time: what refuses them is a finding. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from chaosmesh_ext.findings import connection_limit, judge
from chaosmesh_ext.model import Cell, Finding, Severity

__all__ = ["with_limits"]

_GRAVEST_FIRST: Final = get_args(Severity)


def with_limits(findings: Sequence[Finding], crowded: Cell) -> tuple[Finding, ...]:
    """FINDINGS, and what CROWDED requests say of the pools of sidecars, in place of what others say of the same pool.

    A pool refuses (UO) what comes at once, and nothing that comes one at a time: calm requests say that it is there, at
    most. Whatever else fails in a crowd, a busy machine may have done.
    """
    every = judge(crowded, []).findings if crowded.answers else ()
    limits = {one.id: one for one in every if one.rule == connection_limit.RULE}
    rest = [one for one in findings if one.id not in limits]
    return tuple(sorted((*limits.values(), *rest), key=lambda one: _GRAVEST_FIRST.index(one.severity)))
