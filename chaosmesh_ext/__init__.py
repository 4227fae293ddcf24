"""Chaos engineering for Istio: a Chaos Toolkit extension with proof, run safety, findings and a lab."""

from __future__ import annotations

__all__ = ["__version__", "discover"]

__version__ = "0.1.0"
