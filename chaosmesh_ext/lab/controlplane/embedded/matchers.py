"""Envoy's matchers of values in Istio's security policies: ``exact``, ``prefix*``, ``*suffix``, and ``*`` for any."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["JWT_FILTER", "PAYLOAD", "address_range", "claim", "header", "regex", "string"]

JWT_FILTER = "envoy.filters.http.jwt_authn"
PAYLOAD = "payload"
"""Under which key of its metadata Envoy's JWT filter keeps the claims."""

_ANYTHING = ".+"


def regex(pattern: str) -> Obj:
    """A StringMatcher for a whole value that PATTERN describes."""
    return {"safe_regex": {"regex": pattern}}


def string(value: str, before: str = "", *, ignore_case: bool = False) -> Obj:
    """A StringMatcher of VALUE behind BEFORE; ``*`` is anything but nothing, whatever stands before."""
    case = {"ignore_case": True} if ignore_case else {}
    if value == "*":
        return regex(_ANYTHING)
    if value.startswith("*"):
        return regex(f"{before}.*{re.escape(value[1:])}") if before else {"suffix": value[1:], **case}
    if value.endswith("*"):
        return {"prefix": before + value[:-1], **case}
    return {"exact": before + value, **case}


def header(name: str, value: str, *, ignore_case: bool = False) -> Obj:
    """A HeaderMatcher; ``*`` is a header that is there."""
    if value == "*":
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": string(value, ignore_case=ignore_case)}


def claim(path: list[str], matcher: Obj, *, listed: bool = True) -> Obj:
    """A MetadataMatcher of a claim of the request's JWT.

    path: its name, below the names of those that it is nested in. listed: it may also be a list with such an entry.
    """
    value: dict[str, Any] = {"string_match": matcher}
    if listed:
        value = {"or_match": {"value_matchers": [{"list_match": {"one_of": value}}, value]}}
    return {"filter": JWT_FILTER, "path": [{"key": key} for key in (PAYLOAD, *path)], "value": value}


def address_range(text: str) -> Obj:
    """A CidrRange of an address, or of a range such as ``10.1.0.0/16``."""
    address, slash, length = text.partition("/")
    return {
        "address_prefix": address,
        "prefix_len": int(length) if slash else ipaddress.ip_address(address).max_prefixlen,
    }
