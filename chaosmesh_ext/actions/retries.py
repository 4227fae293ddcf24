"""The action that changes or removes the retries of a route."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject, seconds_of
from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Retries

__all__ = ["set_retries"]


def set_retries(
    destination: str,
    attempts: int,
    retry_on: str = None,
    per_try_timeout: float = None,
    timeout: float = None,
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
    Have the caller's sidecar try calls to `destination` again, up to `attempts`
    times after the first, or never with 0, to see what the owner's retries are
    worth, and what they cost: the `retries` of a VirtualService's route, for
    these requests only.

    `retry_on` has Envoy's conditions with commas between, e.g. `5xx,reset`, or a
    status; by default Istio's, which do not try again after an application's own
    503. `per_try_timeout` (seconds, or a text such as `500ms`) ends one attempt,
    `timeout` the whole call, as `set_timeout` has it (0: none): the way to change
    both for the same requests, since of two routes one hides the other.

    Only a failing callee lets requests meet it (several arrivals of one call,
    Envoy's flag URX when none helped). Make it fail before, for the requests of
    both, by `inject_abort` with `carrier: inbound` and `requests: run`: an abort
    in the caller's sidecar is not tried again. When none of the requests meets
    it within 2 s, that every sidecar took it is asked of istiod, and the proof
    says `by: sync`.

    `gateway` instead of `source`: what comes in by that Gateway of Gateway API's
    (`entry`, or with its namespace before a slash) by the one HTTPRoute there
    with rules that send to `destination`; only these rules get one of ours.

    All other arguments, and what is returned, are those of `inject_delay`.
    """
    with counted(configuration, secrets) as run:
        whole = None if timeout is None else seconds_of(timeout, "timeout")
        each = 0.0 if per_try_timeout is None else seconds_of(per_try_timeout, "per_try_timeout")
        if each == 0 and per_try_timeout is not None:
            raise InvalidInput("per_try_timeout 0 s would end every attempt at once: leave it out for none")
        fault = Retries(attempts, retry_on or "", each, whole)
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
