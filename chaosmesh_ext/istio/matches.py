"""Istio's string and request matches as Envoy's matchers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chaosmesh_ext.istio.selectors import selects

__all__ = ["header_matcher", "may_match", "query_matcher", "route_match", "source_matches", "string_matcher"]

_PSEUDO = (("method", ":method"), ("authority", ":authority"), ("scheme", ":scheme"))


def string_matcher(match: Mapping[str, Any]) -> dict[str, Any]:
    """Envoy's StringMatcher of an Istio StringMatch that has `exact`, `prefix` or `regex`."""
    if "regex" in match:
        return {"safe_regex": {"regex": match["regex"]}}
    if "prefix" in match:
        return {"prefix": match["prefix"]}
    return {"exact": match.get("exact", "")}


def _is_presence(match: Mapping[str, Any]) -> bool:
    """An empty match, or the regex ``*`` (no RE2 expression), asks for presence only, as in istiod."""
    return not match or match.get("regex") == "*"


def header_matcher(name: str, match: Mapping[str, Any], *, invert: bool = False) -> dict[str, Any]:
    """Envoy's HeaderMatcher of one entry of `headers`, or of `withoutHeaders` when INVERT.

    Under `withoutHeaders` a request that lacks the header passes, as in istiod.
    """
    matcher: dict[str, Any] = {"name": name}
    if _is_presence(match):
        matcher["present_match"] = True
    else:
        matcher["string_match"] = string_matcher(match)
    if invert:
        matcher["invert_match"] = True
        if not _is_presence(match):
            matcher["treat_missing_header_as_empty"] = True
    return matcher


def query_matcher(name: str, match: Mapping[str, Any]) -> dict[str, Any]:
    """Envoy's QueryParameterMatcher of one entry of `queryParams`."""
    if _is_presence(match):
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": string_matcher(match)}


def route_match(match: Mapping[str, Any] | None) -> dict[str, Any]:
    """Envoy's RouteMatch of an Istio HTTPMatchRequest; None matches everything.

    `port`, `sourceLabels`, `sourceNamespace` and `gateways` are no part of it: they decide whether a route is made at
    all, see `source_matches`.
    """
    if match is None:
        return {"prefix": "/"}
    uri = match.get("uri") or {}
    out: dict[str, Any] = {}
    if "exact" in uri:
        out["path"] = uri["exact"]
    elif "regex" in uri:
        out["safe_regex"] = {"regex": uri["regex"]}
    else:
        out["prefix"] = uri.get("prefix", "/")
    out["case_sensitive"] = not match.get("ignoreUriCase", False)
    headers = [header_matcher(name, value) for name, value in match.get("headers", {}).items()]
    headers += [header_matcher(name, value, invert=True) for name, value in match.get("withoutHeaders", {}).items()]
    headers.sort(key=lambda header: header["name"])
    headers += [header_matcher(pseudo, match[field]) for field, pseudo in _PSEUDO if field in match]
    if headers:
        out["headers"] = headers
    if query := match.get("queryParams"):
        out["query_parameters"] = [query_matcher(name, value) for name, value in sorted(query.items())]
    return out


def may_match(match: Mapping[str, Any], *, method: str, path: str) -> bool:
    """Whether a request with METHOD and PATH can be one that an Istio HTTPMatchRequest means; empty is unknown.

    What a trace does not tell (headers, query) is taken to match, and so is a regex that only RE2 reads.
    """
    fold = bool(match.get("ignoreUriCase"))
    return _may(match.get("uri") or {}, path, fold=fold) and _may(match.get("method") or {}, method)


def _may(match: Mapping[str, Any], text: str, *, fold: bool = False) -> bool:
    if not text:
        return True
    try:
        if "regex" in match and match["regex"] != "*":
            return re.fullmatch(match["regex"], text, re.IGNORECASE if fold else 0) is not None
    except re.error:
        return True
    if fold:
        text, match = text.lower(), {kind: str(value).lower() for kind, value in match.items()}
    if "exact" in match:
        return text == str(match["exact"])
    return text.startswith(str(match.get("prefix", "")))


def source_matches(
    match: Mapping[str, Any] | None, *, labels: Mapping[str, str], namespace: str, gateways: frozenset[str], port: int
) -> bool:
    """Whether a proxy with LABELS in NAMESPACE, acting as one of GATEWAYS on PORT, gets a route for MATCH.

    Where a match names `gateways`, istiod looks at nothing else of the source: `sourceLabels` and `sourceNamespace`
    beside it are ignored.
    """
    if match is None:
        return True
    if match.get("port") and match["port"] != port:
        return False
    if named := match.get("gateways"):
        return not gateways.isdisjoint(named)
    if not selects(match.get("sourceLabels") or {}, labels):
        return False
    return match.get("sourceNamespace", "") in ("", namespace)
