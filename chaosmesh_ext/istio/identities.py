"""Istio's names for workloads in certificates."""

from __future__ import annotations

__all__ = ["TRUST_DOMAIN", "spiffe_id"]

TRUST_DOMAIN = "cluster.local"
"""Istio's default."""


def spiffe_id(namespace: str, account: str, trust_domain: str = TRUST_DOMAIN) -> str:
    """The identity of a service account.

    >>> spiffe_id("default", "bookinfo-details")
    'spiffe://cluster.local/ns/default/sa/bookinfo-details'
    """
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{account}"
