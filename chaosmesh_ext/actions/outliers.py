"""The action that lets callers eject pods which answer with errors."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject, seconds_of
from chaosmesh_ext.faults import Outliers

__all__ = ["eject_outliers"]


def eject_outliers(
    destination: str,
    consecutive_5xx_errors: int = None,
    consecutive_gateway_errors: int = None,
    interval: float = None,
    base_ejection_time: float = None,
    max_ejection_percent: int = None,
    min_health_percent: int = None,
    source: str = None,
    subset: str = None,
    namespace: str = None,
    requests: str = None,
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Let callers stop calling a pod of `destination` that answers them with errors:
    the `outlierDetection` of a DestinationRule. Each caller's sidecar judges for
    itself.

    A pod goes after `consecutive_5xx_errors` in a row (500 to 599, and no answer
    at all) or `consecutive_gateway_errors` (502, 503, 504); 0 turns that kind
    off. It comes back after `base_ejection_time`, which is looked at every
    `interval` (both in seconds, or texts such as `500ms`), the next time after
    twice that. At most `max_ejection_percent` of the pods are away at once, and
    ejections do not count once fewer than `min_health_percent` are left. One of
    them at least; what is not given stays as it is, or is Istio's default (5
    errors, 10s, 30s, 10 %).

    It needs a pod that fails, e.g. by `make_pod_fail`, injected after this.
    Taking it out ends the ejections. No request can be told from another here, so
    `requests: all` must be said; whom it is for otherwise, and the arguments not named
    here, are as in `limit_connections`. No single request shows that a pod is
    away, so the proof asks istiod whether every sidecar took it (`by: sync`); the
    probe `ejections` counts those that are.
    """
    with counted(configuration, secrets) as run:
        times = {
            name: None if value is None else seconds_of(value, name)
            for name, value in (("interval", interval), ("base_ejection_time", base_ejection_time))
        }
        fault = Outliers(
            consecutive_5xx_errors,
            consecutive_gateway_errors,
            times["interval"],
            times["base_ejection_time"],
            max_ejection_percent,
            min_health_percent,
        )
        return inject(
            run, fault, destination, source, subset, namespace, None, requests, url, request_headers, None, prove
        )
