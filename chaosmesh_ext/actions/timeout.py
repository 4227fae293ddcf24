"""The action that changes or removes the timeout of a route."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject, seconds_of
from chaosmesh_ext.faults import Timeout

__all__ = ["set_timeout"]


def set_timeout(
    destination: str,
    timeout: float,
    source: str = None,
    subset: str = None,
    namespace: str = None,
    match: Dict[str, Any] = None,
    requests: str = "marked",
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    gateway: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Give calls to `destination` another `timeout` in the mesh (seconds, or a
    text such as `500ms`), or none with 0, to see what the owner's is worth: the
    `timeout` of a VirtualService's route, for these requests only.

    Only a slow callee lets requests meet it (504, Envoy's flag UT). Make it slow
    before, for the requests of both, by `inject_delay` with `carrier: inbound`
    and `requests: run`: a delay in the caller's sidecar is not subject to that
    sidecar's own timeout. When none of the requests meets the timeout within
    2 s, that every sidecar took it is asked of istiod, and the proof says
    `by: sync`. For a timeout and retries of the same calls at once take
    `set_retries` with its `timeout`.

    `gateway` instead of `source`: what comes in by that Gateway of Gateway API's
    (`entry`, or with its namespace before a slash) by the one HTTPRoute there
    with rules that send to `destination`; only these rules get one of ours.

    All other arguments, and what is returned, are those of `inject_delay`.
    """
    with counted(configuration, secrets) as run:
        fault = Timeout(seconds_of(timeout, "timeout"))
        return inject(
            run,
            fault,
            destination,
            source,
            subset,
            namespace,
            match,
            requests,
            url,
            request_headers,
            None,
            prove,
            gateway=gateway,
        )
