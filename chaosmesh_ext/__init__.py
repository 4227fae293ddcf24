"""Chaos engineering for Istio: a Chaos Toolkit extension with proof, run safety, findings and a lab."""

from __future__ import annotations

from typing import Any

__all__ = ["__version__", "discover"]

__version__ = "0.1.0"


def discover(discover_system: bool = True) -> dict[str, Any]:
    """Every activity with its arguments, types and help, as `chaos discover chaosmesh-ext` wants them.

    discover_system: accepted for Chaos Toolkit's sake; what can be reached is another question than what can be done.
    """
    from chaoslib.discovery.discover import discover_activities, initialize_discovery_result

    del discover_system
    discovery: dict[str, Any] = initialize_discovery_result("chaosmesh-ext", __version__, "istio")
    for module, kind in (("actions", "action"), ("probes", "probe"), ("tolerances", "tolerance")):
        discovery["activities"].extend(discover_activities(f"{__name__}.{module}", kind))
    return discovery
