"""RequestAuthentication: Envoy's JWT filter refuses bad tokens, keeps the claims of good ones, and asks for none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.attachment import attached
from chaosmesh_ext.lab.controlplane.embedded.matchers import JWT_FILTER, PAYLOAD
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Snapshot, Workload
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["authentication"]

_TYPE = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
_MISSING: Obj = {"allow_missing": {}}


def authentication(snapshot: Snapshot, pod: Workload) -> list[Obj]:
    """The HTTP filter that looks at the tokens of requests to POD; none where no rule is for it."""
    found = [
        rule for one in attached(snapshot.request_authentications, pod) for rule in one["spec"].get("jwtRules") or []
    ]
    if not found:
        return []
    rules = {f"origins-{number}": rule for number, rule in enumerate(sorted(found, key=_issuer))}
    config = {
        "@type": _TYPE,
        "providers": {name: _provider(rule, gateway=pod.gateway) for name, rule in rules.items()},
        "rules": [{"match": {"prefix": "/"}, "requires": _requirement([{"provider_name": name} for name in rules])}],
        "bypass_cors_preflight": True,
    }
    return [{"name": JWT_FILTER, "typed_config": config}]


def _issuer(rule: Mapping[str, Any]) -> str:
    return str(rule.get("issuer", ""))


def _requirement(providers: list[Obj]) -> Obj:
    """A token of one of PROVIDERS, or none; one that is there must be good for who takes it from its place."""
    each = [{"requires_any": {"requirements": [one, _MISSING]}} for one in providers]
    if len(each) == 1:
        return each[0]
    return {"requires_any": {"requirements": [*providers, {"requires_all": {"requirements": each}}]}}


def _provider(rule: Mapping[str, Any], *, gateway: bool) -> Obj:
    out: Obj = {
        "local_jwks": {"inline_string": rule["jwks"]},
        "payload_in_metadata": PAYLOAD,
        "normalize_payload_in_metadata": {
            "space_delimited_claims": sorted({"permission", "scope", *rule.get("spaceDelimitedClaims", [])})
        },
        # a gateway may route by claims
        "clear_route_cache": gateway,
    }
    for ours, envoys in (
        ("issuer", "issuer"),
        ("audiences", "audiences"),
        ("forwardOriginalToken", "forward"),
        ("outputPayloadToHeader", "forward_payload_header"),
        ("fromParams", "from_params"),
        ("fromCookies", "from_cookies"),
    ):
        if ours in rule:
            out[envoys] = rule[ours]
    if headers := rule.get("fromHeaders"):
        out["from_headers"] = [{"name": one["name"], "value_prefix": one.get("prefix", "")} for one in headers]
    if claims := rule.get("outputClaimToHeaders"):
        out["claim_to_headers"] = [{"header_name": one["header"], "claim_name": one["claim"]} for one in claims]
    return out
