"""One rule of a Gateway API HTTPRoute as the HTTPRoutes of a VirtualService, one for each of its matches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.istio.durations import duration, seconds
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["Home", "converted", "in_order"]

_EXACT, _REGEX, _PREFIX = "Exact", "RegularExpression", "PathPrefix"
_RANKS = {"exact": 3, "prefix": 2, "regex": 1}


class Home(msgspec.Struct, frozen=True):
    """What a route's references are resolved by.

    namespace: the route's. services: the hosts of all Services. mesh: the parent is one; a Gateway may not send to
    another namespace, for want of ReferenceGrants, which the lab does not serve.
    """

    namespace: str
    services: Collection[str]
    mesh: bool

    def trouble(self, ref: Mapping[str, Any]) -> tuple[str, str]:
        """The reason and the message of a backendRef that leads nowhere; empty when it leads to a Service."""
        namespace = ref.get("namespace") or self.namespace
        if namespace != self.namespace and not self.mesh:
            words = f"backendRef {ref['name']}/{namespace} not accessible to a HTTPRoute in namespace"
            return "RefNotPermitted", f'{words} "{self.namespace}" (missing a ReferenceGrant?)'
        host = fqdn(ref["name"], namespace)
        return ("", "") if host in self.services else ("BackendNotFound", f"backend({host}) not found")

    def destination(self, ref: Mapping[str, Any]) -> Obj:
        """Istio's Destination of a backendRef; without a host where it is not permitted, as in istiod."""
        if self.trouble(ref)[0] == "RefNotPermitted":
            return {"host": ""}
        return {"host": fqdn(ref["name"], ref.get("namespace") or self.namespace), "port": {"number": ref["port"]}}


def converted(rule: Mapping[str, Any], name: str, home: Home) -> Iterator[Obj]:
    """The HTTPRoutes of a RULE, called NAME unless it has one of its own."""
    does = {"name": rule.get("name") or name, **_filters(rule.get("filters") or [], home), **_timeout(rule)}
    refs = rule.get("backendRefs") or []
    if "redirect" not in does:
        if sum(ref.get("weight", 1) for ref in refs):
            does["route"] = list(_destinations(refs, home))
        else:
            does["directResponse"] = {"status": 500}
    for match in rule.get("matches") or [{}]:
        yield {**does, "match": [_match(match)]}


def in_order(routes: list[Obj]) -> list[Obj]:
    """ROUTES, each of one match, with the most specific first, as the Gateway API asks; equal ones as they were."""
    return sorted(routes, key=_specificity)


def _specificity(route: Obj) -> tuple[int, int, bool, int, int]:
    match = route["match"][0]
    ((kind, value),) = match["uri"].items()
    headers, query = match.get("headers", {}), match.get("queryParams", {})
    return -_RANKS[kind], -len(value.encode()), "method" not in match, -len(headers), -len(query)


def _match(match: Mapping[str, Any]) -> Obj:
    path = match.get("path") or {}
    value = path.get("value", "/")
    kind = path.get("type", _PREFIX)
    if kind == _PREFIX:
        uri = {"prefix": value if value == "/" else value.removesuffix("/")}
    else:
        uri = {"exact" if kind == _EXACT else "regex": value}
    out: Obj = {"uri": uri}
    for field in ("headers", "queryParams"):
        if match.get(field):
            out[field] = {one["name"]: _string(one) for one in match[field]}
    if "method" in match:
        out["method"] = {"exact": match["method"]}
    return out


def _string(one: Mapping[str, Any]) -> Obj:
    return {"regex" if one.get("type") == _REGEX else "exact": one["value"]}


def _timeout(rule: Mapping[str, Any]) -> Obj:
    """A try is all of a request where no retries are told, so that `backendRequest` wins; 0 means none."""
    timeouts = rule.get("timeouts") or {}
    told = [seconds(timeouts[name]) for name in ("backendRequest", "request") if name in timeouts]
    found = next((length for length in told if length), 0.0)
    return {"timeout": duration(found)} if found else {}


def _destinations(refs: list[Obj], home: Home) -> Iterator[Obj]:
    chosen = [ref for ref in refs if ref.get("weight", 1)]
    for ref in chosen:
        out: Obj = {"destination": home.destination(ref)}
        if len(chosen) > 1:
            out["weight"] = ref.get("weight", 1)
        headers = _headers(ref.get("filters") or [])
        yield {**out, "headers": headers} if headers else out


def _filters(filters: list[Obj], home: Home) -> Obj:
    out: Obj = {}
    for one in filters:
        if one["type"] == "RequestRedirect":
            out["redirect"] = _redirect(one["requestRedirect"])
        elif one["type"] == "URLRewrite" and (rewrite := _rewrite(one["urlRewrite"])):
            out["rewrite"] = rewrite
        elif one["type"] == "RequestMirror" and not home.trouble(one["requestMirror"]["backendRef"])[0]:
            out.setdefault("mirrors", []).append(_mirror(one["requestMirror"], home))
    headers = _headers(filters)
    return {**out, "headers": headers} if headers else out


def _headers(filters: list[Obj]) -> Obj:
    out = {}
    for one in filters:
        for side in ("request", "response"):
            if one["type"] == f"{side.capitalize()}HeaderModifier":
                changes = one[f"{side}HeaderModifier"]
                out[side] = {
                    **{verb: _by_name(changes[verb]) for verb in ("set", "add") if changes.get(verb)},
                    **({"remove": changes["remove"]} if changes.get("remove") else {}),
                }
    return out


def _by_name(headers: list[Obj]) -> dict[str, str]:
    """Of several entries for one header the first counts."""
    out: dict[str, str] = {}
    for one in headers:
        out.setdefault(one["name"].lower(), one["value"])
    return out


def _mirror(mirror: Mapping[str, Any], home: Home) -> Obj:
    out: Obj = {"destination": home.destination(mirror["backendRef"])}
    if "fraction" in mirror:
        fraction = mirror["fraction"]
        out["percentage"] = {"value": 100 * fraction["numerator"] / fraction.get("denominator", 100)}
    elif "percent" in mirror:
        out["percentage"] = {"value": float(mirror["percent"])}
    return out


def _rewrite(rewrite: Mapping[str, Any]) -> Obj:
    out: Obj = {"authority": rewrite["hostname"]} if rewrite.get("hostname") else {}
    path = rewrite.get("path") or {}
    if path.get("type") == "ReplacePrefixMatch":
        out["uri"] = path["replacePrefixMatch"].removesuffix("/") or "/"
    elif path.get("type") == "ReplaceFullPath":
        out["uriRegexRewrite"] = {"match": "/.*", "rewrite": path["replaceFullPath"]}
    return out


def _redirect(redirect: Mapping[str, Any]) -> Obj:
    """Unlike Istio's own, a redirect that names neither a scheme nor a port keeps the request's port."""
    out: Obj = {"redirectCode": redirect.get("statusCode", 302)}
    if redirect.get("hostname"):
        out["authority"] = redirect["hostname"]
    if "scheme" in redirect:
        out["scheme"] = redirect["scheme"]
    if "port" in redirect:
        out["port"] = redirect["port"]
    elif "scheme" not in redirect:
        out["derivePort"] = "FROM_REQUEST_PORT"
    path = redirect.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        out["uri"] = path["replaceFullPath"]
    elif path.get("type") == "ReplacePrefixMatch":
        out["prefixRewrite"] = path["replacePrefixMatch"]
    return out
