"""The rules in force. To add one: its file beside these, its test, and its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chaosmesh_ext.findings.broken_propagation import broken_propagation
from chaosmesh_ext.findings.bulkhead import bulkhead
from chaosmesh_ext.findings.circuit_breaker import circuit_breaker
from chaosmesh_ext.findings.connection_limit import connection_limit
from chaosmesh_ext.findings.draft import Draft
from chaosmesh_ext.findings.error_propagation import error_propagation
from chaosmesh_ext.findings.exploration import Exploration
from chaosmesh_ext.findings.fallback import fallback
from chaosmesh_ext.findings.hedge import hedge
from chaosmesh_ext.findings.missing_timeout import missing_timeout
from chaosmesh_ext.findings.retry import retry
from chaosmesh_ext.findings.retry_amplification import retry_amplification
from chaosmesh_ext.findings.subject import Subject
from chaosmesh_ext.findings.timeout import timeout
from chaosmesh_ext.findings.timeout_inversion import timeout_inversion
from chaosmesh_ext.findings.unsafe_retry import unsafe_retry
from chaosmesh_ext.model import Skipped

__all__ = ["NAMES", "RULES", "WHOLE_RULES", "Rule", "WholeRule"]

Rule = Callable[[Subject], Iterator[Draft | Skipped]]
"""Looks at one operation on one edge, in cells without a purpose."""

WholeRule = Callable[[Exploration], Iterator[Draft | Skipped]]
"""Looks at the whole run: several edges, what the rules above drafted, or cells that were made for it."""

RULES: tuple[Rule, ...] = (timeout, missing_timeout, retry, hedge, fallback, error_propagation)

WHOLE_RULES: tuple[WholeRule, ...] = (
    broken_propagation,
    retry_amplification,
    timeout_inversion,
    circuit_breaker,
    bulkhead,
    connection_limit,
    unsafe_retry,
)

NAMES: tuple[str, ...] = (
    "timeout",
    "missing-timeout",
    "retry",
    "hedge",
    "fallback",
    "missing-fallback",
    "error-propagation",
    "retry-amplification",
    "broken-propagation",
    "timeout-inversion",
    "circuit-breaker",
    "bulkhead",
    "connection-limit",
    "unsafe-retry",
)
"""What findings may be called; an experiment can expect no others."""
