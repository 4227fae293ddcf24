"""What the control plane implements of RequestAuthentication, and what Istio refuses, in its words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Check,
    Refusal,
    boolean,
    each,
    fields,
    invalid,
    judged,
    not_implemented,
    text,
)
from chaosmesh_ext.lab.controlplane.embedded.selector_check import one_way_to_select, workload_selector

__all__ = ["request_authentication"]

_KEY_TYPES = ("RSA", "EC", "OKP", "oct")
_INLINE = "the lab's control plane fetches no keys: give them inline, as `jwks`"


def _jwks(value: str) -> str:
    """What is wrong with a set of keys in JSON."""
    try:
        found = msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        return f"jwks parse error: {error}"
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        return "jwks parse error: an object with a list of `keys` is wanted"
    wrong = [one for one in keys if not isinstance(one, dict) or one.get("kty") not in _KEY_TYPES]
    return f"jwks parse error: the `kty` of a key is none of {', '.join(_KEY_TYPES)}" if wrong else ""


def _elsewhere(field: str, _value: Any) -> Iterator[Refusal]:
    yield not_implemented(field, _INLINE)


def _rule(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if not value.get("issuer") and not value.get("jwksUri"):
        yield invalid(f"{field}.issuer", "issuer or jwksUri must be non-empty string")
    if not value.get("jwks") and not value.get("jwksUri") and not value.get("jwks_uri"):
        yield not_implemented(f"{field}.jwks", _INLINE)


def _filled(words: str) -> Check:
    return judged(lambda value: "" if value else words)


def _header(value: str) -> str:
    return "" if re.fullmatch(r"[-_A-Za-z0-9]+", value) else f"header name {value} is not a valid header name"


_EMPTY_CLAIM = "outputClaimToHeaders header and claim value must be non-empty string"

_JWT_RULE = fields(
    {
        "issuer": text,
        "audiences": each(_filled("audience must be non-empty string")),
        "jwks": judged(lambda value: _jwks(value) if value else ""),
        "jwksUri": _elsewhere,
        "jwks_uri": _elsewhere,
        "fromHeaders": each(
            fields(
                {"name": _filled("location header name must be non-empty string"), "prefix": text}, required=["name"]
            )
        ),
        "fromParams": each(_filled("location query must be non-empty string")),
        "fromCookies": each(_filled("cookie name must be non-empty string")),
        "forwardOriginalToken": boolean,
        "outputPayloadToHeader": text,
        "outputClaimToHeaders": each(
            fields(
                {
                    "header": judged(lambda value: _header(value) if value else _EMPTY_CLAIM),
                    "claim": _filled(_EMPTY_CLAIM),
                },
                required=["header", "claim"],
            )
        ),
        "spaceDelimitedClaims": each(_filled("must not be empty")),
    },
    also=_rule,
)

request_authentication: Check = fields(
    {"selector": workload_selector, "jwtRules": each(_JWT_RULE)}, also=one_way_to_select
)
"""The check of a RequestAuthentication's `spec`."""
