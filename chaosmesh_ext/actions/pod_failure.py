"""The action that makes one pod of several fail."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject
from chaosmesh_ext.faults import PodFailure
from chaosmesh_ext.run.guard import share

__all__ = ["make_pod_fail"]


def make_pod_fail(
    destination: str,
    pod: str = None,
    http_status: int = 503,
    subset: str = None,
    namespace: str = None,
    match: Dict[str, Any] = None,
    percentage: float = None,
    requests: str = "marked",
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Let one pod behind `destination` answer with an error (`http_status`, 400 to
    599) while the others go on: Envoy's fault filter in front of its application,
    by an EnvoyFilter for that pod's sidecar alone. Its callers see an error of
    the pod's, so their retries and their outlier detection act on it.

    `pod` is its name, or its workload's, e.g. `reviews-v2`, for the first of those
    that are ready; without it the first by name is taken, of the `subset` where
    one is given. All other arguments, and what is returned, are those of
    `inject_delay`; a `source` cannot be told from other callers there.
    """
    with counted(configuration, secrets) as run:
        fault = PodFailure(pod or "", http_status, share(percentage, requests, None, match))
        return inject(
            run, fault, destination, None, subset, namespace, match, requests, url, request_headers, None, prove
        )
