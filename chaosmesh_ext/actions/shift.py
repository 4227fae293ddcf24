"""The action that sends calls to the versions of a service in other shares."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject
from chaosmesh_ext.faults import Shift

__all__ = ["shift_traffic"]


def shift_traffic(
    destination: str,
    weights: Dict[str, int],
    source: str = None,
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
    Send calls to `destination` to its subsets (of a DestinationRule) by
    `weights`, e.g. `{v1: 15, v2: 25, v3: 60}`, and prove that they arrive so.

    A named route in front of each of the owner's in the VirtualService, or one
    of ours where nobody has one. Where an HTTPRoute of Gateway API routes the
    destination, a rule of ours beside each of its; there are no subsets, so
    `weights` name Services beside it (`{reviews-v1: 15, reviews-v2: 85}`), and
    no `source`, for it tells no callers apart. For A/B, `match` says whose calls: an Istio
    HTTPMatchRequest by a header that the caller forwards (`end-user`, `cookie`,
    `user-agent`), by queryParams, uri or method, each exact, prefix or regex;
    `request_headers` are what the proof's requests carry beside it.

    `gateway` instead of `source`: what comes in by that Gateway of Gateway API's
    (`entry`, or with its namespace before a slash) by the one HTTPRoute there
    with rules that send to `destination`; only these rules get one of ours.

    `source`, `namespace`, `requests` and `url` are those of `inject_delay`. The
    proof counts in traces at which version calls arrive: within the binomial
    bounds of the weights, far from what control requests meet; shares that are
    as they were anyway are proven by istiod's word that each sidecar took them.

    Returns the proof: carrier, objects, live_after (seconds), traces, cell.
    """
    with counted(configuration, secrets) as run:
        fault = Shift({subset: _whole(weight) for subset, weight in weights.items()})
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


def _whole(weight: Any) -> Any:
    """WEIGHT, which variables give as a text; what is no whole number stays as it is, and is refused."""
    return int(weight) if isinstance(weight, str) and weight.isascii() and weight.isdigit() else weight
