"""The action that copies calls to another version."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject
from chaosmesh_ext.faults import Mirror
from chaosmesh_ext.run.guard import share

__all__ = ["mirror_traffic"]


def mirror_traffic(
    destination: str,
    mirror_subset: str = None,
    mirror_host: str = None,
    serving_subset: str = None,
    source: str = None,
    namespace: str = None,
    match: Dict[str, Any] = None,
    percentage: float = None,
    requests: str = "marked",
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    gateway: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    A dark launch: copy calls to `destination` to its `mirror_subset` (of a
    DestinationRule), or to another service, `mirror_host` (and its
    `mirror_subset`, where given). Nobody waits for the copies' answers.

    `serving_subset` answers the calls themselves meanwhile; by default they go
    where they went. `percentage` of the calls in scope is copied, by default
    all. `source`, `namespace`, `match`, `requests` and `url` are those of
    `inject_delay`.

    Behind an HTTPRoute `mirror_subset` and `serving_subset` are Services beside
    the destination, as in `shift_traffic`.

    `gateway` instead of `source`: what comes in by that Gateway of Gateway API's
    (`entry`, or with its namespace before a slash) by the one HTTPRoute there
    with rules that send to `destination`; only these rules get one of ours.

    A `mirror_host` that calls `destination`, itself or through others, is refused
    as far as `source` or traces show it: its copies would be copied without end.

    Copies are in no trace, since Istio has Envoy not sample them, and their Host
    has no `-shadow`: count them where they arrive (`request_rate` or `metric`,
    by destination). That a mirror is live is proven by where the calls
    themselves arrive when there is a `serving_subset`, else by istiod's word
    that each sidecar took it.

    Returns the proof: carrier, objects, live_after (seconds), traces, cell.
    """
    with counted(configuration, secrets) as run:
        fault = Mirror(
            mirror_subset or "",
            mirror_host or "",
            serving_subset or "",
            share(percentage, requests, source, match),
        )
        return inject(
            run,
            fault,
            destination,
            source,
            None,
            namespace,
            match,
            requests,
            url,
            request_headers,
            None,
            prove,
            gateway=gateway,
        )
