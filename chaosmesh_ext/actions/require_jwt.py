"""The action that has requests refused unless they carry a token."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject
from chaosmesh_ext.faults import RequireJwt
from chaosmesh_ext.faults.require_jwt import SCHEME, SUBJECT
from chaosmesh_ext.run.cases import Case
from chaosmesh_ext.run.tokens import Tokens

__all__ = ["require_jwt"]


def require_jwt(
    destination: str,
    source: str = None,
    token_header: str = "authorization",  # noqa: S107 - a header's name
    subset: str = None,
    namespace: str = None,
    requests: str = "marked",
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Have the sidecar of `destination` refuse requests that carry no JSON Web Token
    of this run's (a RequestAuthentication, and an AuthorizationPolicy that denies
    who is not authenticated), and prove all three: 403 without a token, 401 with
    a broken one, the healthy status with a good one.

    Key and tokens are made for the run and are in no file, log or journal. A
    request carries one where a probe's `headers` say so: the value
    `chaosmesh-jwt:good` or `chaosmesh-jwt:broken` of `token_header`, which the
    applications between must forward. Before the token stands a word of our own
    instead of `Bearer`, so that nobody else's token is looked at. Kubernetes' API
    keeps `authorization` for itself: with a `k8s://` URL name another header.

    For HTTP: a refused gRPC call is answered 200, and a destination that is
    declared to speak gRPC is refused.

    The other arguments, and what is returned, are those of `deny_access`.
    """
    with counted(configuration, secrets) as run:
        tokens = Tokens.made(f"chaosmesh-{run.token}", SUBJECT, SCHEME)
        fault = RequireJwt(tokens.issuer, tokens.jwks, token_header)
        cases = (
            Case("a good token", {token_header: tokens.good}),
            Case("a broken token", {token_header: tokens.broken}, status=401),
        )
        proof = inject(
            run, fault, destination, source, subset, namespace, None, requests, url, request_headers, None, prove, cases
        )
        run.tokens = tokens
        return proof
